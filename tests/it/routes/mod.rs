//! The routes, over the real router.

mod aliases;
mod auth;
mod checkpoints;
mod dataset_preview;
mod datasets;
mod decode;
mod embed;
mod embed_all;
mod embedding_models;
mod errors;
mod events;
mod files;
mod fine_tuning;
mod info;
mod jobs;
mod metrics;
mod model_archives;
mod model_memory;
mod model_routes;
mod models;
mod new_job;
mod openai;
mod openapi;
mod prometheus;
mod similarity;
mod tokenize;
