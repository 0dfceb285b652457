//! What a client is told when something goes wrong, and the one place where that is decided.
//!
//! What the client reads and what the log shows are apart: an internal error's source travels with the response to the
//! access log, which writes it once, and the client reads a fixed text.

use std::error::Error as StdError;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::data::error::DatasetError;
use crate::domain::{FieldError, RowError};
use crate::hub::HubError;
use crate::model::ModelError;
use crate::serving::EmbedError;
use crate::store::StoreError;
use crate::worker::WorkerError;

/// A word for programs; each belongs to one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the request is not what it claims to be, such as JSON that does not parse.
    MalformedRequest,
    /// 401: the API key is missing or wrong.
    Unauthorized,
    /// 404: there is no such thing.
    NotFound,
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 406: none of the content types that the client accepts is offered.
    NotAcceptable,
    /// 408: the request's body did not arrive in time.
    RequestTimeout,
    /// 409: the state of things forbids it.
    Conflict,
    /// 412: the thing is not the one that the condition names.
    PreconditionFailed,
    /// 413: the body, or something in it, exceeds a limit.
    TooLarge,
    /// 415: the body's content type is not understood.
    UnsupportedMediaType,
    /// 416: the range lies outside the file.
    RangeNotSatisfiable,
    /// 422: values are wrong; `details.fields` lists all of them.
    Invalid,
    /// 422: rows of an upload are wrong; `details.rows` lists the first of them.
    BadRows,
    /// 422: the model is not one that can be trained or embedded with.
    UnsupportedModel,
    /// 429: too much waits already; `Retry-After` says when to try again.
    TooManyRequests,
    /// 500: a fault of the server, which its log explains.
    Internal,
    /// 503: the server cannot do it now; `Retry-After` says when to try again.
    Unavailable,
    /// 507: the disk of the data directory is full.
    DiskFull,
}

impl ErrorCode {
    /// The status that it belongs to.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Invalid | Self::BadRows | Self::UnsupportedModel => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// What is wrong in particular.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ErrorDetails {
    /// Fields of the request.
    Fields {
        /// All that are wrong.
        fields: Vec<FieldError>,
    },
    /// Rows of an uploaded file.
    Rows {
        /// The first bad ones, in the file's order.
        rows: Vec<RowError>,
        /// Bad rows in all.
        total: u64,
        /// Rows read.
        checked: u64,
    },
}

/// The JSON of every error.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

/// The error itself.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ErrorObject {
    /// A word for programs.
    pub code: ErrorCode,
    /// A sentence for people: what is wrong and what was expected.
    pub message: String,
    /// What is wrong in particular, where there is more to say.
    pub details: Option<ErrorDetails>,
}

/// The cause of an internal error, on its way to the access log.
#[derive(Debug, Clone)]
pub(super) struct ErrorSource(pub(super) Arc<dyn StdError + Send + Sync>);

/// An error answer.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    details: Option<ErrorDetails>,
    source: Option<ErrorSource>,
    /// Boxed since few errors have one, and a result is as large as its error.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl ApiError {
    /// An error that the client may read.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, source: None, header: None }
    }

    /// Fields with bad values, all of them.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let list = fields.iter().map(|error| format!("{}: {}", error.field, error.message));
        let message = list.collect::<Vec<_>>().join("; ");
        Self { details: Some(ErrorDetails::Fields { fields }), ..Self::new(ErrorCode::Invalid, message) }
    }

    /// One field with a bad value.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// A fault of the server: the source is for the log alone.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let message = "something failed in the server; its log tells more under this answer's x-request-id";
        Self { source: Some(ErrorSource(Arc::from(source.into()))), ..Self::new(ErrorCode::Internal, message) }
    }

    /// Too much waits already.
    pub fn too_many(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(ErrorCode::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// The server cannot do it now.
    pub fn unavailable(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(ErrorCode::Unavailable, message).retry_after(retry_after_seconds)
    }

    /// A file that could not be read or written.
    #[must_use]
    pub fn io(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            let message = "the disk of the data directory is full; free some space and try again";
            Self { source: Some(ErrorSource(Arc::new(error))), ..Self::new(ErrorCode::DiskFull, message) }
        } else {
            Self::internal(error)
        }
    }

    /// What is wrong with a dataset's file, which came as the part `part`.
    #[must_use]
    pub(super) fn dataset(error: DatasetError, part: &str) -> Self {
        let message = error.to_string();
        match error {
            DatasetError::Io { source, .. } => Self::io(std::io::Error::new(source.kind(), message)),
            DatasetError::Format { .. } | DatasetError::Empty => Self::invalid_field(part, message),
            DatasetError::Columns { field, .. } => Self::invalid_field(field, format!("{part}: {message}")),
            DatasetError::Rows { errors: rows, total, checked } => Self {
                details: Some(ErrorDetails::Rows { rows, total, checked }),
                ..Self::new(ErrorCode::BadRows, format!("{part}: {message}"))
            },
            DatasetError::TooLarge { .. } => Self::new(ErrorCode::TooLarge, format!("{part}: {message}")),
            DatasetError::TestSize { .. } => Self::invalid_field("test_size", message),
        }
    }

    /// The same error with a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, seconds.into())
    }

    fn with_source(mut self, source: &(dyn StdError + 'static)) -> Self {
        self.source = Some(ErrorSource(Arc::from(Box::<dyn StdError + Send + Sync>::from(chain(source)))));
        self
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let line = error.to_string();
        // Many messages end with their cause's already.
        if lines.last().is_none_or(|last| !last.ends_with(&line)) {
            lines.push(line);
        }
        next = error.source();
    }
    lines.join(": ")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { code, message, details, source, header } = self;
        let mut response =
            (code.status(), Json(ErrorBody { error: ErrorObject { code, message, details } })).into_response();
        if let Some((name, value)) = header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        if let Some(source) = source {
            response.extensions_mut().insert(source);
        }
        response
    }
}

pub(super) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no `{}`; /openapi.json lists what there is", uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, format!("`{}` cannot be asked for with {method}", uri.path()))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { kind: "model", .. } => {
                let hint = "POST /v1/models pulls one from the Hub or registers a folder";
                Self::new(ErrorCode::NotFound, format!("{error}; {hint}"))
            }
            StoreError::NotFound { .. } => Self::new(ErrorCode::NotFound, error.to_string()),
            StoreError::Conflict { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::Full(_) => Self::new(ErrorCode::DiskFull, error.to_string()).with_source(error),
            StoreError::Database(_) => Self::internal(chain(error)),
        }
    }
}

impl From<DatasetError> for ApiError {
    fn from(error: DatasetError) -> Self {
        Self::dataset(error, "file")
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let message = error.to_string();
        match error {
            // The Hub's refusals are about the model that the request names, not about the request's own key.
            HubError::Invalid(_) | HubError::Unauthorized(_) | HubError::Forbidden(_) | HubError::TooLarge { .. } => {
                Self::new(ErrorCode::Invalid, message)
            }
            HubError::NotFound(_) => Self::new(ErrorCode::NotFound, message),
            HubError::Busy(_) => Self::new(ErrorCode::Conflict, message),
            HubError::Offline { .. } | HubError::Unreachable { .. } | HubError::BadAnswer { .. } => {
                Self::unavailable(message, 60)
            }
            HubError::Io { source, .. } => Self::io(std::io::Error::new(source.kind(), message)),
        }
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        Self::from(&error)
    }
}

impl From<&ModelError> for ApiError {
    fn from(error: &ModelError) -> Self {
        match error {
            ModelError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::new(ErrorCode::UnsupportedModel, error.to_string())
            }
            ModelError::File { source, .. } => Self::io(std::io::Error::new(source.kind(), error.to_string())),
            ModelError::Malformed { .. } | ModelError::Unsupported(_) | ModelError::Tokenization(_) => {
                Self::new(ErrorCode::UnsupportedModel, error.to_string())
            }
            ModelError::Cancelled => Self::unavailable("the server stops", 10),
        }
    }
}

impl From<WorkerError> for ApiError {
    fn from(error: WorkerError) -> Self {
        let message = error.to_string();
        match error {
            WorkerError::InUse(_) => Self::internal(message),
            WorkerError::Io { source, .. } => Self::io(std::io::Error::new(source.kind(), message)),
            WorkerError::Store(error) => error.into(),
        }
    }
}

impl From<EmbedError> for ApiError {
    fn from(error: EmbedError) -> Self {
        let message = error.to_string();
        match error {
            EmbedError::UnknownModel(_) => Self::new(ErrorCode::NotFound, message),
            EmbedError::NotReady(_) => Self::new(ErrorCode::Conflict, message),
            EmbedError::Invalid(fields) => Self::invalid(fields),
            EmbedError::Overloaded { retry_after_seconds } => Self::too_many(message, retry_after_seconds),
            EmbedError::Model(error) => Self::from(&*error),
            EmbedError::Store(error) => Self::from(&*error),
            EmbedError::Failed(_) => Self::internal(message),
            EmbedError::ShuttingDown => Self::unavailable(message, 10),
        }
    }
}
