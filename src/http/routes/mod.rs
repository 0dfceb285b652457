//! Every route, in one place.

mod embed;
mod health;
mod info;
mod inputs;
mod openai;
mod similarity;
mod spec;
mod tokenize;

use axum::middleware::from_fn;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::middleware::limit_time;

/// Every route.
pub(super) fn all() -> OpenApiRouter<AppState> {
    prompt().route_layer(from_fn(limit_time)).merge(unhurried())
}

/// Routes that ask the database and the disk a little, and answer within moments.
fn prompt() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health::get_health))
        .routes(routes!(info::get_info))
        .routes(routes!(spec::get_openapi))
}

/// Routes that take a large body, compute, or stream, and take the time that this needs.
fn unhurried() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(embed::embed))
        .routes(routes!(embed::embed_at_root))
        .routes(routes!(similarity::similarity))
        .routes(routes!(tokenize::tokenize))
        .routes(routes!(openai::create_embeddings))
}
