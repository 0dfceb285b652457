//! A job's records for other tools: TensorBoard's event files, and TREC's files of what evaluations found.

use std::path::Path as FilePath;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::checkpoints::CheckpointName;
use crate::domain::{Job, JobId};
use crate::http::download::{ArchiveFormat, archive, list, send_file};
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Invalid, NotFound, PreconditionFailed, RangeNotSatisfiable};
use crate::http::{ApiError, AppState, ErrorCode};

/// How to pack the event files.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TensorBoardQuery {
    /// The archive's layout.
    #[serde(default)]
    #[param(inline)]
    format: ArchiveFormat,
}

/// Which evaluation: `baseline`, or a checkpoint's.
#[derive(Debug, Clone, Copy)]
enum EvaluationName {
    Baseline,
    Checkpoint(CheckpointName),
}

impl<'de> Deserialize<'de> for EvaluationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "baseline" {
            return Ok(Self::Baseline);
        }
        let expected = |_| {
            let text: String = text.chars().take(80).collect();
            serde::de::Error::custom(format!("`{text}` is no evaluation (`baseline`, `best` or an epoch is expected)"))
        };
        text.parse().map(Self::Checkpoint).map_err(expected)
    }
}

/// Which of a job's lists of documents found.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TrecRunQuery {
    /// The evaluation: `baseline`, `best`, or the epoch of a checkpoint, such as `epoch-2`.
    #[serde(default = "best")]
    #[param(value_type = String, default = "best", example = "best")]
    checkpoint: EvaluationName,
    /// The length to which embeddings were cut; the job's first dimension where it is left out.
    #[param(minimum = 1)]
    dim: Option<u32>,
}

fn best() -> EvaluationName {
    EvaluationName::Checkpoint(CheckpointName::Best)
}

/// Downloads a job's TensorBoard event files as one archive, as far as they are written: unpack it and point
/// `tensorboard --logdir` to the folder. Tags are the Hugging Face trainer's (`train/loss`, `eval/dim_128_cosine_ndcg@10`).
#[utoipa::path(get, path = "/v1/jobs/{id}/tensorboard", tag = "records",
    params(("id" = JobId, Path, description = "The job."), TensorBoardQuery),
    responses(
        (status = 200, content((Vec<u8> = "application/gzip"), (Vec<u8> = "application/zip")),
            headers(("content-disposition" = String, description = "Proposes a file name."))),
        (status = 404, response = NotFound), (status = 422, response = Invalid)))]
pub(super) async fn get_tensorboard(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    Query(TensorBoardQuery { format }): Query<TensorBoardQuery>,
    method: Method,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(id).await?;
    let folder = state.data_dir.run_folder(id).tensorboard();
    let files = tokio::task::spawn_blocking(move || list(&folder)).await.map_err(ApiError::internal)?;
    let files = files.map_err(|error| missing(error, &job, "events"))?;
    let root = format!("job-{id}-tensorboard");
    let file_name = format!("attachment; filename=\"{root}.{}\"", format.extension());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(file_name).expect("ids are printable")),
    ];
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        archive(root, files, format).await.map_err(|error| missing(error, &job, "events"))?
    };
    Ok((headers, body).into_response())
}

/// Downloads which documents answer which questions, as trec_eval reads it (qrels). Questions and documents are named
/// after their rows' ids.
#[utoipa::path(get, path = "/v1/jobs/{id}/trec/qrels", tag = "records", params(
    ("id" = JobId, Path, description = "The job."),
    ("range" = Option<String>, Header, description = "The bytes wanted, such as `bytes=0-1023`.")),
    responses(
        (status = 200, content_type = "text/plain", body = String, description = "The whole file."),
        (status = 206, content_type = "text/plain", body = String, description = "The bytes asked for."),
        (status = 304, description = "The client's copy is current."),
        (status = 404, response = NotFound), (status = 412, response = PreconditionFailed),
        (status = 416, response = RangeNotSatisfiable)))]
pub(super) async fn get_trec_qrels(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    request: Request,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(id).await?;
    send(&state.data_dir.run_folder(id).qrels(), request, &job, "qrels").await
}

/// Downloads what an evaluation found, as trec_eval reads it (a run): the first 100 documents for each question, at one
/// dimension. trec_eval counts the same metrics from it and the qrels as `/v1/jobs/{id}/metrics` holds.
#[utoipa::path(get, path = "/v1/jobs/{id}/trec/run", tag = "records", params(
    ("id" = JobId, Path, description = "The job."), TrecRunQuery,
    ("range" = Option<String>, Header, description = "The bytes wanted, such as `bytes=0-1023`.")),
    responses(
        (status = 200, content_type = "text/plain", body = String, description = "The whole file."),
        (status = 206, content_type = "text/plain", body = String, description = "The bytes asked for."),
        (status = 304, description = "The client's copy is current."),
        (status = 404, response = NotFound), (status = 412, response = PreconditionFailed),
        (status = 416, response = RangeNotSatisfiable), (status = 422, response = Invalid)))]
pub(super) async fn get_trec_run(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    Query(TrecRunQuery { checkpoint, dim }): Query<TrecRunQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(id).await?;
    let epoch = match checkpoint {
        EvaluationName::Baseline | EvaluationName::Checkpoint(CheckpointName::Epoch(0)) => 0,
        EvaluationName::Checkpoint(CheckpointName::Epoch(epoch)) => state.store.get_checkpoint(id, epoch).await?.epoch,
        EvaluationName::Checkpoint(CheckpointName::Best) => state.store.best_checkpoint(id).await?.epoch,
    };
    let dims = job.training.dims();
    let asked = dim.map_or_else(|| dims.first().copied(), |dim| Some(dim as usize));
    let Some(dim) = asked.filter(|dim| dims.contains(dim)) else {
        let known: Vec<String> = dims.iter().map(ToString::to_string).collect();
        let message = format!("the job is evaluated at the dimensions {} alone", known.join(", "));
        return Err(ApiError::invalid_field("dim", message));
    };
    send(&state.data_dir.run_folder(id).trec_run(epoch, dim), request, &job, "run").await
}

async fn send(path: &FilePath, request: Request, job: &Job, what: &str) -> Result<Response, ApiError> {
    match tokio::fs::metadata(path).await {
        Ok(_) => send_file(path, request).await,
        Err(error) => Err(missing(error, job, what)),
    }
}

/// A job writes its records while it runs, and none that is too large; jobs of earlier versions have none.
fn missing(error: std::io::Error, job: &Job, what: &str) -> ApiError {
    match error.kind() {
        std::io::ErrorKind::NotFound if job.status.is_final() => {
            ApiError::new(ErrorCode::NotFound, format!("the job wrote no {what}; its warnings say why, where it tried"))
        }
        std::io::ErrorKind::NotFound => ApiError::new(
            ErrorCode::NotFound,
            format!("the job has written no {what} yet; it is {}", job.status.as_str()),
        ),
        _ => ApiError::io(error),
    }
}
