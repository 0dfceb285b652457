//! What the server is and has, in TEI's shape; what concerns one model is told of the one that is meant.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::{InPath, chosen};
use crate::domain::{Model, ModelReference, ModelSource, ModelStatus, ModelSummary, Pooling};
use crate::http::openapi::{Conflict, NotFound};
use crate::http::{ApiError, AppState};
use crate::model::{Hardware, describe_precision};
use crate::serving::MAX_BATCH_TOKENS;
use crate::store::StoreError;

/// Models that are listed; `GET /v1/models` has them all, page by page.
const MOST_MODELS: u32 = 1000;

/// What the server is, what it has and what it takes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Info {
    /// The model that the path names; else the one that requests mean which name none: the only base model that is
    /// ready. Null where there are several.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model_id: Option<String>,
    /// The same again, by TEI's other name for it.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    served_model_name: Option<String>,
    /// The Hub's revision that it was pulled at, or the SHA-256 of a fine-tuned one's weights.
    model_sha: Option<String>,
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
    /// Texts that are computed at once; not limited.
    max_batch_requests: Option<usize>,
    /// Texts that may wait; more are refused with 429.
    max_concurrent_requests: u32,
    /// Threads that tokenise.
    tokenization_workers: usize,
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
    /// What embeds.
    #[schema(example = "cpu")]
    device: String,
    /// What computes jobs: `cpu`, or a GPU with its name.
    #[schema(example = "cuda:0 (NVIDIA H100 80GB HBM3)")]
    training_device: String,
    /// Why that was taken, and not the other.
    #[schema(example = "it is the first GPU")]
    training_device_reason: String,
    /// The numbers that embeddings are computed in, and by which of the processor's units.
    #[schema(example = "float32")]
    precision: &'static str,
    /// The server's version.
    version: &'static str,
    /// The commit that it was built from, where the build said so.
    sha: Option<&'static str>,
    /// The container image's label, where the build said so.
    docker_label: Option<&'static str>,
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

/// The model that an [`Info`] is about.
struct Meant {
    name: String,
    sha: Option<String>,
    summary: Option<ModelSummary>,
}

/// What the server is, which models it has, what it takes.
#[utoipa::path(get, path = "/info", tag = "operations",
    responses((status = 200, body = Info), (status = 404, response = NotFound), (status = 409, response = Conflict)))]
pub(super) async fn get_info(State(state): State<AppState>, InPath(named): InPath) -> Result<Json<Info>, ApiError> {
    let models = state.store.list_models(None, MOST_MODELS).await?.items;
    let ready: Vec<Model> = models.into_iter().filter(|model| model.status == ModelStatus::Ready).collect();
    let meant = match (named, &ready[..]) {
        (Some(name), _) => Some(meant(&state, name).await?),
        (None, [only]) => Some(of_base(only.clone())),
        (None, _) => None,
    };
    let summary = meant.as_ref().and_then(|meant| meant.summary.as_ref());
    Ok(Json(Info {
        model_type: summary.map(|summary| ModelType::Embedding { pooling: summary.pooling }),
        max_input_length: summary.map(|summary| summary.max_seq_length),
        dimension: summary.map(|summary| summary.dimension),
        model_id: meant.as_ref().map(|meant| meant.name.clone()),
        served_model_name: meant.as_ref().map(|meant| meant.name.clone()),
        model_sha: meant.and_then(|meant| meant.sha),
        model_dtype: "float32",
        max_batch_tokens: MAX_BATCH_TOKENS,
        max_batch_requests: None,
        max_concurrent_requests: state.embedding.max_waiting_texts(),
        tokenization_workers: std::thread::available_parallelism().map_or(1, usize::from),
        max_client_batch_size: state.limits.max_client_batch_size,
        max_body_bytes: state.limits.max_body_bytes,
        max_upload_bytes: state.limits.max_upload_bytes,
        auto_truncate: true,
        models: ready.into_iter().map(|model| model.name).collect(),
        device: state.device.to_string(),
        training_device: state.training_device.hardware.describe(),
        training_device_reason: state.training_device.reason.clone(),
        precision: describe_precision(&Hardware::cpu(), state.embedding.precision()),
        version: env!("CARGO_PKG_VERSION"),
        sha: option_env!("MATRYO_COMMIT"),
        docker_label: option_env!("DOCKER_LABEL"),
    }))
}

fn of_base(model: Model) -> Meant {
    let sha = match model.source {
        ModelSource::Hub { revision, .. } => Some(revision),
        ModelSource::Folder { .. } | ModelSource::Upload { .. } => None,
    };
    Meant { name: model.name, sha, summary: model.summary }
}

/// A model by the name that the path gives, its files read but not loaded.
async fn meant(state: &AppState, name: String) -> Result<Meant, ApiError> {
    let reference = chosen(state, Some(&name)).await?;
    let summary = Some(state.embedding.describe(&reference).await?);
    // What it is an alias of, where it is one.
    let reference = match state.store.get_alias(&name).await {
        Ok(alias) => chosen(state, Some(&alias.model)).await?,
        Err(StoreError::NotFound { .. }) => reference,
        Err(error) => return Err(error.into()),
    };
    let sha = match reference {
        ModelReference::Base(name) => of_base(state.store.get_model_by_name(&name).await?).sha,
        ModelReference::JobBest(id) => Some(state.store.best_checkpoint(id).await?.sha256),
        ModelReference::JobEpoch(id, epoch) => Some(state.store.get_checkpoint(id, epoch).await?.sha256),
    };
    Ok(Meant { name, sha, summary })
}
