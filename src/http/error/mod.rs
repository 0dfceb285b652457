//! What a client is told when something goes wrong, and the one place where that is decided.
//!
//! Handlers, extractors and layers all give an [`ApiError`]. It travels with the response to the layer
//! [`speak_dialect`], which writes it as the path's clients read errors: `dialect` knows how.
//!
//! What the client reads and what the log shows are apart: an internal error's source travels with the response to the
//! access log, which writes it once, and the client reads a fixed text.

mod code;
mod conversions;
mod dialect;

use std::error::Error as StdError;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::data::error::DatasetError;
use crate::domain::{FieldError, RowError};

pub use code::ErrorCode;
pub(super) use dialect::{Dialect, OpenAiError, TeiError, speak_dialect};

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

/// The JSON of an error, where the path's clients expect no other.
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
    /// A finer word than the code's, for dialects that have one.
    reason: Option<&'static str>,
    message: String,
    details: Option<ErrorDetails>,
    source: Option<ErrorSource>,
    /// Boxed since few errors have one, and a result is as large as its error.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl ApiError {
    /// The reason of an error about a model that is not there.
    pub const MODEL_NOT_FOUND: &str = "model_not_found";

    /// An error that the client may read.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, reason: None, message: message.into(), details: None, source: None, header: None }
    }

    /// Fields with bad values, all of them.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let list = fields.iter().map(|error| format!("{}: {}", error.field, error.message));
        let message = list.collect::<Vec<_>>().join("; ");
        Self { details: Some(ErrorDetails::Fields { fields }), ..Self::new(ErrorCode::Invalid, message) }
    }

    /// Token ids that are none of the model's tokenizer.
    #[must_use]
    pub fn bad_tokens(fields: Vec<FieldError>) -> Self {
        Self { code: ErrorCode::BadTokens, ..Self::invalid(fields) }
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

    /// The same error in other words.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The same error with a finer word than its code, which OpenAI's clients read as `code`.
    #[must_use]
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
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

    /// What is wrong in particular, where there is more to say.
    #[must_use]
    pub fn details(&self) -> Option<&ErrorDetails> {
        self.details.as_ref()
    }

    /// The fields that are wrong.
    #[must_use]
    pub fn field_errors(&self) -> &[FieldError] {
        match &self.details {
            Some(ErrorDetails::Fields { fields }) => fields,
            Some(ErrorDetails::Rows { .. }) | None => &[],
        }
    }

    fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, seconds.into())
    }

    /// The same error with its cause, for the log alone.
    #[must_use]
    pub fn caused_by(mut self, source: &(dyn StdError + 'static)) -> Self {
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
        let Self { code, message, details, source, header, .. } = self.clone();
        let mut response =
            (code.status(), Json(ErrorBody { error: ErrorObject { code, message, details } })).into_response();
        if let Some((name, value)) = header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        if let Some(source) = source {
            response.extensions_mut().insert(source);
        }
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no `{}`; /openapi.json lists what there is", uri.path()))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, format!("`{}` cannot be asked for with {method}", uri.path()))
}
