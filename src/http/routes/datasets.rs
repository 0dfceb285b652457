//! Datasets: upload, list, look into, delete.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Instrument;
use utoipa::{IntoParams, ToSchema};

use crate::data::dataset_files::{preview, read_stored};
use crate::data::error::DatasetError;
use crate::data::length_histogram::{LengthHistogram, length_histogram};
use crate::domain::{Dataset, DatasetId, Model, ModelStatus, Pair, Split};
use crate::http::extract::{Path, Query};
use crate::http::openapi::{Conflict, DiskFull, Invalid, Malformed, NotFound, Timeout, TooLarge, UnsupportedMediaType};
use crate::http::page::{PageBody, PageQuery};
use crate::http::upload::{FormTexts, UploadFields, UploadFolder, UploadForm, UploadKind, ingest, receive};
use crate::http::{ApiError, AppState, ErrorCode};
use crate::model::{ModelError, load_tokenizer};
use crate::store::ListOrder;

/// Datasets that are held in memory at once, to be read or counted. One may take gigabytes.
static IN_MEMORY: Semaphore = Semaphore::const_new(2);

const DEFAULT_ROWS: u32 = 20;
const MAX_ROWS: u32 = 200;

/// Uploads a dataset: a multipart form with the part `file` (and perhaps `eval_file`), or the file itself as the body.
/// CSV, TSV, JSON, JSON Lines and Parquet are read, each plain or packed by gzip or zstd.
#[utoipa::path(post, path = "/v1/datasets", tag = "datasets",
    params(UploadFields),
    request_body(
        content(
            (UploadForm = "multipart/form-data"),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
            (String = "application/octet-stream"),
        )
    ),
    responses(
        (status = 201, body = Dataset, headers(("location" = String, description = "Where the dataset is."))),
        (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn create_dataset(
    State(state): State<AppState>,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Dataset>), ApiError> {
    let dataset = take_upload(state, request, UploadKind::Dataset, &mut FormTexts::new()).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/datasets/{}", dataset.id))], Json(dataset)))
}

/// Receives, checks and stores an upload; `texts` takes its form's fields, however that ends.
pub(in crate::http) async fn take_upload(
    state: AppState,
    request: Request,
    kind: UploadKind,
    texts: &mut FormTexts,
) -> Result<Dataset, ApiError> {
    let id = DatasetId::generate();
    let folder = UploadFolder::create(&state.data_dir.dataset(id)).map_err(ApiError::io)?;
    let upload = receive(request, kind, state.limits.max_upload_bytes, &folder, texts).await?;
    // All is here, so that a client who leaves now no longer matters: a task goes on where a handler would be dropped,
    // perhaps between the row and the folder.
    let finish = async move {
        let permit = IN_MEMORY.acquire().await.map_err(ApiError::internal)?;
        let read = tokio::task::spawn_blocking(move || ingest(&folder, id, &upload).map(|dataset| (folder, dataset)));
        let (mut folder, dataset) = read.await.map_err(ApiError::internal)??;
        drop(permit);
        folder.publish(state.data_dir.dataset(id)).map_err(ApiError::io)?;
        state.store.insert_dataset(&dataset).await?;
        folder.keep();
        Ok::<_, ApiError>(dataset)
    };
    tokio::spawn(finish.in_current_span()).await.map_err(ApiError::internal)?
}

/// Lists datasets, newest first.
#[utoipa::path(get, path = "/v1/datasets", tag = "datasets", params(PageQuery),
    responses((status = 200, body = PageBody<Dataset>), (status = 422, response = Invalid)))]
pub(super) async fn list_datasets(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<Dataset>>, ApiError> {
    let (after, limit) = query.read()?;
    Ok(Json(state.store.list_datasets(ListOrder::NewestFirst, after, limit).await?.into()))
}

/// What may be asked about a dataset.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DatasetQuery {
    /// A base model's name: adds how long the texts are in its tokens.
    model: Option<String>,
}

/// A dataset, and what was asked about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatasetBody {
    #[serde(flatten)]
    dataset: Dataset,
    /// How long the texts are in the model's tokens, where a model was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_lengths: Option<LengthHistogram>,
}

/// Shows a dataset; with `model`, also how long its texts are in that model's tokens.
#[utoipa::path(get, path = "/v1/datasets/{id}", tag = "datasets",
    params(("id" = DatasetId, Path, description = "The dataset."), DatasetQuery),
    responses(
        (status = 200, body = DatasetBody), (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = Invalid), (status = 507, response = DiskFull),
    ))]
pub(super) async fn get_dataset(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
    Query(query): Query<DatasetQuery>,
) -> Result<Json<DatasetBody>, ApiError> {
    let dataset = state.store.get_dataset(id).await?;
    let token_lengths = match query.model {
        None => None,
        Some(name) => Some(token_lengths(&state, id, &name).await?),
    };
    Ok(Json(DatasetBody { dataset, token_lengths }))
}

/// How long a dataset's texts are in a model's tokens, counted where that is not known yet.
pub(in crate::http) async fn token_lengths(
    state: &AppState,
    id: DatasetId,
    model: &str,
) -> Result<LengthHistogram, ApiError> {
    let model = state.store.get_model_by_name(model).await?;
    if model.status != ModelStatus::Ready {
        return Err(ApiError::new(ErrorCode::Conflict, format!("the model `{}` is not ready yet", model.name)));
    }
    if let Some(kept) = state.store.get_token_lengths(id, model.id).await? {
        return Ok(kept);
    }
    let _permit = IN_MEMORY.acquire().await.map_err(ApiError::internal)?;
    let (model_id, data_dir) = (model.id, state.data_dir.clone());
    let count = move || count_tokens(&data_dir, id, &model);
    let histogram = tokio::task::spawn_blocking(count).await.map_err(ApiError::internal)??;
    state.store.put_token_lengths(id, model_id, &histogram).await?;
    Ok(histogram)
}

fn count_tokens(data_dir: &crate::domain::DataDir, id: DatasetId, model: &Model) -> Result<LengthHistogram, ApiError> {
    let tokenizer = load_tokenizer(&data_dir.model(model))?;
    let mut rows = read_stored(&data_dir.train_rows(id))?;
    rows.extend(read_stored(&data_dir.eval_rows(id))?);
    Ok(length_histogram(&tokenizer, &rows).map_err(ModelError::from)?)
}

/// Which rows to show.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RowsQuery {
    /// Which part; `train` by default.
    #[param(inline)]
    split: Option<Split>,
    /// Rows to leave out at the beginning.
    #[param(minimum = 0, default = 0)]
    offset: Option<u64>,
    /// Rows to show.
    #[param(minimum = 1, maximum = 200, default = 20)]
    limit: Option<u32>,
}

/// Some rows of a part of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RowsBody {
    /// The part.
    split: Split,
    /// Rows before the first of these.
    offset: u64,
    /// Rows of the part in all.
    pub(in crate::http) total: u64,
    /// The rows.
    pub(in crate::http) rows: Vec<Pair>,
}

/// Shows some rows of a dataset as they are trained on or evaluated with.
#[utoipa::path(get, path = "/v1/datasets/{id}/rows", tag = "datasets",
    params(("id" = DatasetId, Path, description = "The dataset."), RowsQuery),
    responses((status = 200, body = RowsBody), (status = 404, response = NotFound), (status = 422, response = Invalid)))]
pub(super) async fn list_rows(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
    Query(query): Query<RowsQuery>,
) -> Result<Json<RowsBody>, ApiError> {
    let (split, offset) = (query.split.unwrap_or(Split::Train), query.offset.unwrap_or(0));
    let limit = query.limit.unwrap_or(DEFAULT_ROWS);
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(ApiError::invalid_field("limit", format!("{limit} is not from 1 to {MAX_ROWS}")));
    }
    Ok(Json(read_rows(&state, id, split, offset, limit).await?))
}

/// Reads some rows of a dataset's part.
pub(in crate::http) async fn read_rows(
    state: &AppState,
    id: DatasetId,
    split: Split,
    offset: u64,
    limit: u32,
) -> Result<RowsBody, ApiError> {
    let dataset = state.store.get_dataset(id).await?;
    let (path, total) = match split {
        Split::Train => (state.data_dir.train_rows(id), dataset.train_rows),
        Split::Eval => (state.data_dir.eval_rows(id), dataset.eval_rows),
    };
    let read = tokio::task::spawn_blocking(move || preview(&path, offset, limit as usize));
    match read.await.map_err(ApiError::internal)? {
        Ok(rows) => Ok(RowsBody { split, offset, total, rows }),
        Err(DatasetError::Io { path, source }) => {
            // Deleted since it was looked up: the error to give is that it is not there.
            state.store.get_dataset(id).await?;
            Err(DatasetError::Io { path, source }.into())
        }
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// Deletes a dataset that no job uses, but for those that have ended: they keep its id.
#[utoipa::path(delete, path = "/v1/datasets/{id}", tag = "datasets",
    params(("id" = DatasetId, Path, description = "The dataset.")),
    responses(
        (status = 204, description = "It is gone."), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull),
    ))]
pub(super) async fn delete_dataset(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
) -> Result<StatusCode, ApiError> {
    remove(&state, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a dataset's row, then its files.
pub(in crate::http) async fn remove(state: &AppState, id: DatasetId) -> Result<(), ApiError> {
    state.store.delete_dataset(id).await?;
    let folder = state.data_dir.dataset(id);
    if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
        tracing::warn!(path = %folder.display(), %error, "a deleted dataset's files stay until the next start");
    }
    Ok(())
}
