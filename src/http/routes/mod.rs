//! Every route, in one place.

pub(super) mod aliases;
mod asked;
mod checkpoints;
mod dataset_preview;
pub(super) mod datasets;
mod decode;
mod embed;
mod embed_all;
mod events;
mod files;
mod fine_tuning;
mod health;
mod info;
mod inputs;
pub(super) mod jobs;
pub(super) mod metrics;
mod model_body;
mod model_list;
mod model_memory;
pub(super) mod models;
pub(super) mod new_job;
mod openai;
mod prometheus;
mod records;
mod similarity;
mod spec;
mod tokenize;
mod webhooks;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::middleware::limit_time;

/// What every route of TEI's is below too, for clients that cannot name a model otherwise: an address of each model's own.
pub(super) const OF_MODEL: &str = "/models/{model}";

/// Every route.
pub(super) fn all() -> OpenApiRouter<AppState> {
    prompt().route_layer(from_fn(limit_time)).merge(uploads()).merge(unhurried())
}

/// Routes that ask the database and the disk a little, and answer within moments.
fn prompt() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health::get_health))
        .routes(routes!(info::get_info))
        .route(&format!("{OF_MODEL}/info"), get(info::get_info))
        .routes(routes!(spec::get_openapi))
        .routes(routes!(prometheus::get_server_metrics))
        .routes(routes!(datasets::list_datasets))
        .routes(routes!(datasets::list_rows))
        .routes(routes!(datasets::delete_dataset))
        .routes(routes!(model_list::list_models))
        .routes(routes!(files::list_files))
        .routes(routes!(files::get_file, files::delete_file))
        .routes(routes!(models::get_model, models::delete_model))
        .routes(routes!(models::retry_pull))
        .routes(routes!(aliases::list_aliases))
        .routes(routes!(aliases::get_alias, aliases::put_alias, aliases::delete_alias))
        .routes(routes!(aliases::roll_back_alias))
        .routes(routes!(jobs::create_job, jobs::list_jobs))
        .routes(routes!(jobs::get_job, jobs::delete_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::pause_job))
        .routes(routes!(jobs::resume_job))
        .routes(routes!(fine_tuning::create::create_job, fine_tuning::jobs::list_jobs))
        .routes(routes!(fine_tuning::jobs::get_job))
        .routes(routes!(fine_tuning::jobs::cancel_job))
        .routes(routes!(fine_tuning::jobs::pause_job))
        .routes(routes!(fine_tuning::jobs::resume_job))
        .routes(routes!(fine_tuning::events::list_events))
        .routes(routes!(fine_tuning::checkpoints::list_checkpoints))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(webhooks::list_webhook_deliveries))
        .routes(routes!(checkpoints::list_checkpoints))
        .routes(routes!(checkpoints::get_checkpoint))
}

/// Routes that bound their body themselves.
fn uploads() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(datasets::create_dataset))
        .routes(routes!(dataset_preview::preview_dataset))
        .routes(routes!(files::create_file))
        .route_layer(DefaultBodyLimit::disable())
}

/// Routes that compute or stream, and take the time that this needs.
fn unhurried() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(embed::embed))
        .routes(routes!(embed::embed_at_root))
        .routes(routes!(embed_all::embed_all))
        .routes(routes!(similarity::similarity))
        .routes(routes!(tokenize::tokenize))
        .routes(routes!(decode::decode))
        .route(OF_MODEL, post(embed::embed))
        .route(&format!("{OF_MODEL}/embed"), post(embed::embed))
        .route(&format!("{OF_MODEL}/embed_all"), post(embed_all::embed_all))
        .route(&format!("{OF_MODEL}/similarity"), post(similarity::similarity))
        .route(&format!("{OF_MODEL}/tokenize"), post(tokenize::tokenize))
        .route(&format!("{OF_MODEL}/decode"), post(decode::decode))
        .routes(routes!(openai::create_embeddings))
        .routes(routes!(datasets::get_dataset))
        .routes(routes!(models::create_model))
        .routes(routes!(models::follow_pull))
        .routes(routes!(model_memory::load_model))
        .routes(routes!(model_memory::unload_model))
        .routes(routes!(files::get_content))
        .routes(routes!(events::get_events))
        .routes(routes!(checkpoints::get_archive))
        .routes(routes!(checkpoints::get_file))
        .routes(routes!(records::get_tensorboard))
        .routes(routes!(records::get_trec_qrels))
        .routes(routes!(records::get_trec_run))
}
