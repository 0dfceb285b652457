//! Checkpoints: which there are, what they hold, and their download.

use std::str::FromStr;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::{Checkpoint, JobId, ModelReference};
use crate::http::download::{ArchiveFormat, ListedFile, archive, list, send_file};
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Invalid, NotFound, PreconditionFailed, RangeNotSatisfiable};
use crate::http::{ApiError, AppState, ErrorCode};

/// What only the trainer needs, to go on from a checkpoint.
const TRAINER_STATE: [&str; 2] = ["optimizer.safetensors", "trainer_state.json"];

/// Which of a job's checkpoints: `best`, or an epoch's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckpointName {
    Best,
    Epoch(u32),
}

impl FromStr for CheckpointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "best" {
            return Ok(Self::Best);
        }
        let number = text.strip_prefix("epoch-").unwrap_or(text).parse();
        number.map(Self::Epoch).map_err(|_| format!("`{text}` is not a checkpoint (`best` or an epoch is expected)"))
    }
}

impl<'de> Deserialize<'de> for CheckpointName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointBody {
    /// What is known of it.
    #[serde(flatten)]
    checkpoint: Checkpoint,
    /// The name to embed with it by.
    #[schema(examples("job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11@epoch-3"))]
    model: String,
}

impl From<Checkpoint> for CheckpointBody {
    fn from(checkpoint: Checkpoint) -> Self {
        let model = ModelReference::JobEpoch(checkpoint.job_id, checkpoint.epoch).to_string();
        Self { checkpoint, model }
    }
}

/// A job's checkpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointList {
    /// The checkpoints by epoch.
    data: Vec<CheckpointBody>,
}

/// A checkpoint and its files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckpointDetails {
    /// The checkpoint.
    #[serde(flatten)]
    checkpoint: CheckpointBody,
    /// Its files by name.
    files: Vec<CheckpointFile>,
}

/// One file of a checkpoint.
#[derive(Debug, Serialize, ToSchema)]
struct CheckpointFile {
    /// Its path within the checkpoint.
    #[schema(examples("1_Pooling/config.json"))]
    name: String,
    /// Its size.
    size_bytes: u64,
}

/// How to pack a checkpoint.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ArchiveQuery {
    /// The archive's layout.
    #[serde(default)]
    #[param(inline)]
    format: ArchiveFormat,
    /// `state` also packs what the trainer needs to go on from the checkpoint (its state and the optimizer's moments).
    #[param(inline)]
    include: Option<Include>,
}

/// What else an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Include {
    /// The trainer's state.
    State,
}

/// Lists a job's checkpoints; the best one is marked.
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints", tag = "checkpoints",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, body = CheckpointList), (status = 404, response = NotFound)))]
pub(super) async fn list_checkpoints(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<Json<CheckpointList>, ApiError> {
    state.store.get_job(id).await?;
    let data = state.store.list_checkpoints(id).await?.into_iter().map(CheckpointBody::from).collect();
    Ok(Json(CheckpointList { data }))
}

/// Reads a checkpoint and the list of its files.
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints/{checkpoint}", tag = "checkpoints", params(
    ("id" = JobId, Path, description = "The job."),
    ("checkpoint" = String, Path, description = "`best`, or an epoch's number.", example = "best")),
    responses((status = 200, body = CheckpointDetails), (status = 404, response = NotFound)))]
pub(super) async fn get_checkpoint(
    State(state): State<AppState>,
    Path((id, name)): Path<(JobId, CheckpointName)>,
) -> Result<Json<CheckpointDetails>, ApiError> {
    let (checkpoint, files) = find(&state, id, name).await?;
    let files = files.into_iter().map(|file| CheckpointFile { name: file.name, size_bytes: file.size_bytes }).collect();
    Ok(Json(CheckpointDetails { checkpoint: checkpoint.into(), files }))
}

/// Downloads a checkpoint as one archive, packed while it is sent. Its files lie below one folder `epoch-<n>`, which
/// `SentenceTransformer` loads as it is.
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints/{checkpoint}/archive", tag = "checkpoints", params(
    ("id" = JobId, Path, description = "The job."),
    ("checkpoint" = String, Path, description = "`best`, or an epoch's number.", example = "best"), ArchiveQuery),
    responses(
        (status = 200, content((Vec<u8> = "application/gzip"), (Vec<u8> = "application/zip")),
            headers(("content-disposition" = String, description = "Proposes a file name."))),
        (status = 404, response = NotFound), (status = 422, response = Invalid)))]
pub(super) async fn get_archive(
    State(state): State<AppState>,
    Path((id, name)): Path<(JobId, CheckpointName)>,
    Query(ArchiveQuery { format, include }): Query<ArchiveQuery>,
    method: Method,
) -> Result<Response, ApiError> {
    let (checkpoint, mut files) = find(&state, id, name).await?;
    if include != Some(Include::State) {
        files.retain(|file| !TRAINER_STATE.contains(&file.name.as_str()));
    }
    let root = format!("epoch-{}", checkpoint.epoch);
    let file_name = format!("attachment; filename=\"job-{id}-{root}.{}\"", format.extension());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(file_name).expect("ids and numbers are printable")),
    ];
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        archive(root, files, format).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => just_deleted(),
            _ => ApiError::io(error),
        })?
    };
    Ok((headers, body).into_response())
}

/// Downloads one file of a checkpoint, whole or in part (`Range`), with validators (`ETag`, `Last-Modified`) so that a
/// broken download goes on where it stopped.
#[utoipa::path(get, path = "/v1/jobs/{id}/checkpoints/{checkpoint}/files/{*path}", tag = "checkpoints", params(
    ("id" = JobId, Path, description = "The job."),
    ("checkpoint" = String, Path, description = "`best`, or an epoch's number.", example = "best"),
    ("path" = String, Path, description = "The file's path within the checkpoint.", example = "config.json"),
    ("range" = Option<String>, Header, description = "The bytes wanted, such as `bytes=0-1023`.")),
    responses(
        (status = 200, content_type = "*/*", body = Vec<u8>, description = "The whole file."),
        (status = 206, content_type = "*/*", body = Vec<u8>, description = "The bytes asked for."),
        (status = 304, description = "The client's copy is current."),
        (status = 404, response = NotFound), (status = 412, response = PreconditionFailed),
        (status = 416, response = RangeNotSatisfiable)))]
pub(super) async fn get_file(
    State(state): State<AppState>,
    Path((id, name, path)): Path<(JobId, CheckpointName, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (_, files) = find(&state, id, name).await?;
    let Some(file) = files.iter().find(|file| file.name == path) else {
        let path: String = path.chars().take(200).collect();
        return Err(ApiError::new(ErrorCode::NotFound, format!("the checkpoint has no file `{path}`")));
    };
    send_file(&file.path, request).await
}

/// A checkpoint and its files.
async fn find(state: &AppState, id: JobId, name: CheckpointName) -> Result<(Checkpoint, Vec<ListedFile>), ApiError> {
    state.store.get_job(id).await?;
    let checkpoint = match name {
        CheckpointName::Best => state.store.best_checkpoint(id).await?,
        CheckpointName::Epoch(epoch) => state.store.get_checkpoint(id, epoch).await?,
    };
    let folder = state.data_dir.checkpoint(&checkpoint);
    let files = tokio::task::spawn_blocking(move || list(&folder)).await.map_err(ApiError::internal)?;
    let files = files.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => just_deleted(),
        _ => ApiError::io(error),
    })?;
    Ok((checkpoint, files))
}

/// The trainer may delete a checkpoint between the look at its row and the look at its files.
fn just_deleted() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the checkpoint has just been deleted, to keep to save_total_limit")
}
