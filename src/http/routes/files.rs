//! Files in OpenAI's shape: datasets, under ids of the form `file-<the dataset's id without dashes>`.
//!
//! A file is checked while it is uploaded, so it is `processed` from the start and a job never waits for that. What comes
//! this way is kept as it came beside its rows, and given back so; of what was uploaded as a dataset only the rows are
//! kept, and given as JSON Lines.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::datasets;
use crate::domain::{Dataset, DatasetId, unix_seconds};
use crate::http::download::send_file;
use crate::http::extract::{Path, Query};
use crate::http::openai::{CursorQuery, FileName, ListBody, unknown_cursor};
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, PreconditionFailed, RangeNotSatisfiable, Timeout, TooLarge,
    UnsupportedMediaType,
};
use crate::http::upload::{FINE_TUNE, FileForm, FormTexts, UploadKind};
use crate::http::{ApiError, AppState, ErrorCode};
use crate::store::{ListOrder, StoreError};

/// Items on a page, by default and at most, as OpenAI's API has it.
const MAX_LIMIT: u32 = 10_000;

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileObject {
    /// Names it.
    id: FileName,
    /// Always `file`.
    #[schema(example = "file")]
    object: &'static str,
    /// The size of what `content` gives.
    bytes: u64,
    /// When it was uploaded, in seconds since 1970.
    created_at: i64,
    /// When it expires: never.
    expires_at: Option<i64>,
    /// What it was called where it came from.
    filename: String,
    /// Always `fine-tune`.
    #[schema(example = "fine-tune")]
    purpose: &'static str,
    /// Always `processed`: what cannot be used is refused at once.
    #[schema(example = "processed")]
    status: &'static str,
    /// Always null.
    status_details: Option<String>,
    /// The dataset that it is; Matryo's own.
    dataset_id: DatasetId,
}

impl TryFrom<Dataset> for FileObject {
    type Error = ApiError;

    fn try_from(dataset: Dataset) -> Result<Self, ApiError> {
        Ok(Self {
            id: FileName(dataset.id),
            object: "file",
            bytes: dataset.original_bytes.unwrap_or(dataset.size_bytes),
            created_at: unix_seconds(&dataset.created_at).map_err(ApiError::internal)?,
            expires_at: None,
            filename: dataset.name,
            purpose: FINE_TUNE,
            status: "processed",
            status_details: None,
            dataset_id: dataset.id,
        })
    }
}

/// Uploads a file to train on or to validate with: JSON Lines such as `{"anchor": "…", "positive": "…"}`, or any other
/// format of `POST /v1/datasets`, whose fields may be sent beside it.
#[utoipa::path(post, path = "/v1/files", tag = "files",
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = FileObject), (status = 400, response = Malformed), (status = 408, response = Timeout),
        (status = 413, response = TooLarge), (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Invalid), (status = 507, response = DiskFull)))]
pub(super) async fn create_file(State(state): State<AppState>, request: Request) -> Result<Json<FileObject>, ApiError> {
    let dataset = datasets::take_upload(state, request, UploadKind::File, &mut FormTexts::new()).await?;
    Ok(Json(dataset.try_into()?))
}

/// Which files, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FilesQuery {
    /// Only files for this; there are none but for `fine-tune`.
    purpose: Option<String>,
    /// By the time of upload; `desc` by default.
    #[param(inline)]
    order: Option<Order>,
}

/// An order by time.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// The oldest first.
    Asc,
    /// The newest first.
    Desc,
}

/// Lists files, up to 10000 at once.
#[utoipa::path(get, path = "/v1/files", tag = "files", params(CursorQuery, FilesQuery),
    responses((status = 200, body = ListBody<FileObject>), (status = 422, response = Invalid)))]
pub(super) async fn list_files(
    State(state): State<AppState>,
    Query(cursor): Query<CursorQuery>,
    Query(FilesQuery { purpose, order }): Query<FilesQuery>,
) -> Result<Json<ListBody<FileObject>>, ApiError> {
    let (after, limit) = cursor.read::<FileName>(MAX_LIMIT, MAX_LIMIT)?;
    if let Some(after) = after {
        find(&state, after).await.map_err(|error| match error.code() {
            ErrorCode::NotFound => unknown_cursor(after),
            _ => error,
        })?;
    }
    let order = match order {
        Some(Order::Asc) => ListOrder::OldestFirst,
        Some(Order::Desc) | None => ListOrder::NewestFirst,
    };
    let wanted = purpose.is_none_or(|purpose| purpose == FINE_TUNE);
    let limit = if wanted { limit } else { 0 };
    let page = state.store.list_datasets(order, after.map(|file| file.0), limit).await?;
    let files = page.items.into_iter().map(FileObject::try_from).collect::<Result<_, _>>()?;
    Ok(Json(ListBody::new(files, page.next_cursor.is_some(), |file: &FileObject| file.id.to_string())))
}

/// Reads what is known of a file.
#[utoipa::path(get, path = "/v1/files/{id}", operation_id = "get_uploaded_file", tag = "files", params(("id" = FileName, Path, description = "The file.")),
    responses((status = 200, body = FileObject), (status = 404, response = NotFound)))]
pub(super) async fn get_file(
    State(state): State<AppState>,
    Path(id): Path<FileName>,
) -> Result<Json<FileObject>, ApiError> {
    Ok(Json(find(&state, id).await?.try_into()?))
}

/// Downloads a file: the bytes as they were uploaded, whole or in part (`Range`). Of what was uploaded as a dataset, its
/// rows as JSON Lines.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "files",
    params(
        ("id" = FileName, Path, description = "The file."),
        ("range" = Option<String>, Header, description = "The bytes wanted, such as `bytes=0-1023`."),
    ),
    responses(
        (status = 200, content_type = "*/*", body = Vec<u8>, description = "The whole file."),
        (status = 206, content_type = "*/*", body = Vec<u8>, description = "The bytes asked for."),
        (status = 304, description = "The client's copy is current."),
        (status = 404, response = NotFound), (status = 412, response = PreconditionFailed),
        (status = 416, response = RangeNotSatisfiable)))]
pub(super) async fn get_content(
    State(state): State<AppState>,
    Path(id): Path<FileName>,
    request: Request,
) -> Result<Response, ApiError> {
    let dataset = find(&state, id).await?;
    if dataset.original_bytes.is_some() {
        send_file(&state.data_dir.original(dataset.id), request).await
    } else {
        send_rows(&state, &dataset, request.method()).await
    }
}

/// Deletes a file that no job uses, but for those that have ended.
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "files",
    params(("id" = FileName, Path, description = "The file.")),
    responses((status = 200, body = FileDeleted), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(super) async fn delete_file(
    State(state): State<AppState>,
    Path(id): Path<FileName>,
) -> Result<Json<FileDeleted>, ApiError> {
    find(&state, id).await?;
    datasets::remove(&state, id.0).await?;
    Ok(Json(FileDeleted { id, object: "file", deleted: true }))
}

/// A file that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileDeleted {
    /// What it was named.
    id: FileName,
    /// Always `file`.
    #[schema(example = "file")]
    object: &'static str,
    /// Always true.
    deleted: bool,
}

/// The dataset that a file is.
///
/// # Errors
/// 404 where there is none.
pub(super) async fn find(state: &AppState, id: FileName) -> Result<Dataset, ApiError> {
    state.store.get_dataset(id.0).await.map_err(|error| match error {
        StoreError::NotFound { .. } => ApiError::new(ErrorCode::NotFound, format!("there is no file `{id}`")),
        other => other.into(),
    })
}

/// The stored rows, those trained on first.
async fn send_rows(state: &AppState, dataset: &Dataset, method: &Method) -> Result<Response, ApiError> {
    let open = async |path| {
        tokio::fs::File::open(path).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ApiError::new(ErrorCode::NotFound, "the file has just been deleted"),
            _ => ApiError::io(error),
        })
    };
    let train = open(state.data_dir.train_rows(dataset.id)).await?;
    let eval = open(state.data_dir.eval_rows(dataset.id)).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_LENGTH, dataset.size_bytes.to_string()),
    ];
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::from_stream(ReaderStream::new(train.chain(eval))) };
    Ok((headers, body).into_response())
}
