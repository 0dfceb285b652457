//! A look at a file before it becomes a dataset.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::data::reader::FilePreview;
use crate::domain::{ColumnMapping, DatasetFormat, DatasetId};
use crate::http::openapi::{DiskFull, Invalid, Malformed, Timeout, TooLarge, UnsupportedMediaType};
use crate::http::upload::{FormTexts, UploadFields, UploadFolder, UploadForm, UploadKind, look_into, receive};
use crate::http::{ApiError, AppState};

/// Bytes of a file that is only looked at.
const MAX_BYTES: u64 = 64 << 20;
/// Rows that are shown.
const ROWS: usize = 5;

/// What a file begins with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PreviewBody {
    /// The layout.
    format: DatasetFormat,
    /// The columns, in the file's order; of JSON those that its first rows have.
    columns: Vec<String>,
    /// Which columns hold what, as far as their names tell. An upload without a mapping is read so, and refused where the
    /// anchor or the positive is missing here.
    mapping: ColumnMapping,
    /// The first 5 rows: a text for each column, cut after 300 characters; null where there is no value.
    rows: Vec<Vec<Option<String>>>,
}

/// Looks at the first rows of a file and guesses its columns; nothing is kept and no row is judged. It takes what
/// `POST /v1/datasets` takes, up to 64 MiB. The beginning of a file is enough, but for Parquet, which must be whole.
#[utoipa::path(post, path = "/v1/datasets/preview", tag = "datasets",
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
        (status = 200, body = PreviewBody),
        (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn preview_dataset(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<PreviewBody>, ApiError> {
    let folder = UploadFolder::create(&state.data_dir.dataset(DatasetId::generate())).map_err(ApiError::io)?;
    let limit = MAX_BYTES.min(state.limits.max_upload_bytes);
    let upload = receive(request, UploadKind::Dataset, limit, &folder, &mut FormTexts::new()).await?;
    let look = tokio::task::spawn_blocking(move || look_into(&folder, &upload, ROWS));
    let FilePreview { format, columns, mapping, rows } = look.await.map_err(ApiError::internal)??;
    Ok(Json(PreviewBody { format, columns, mapping, rows }))
}
