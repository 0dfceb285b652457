//! What the server is and has, in TEI's shape as far as it has one model.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Model, ModelStatus, Pooling};
use crate::http::{ApiError, AppState};
use crate::model::describe_precision;
use crate::serving::MAX_BATCH_TOKENS;

/// Models that are listed; `GET /v1/models` has them all, page by page.
const MOST_MODELS: u32 = 1000;

/// What the server is, what it has and what it takes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    /// The model that requests mean which name none: the only base model that is ready. Null where there are several.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model_id: Option<String>,
    /// The same again, by TEI's other name for it.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    served_model_name: Option<String>,
    /// What kind of model it is.
    model_type: Option<ModelType>,
    /// Its weights' type.
    #[schema(example = "float32")]
    model_dtype: &'static str,
    /// Tokens to which it cuts a text.
    max_input_length: Option<usize>,
    /// The length of its embeddings.
    dimension: Option<usize>,
    /// Tokens that are computed at once.
    max_batch_tokens: usize,
    /// Texts in one request.
    max_client_batch_size: usize,
    /// Bytes of a request that is not an upload.
    max_body_bytes: usize,
    /// Bytes of an upload.
    max_upload_bytes: u64,
    /// Whether texts that are too long are cut where the request does not say.
    auto_truncate: bool,
    /// All base models that are ready, by name, newest first.
    models: Vec<String>,
    /// What computes.
    #[schema(example = "cpu")]
    device: String,
    /// The numbers that embeddings are computed in, and by which of the processor's units.
    #[schema(example = "float32")]
    precision: &'static str,
    /// The server's version.
    version: &'static str,
}

/// What kind of model it is, as TEI writes it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModelType {
    /// One that embeds.
    Embedding {
        /// How token embeddings become one.
        pooling: Pooling,
    },
}

/// What the server is, which models it has, what it takes.
#[utoipa::path(get, path = "/info", tag = "operations", responses((status = 200, body = Info)))]
pub(super) async fn get_info(State(state): State<AppState>) -> Result<Json<Info>, ApiError> {
    let models = state.store.list_models(None, MOST_MODELS).await?.items;
    let ready: Vec<Model> = models.into_iter().filter(|model| model.status == ModelStatus::Ready).collect();
    let only = if let [only] = &ready[..] { Some(only) } else { None };
    let summary = only.and_then(|model| model.summary.as_ref());
    Ok(Json(Info {
        model_id: only.map(|model| model.name.clone()),
        served_model_name: only.map(|model| model.name.clone()),
        model_type: summary.map(|summary| ModelType::Embedding { pooling: summary.pooling }),
        model_dtype: "float32",
        max_input_length: summary.map(|summary| summary.max_seq_length),
        dimension: summary.map(|summary| summary.dimension),
        max_batch_tokens: MAX_BATCH_TOKENS,
        max_client_batch_size: state.limits.max_client_batch_size,
        max_body_bytes: state.limits.max_body_bytes,
        max_upload_bytes: state.limits.max_upload_bytes,
        auto_truncate: true,
        models: ready.into_iter().map(|model| model.name).collect(),
        device: state.device.to_string(),
        precision: describe_precision(state.embedding.precision()),
        version: env!("CARGO_PKG_VERSION"),
    }))
}
