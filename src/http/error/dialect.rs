//! The shapes in which clients of different services read errors, and which shape a path speaks.
//!
//! - TEI (text-embeddings-inference): `{"error": message, "error_type": word}`.
//! - OpenAI: `{"error": {"message", "type", "param", "code"}}`.
//! - Matryo's own, for every other path.
//!
//! A person who looks at a page reads a page.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ErrorCode, ErrorDetails};
use crate::http::middleware::REQUEST_ID;
use crate::http::{AppState, dashboard};

/// What OpenAI's clients look at before the status when they decide whether to try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// How a path's clients read errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Dialect {
    /// As Matryo writes them.
    Native,
    /// As text-embeddings-inference does.
    Tei,
    /// As OpenAI's API does.
    OpenAi,
}

impl Dialect {
    /// What is spoken at a path, whether or not there is such a route.
    pub(in crate::http) fn of(path: &str) -> Self {
        const TEI: [&str; 8] =
            ["/embed", "/embed_all", "/similarity", "/tokenize", "/decode", "/info", "/health", "/models"];
        // Below /v1, what is not ours is OpenAI's, and so is what its clients may look for in vain.
        const OURS: [&str; 4] = ["/v1/datasets", "/v1/jobs", "/v1/aliases", "/v1/search"];
        let is_under =
            |root: &&str| path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path == "/" || TEI.iter().any(is_under) {
            Self::Tei
        } else if is_under(&"/v1") && !OURS.iter().any(is_under) {
            Self::OpenAi
        } else {
            Self::Native
        }
    }

    /// The status of an error's code.
    pub(in crate::http) fn status(self, code: ErrorCode) -> StatusCode {
        match (self, code) {
            // What the model or the computation is at fault for.
            (Self::Tei, ErrorCode::UnsupportedModel | ErrorCode::InferenceFailed) => StatusCode::FAILED_DEPENDENCY,
            (
                Self::OpenAi,
                ErrorCode::Invalid | ErrorCode::BadRows | ErrorCode::BadTokens | ErrorCode::UnsupportedModel,
            ) => StatusCode::BAD_REQUEST,
            (Self::Native | Self::Tei | Self::OpenAi, code) => code.status(),
        }
    }

    /// Writes the error that a response carries, if any, as this dialect does.
    fn render(self, response: Response, is_head: bool) -> Response {
        let Some(error) = response.extensions().get::<ApiError>().cloned() else { return response };
        let code = error.code;
        let body = match self {
            Self::Native => return response,
            Self::Tei => Json(TeiError::from(error)).into_response(),
            Self::OpenAi => Json(OpenAiError::from(error)).into_response(),
        };
        // The old response's headers stay: a challenge, when to try again, which methods are allowed.
        let (mut parts, _) = response.into_parts();
        parts.status = self.status(code);
        parts.headers.remove(header::CONTENT_LENGTH);
        if self == Self::OpenAi && parts.status == StatusCode::CONFLICT {
            parts.headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Response::from_parts(parts, if is_head { Body::empty() } else { body.into_body() })
    }
}

/// The layer that has errors written as the path's clients read them.
pub(in crate::http) async fn speak_dialect(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path());
    let is_head = request.method() == Method::HEAD;
    let is_page = is_page(&request, dialect);
    let id = request.headers().get(REQUEST_ID).cloned();
    let response = next.run(request).await;
    let error = response.extensions().get::<ApiError>().filter(|_| is_page);
    let Some(error) = error else { return dialect.render(response, is_head) };
    let page = dashboard::error_page(&state, error, id.as_ref().and_then(|id| id.to_str().ok()));
    let (parts, body) = page.into_parts();
    let mut response = response.map(|_| if is_head { Body::empty() } else { body });
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(parts.headers);
    response
}

/// True where a person is to read the answer: at a page's address, and where a browser looks for a page that is not there.
fn is_page(request: &Request, dialect: Dialect) -> bool {
    let path = request.uri().path();
    let is_browser = || {
        let accepted = request.headers().get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
        accepted.is_some_and(|accepted| accepted.contains("text/html"))
    };
    let is_api = dialect != Dialect::Native || path.starts_with("/v1");
    dashboard::is_page(request.method(), path) || (!is_api && request.method().is_safe() && is_browser())
}

/// The JSON of an error on the routes of text-embeddings-inference.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in crate::http) struct TeiError {
    /// A sentence for people: what is wrong and what was expected.
    error: String,
    /// What kind of error it is.
    error_type: TeiErrorType,
    /// What is wrong in particular, where there is more to say; Matryo's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<ErrorDetails>,
}

/// The kinds of errors that text-embeddings-inference knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
enum TeiErrorType {
    /// 503: the server cannot do it now.
    Unhealthy,
    /// 424: the model, or 5xx: the server broke down.
    Backend,
    /// 429: too much waits already.
    Overloaded,
    /// 422: values are wrong; 4xx: the request is.
    Validation,
    /// 422: token ids are none of the tokenizer's.
    Tokenizer,
    /// 400: nothing was sent.
    Empty,
}

impl From<ErrorCode> for TeiErrorType {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Empty => Self::Empty,
            ErrorCode::BadTokens => Self::Tokenizer,
            ErrorCode::TooManyRequests => Self::Overloaded,
            ErrorCode::Unavailable => Self::Unhealthy,
            ErrorCode::UnsupportedModel
            | ErrorCode::InferenceFailed
            | ErrorCode::Conflict
            | ErrorCode::Internal
            | ErrorCode::DiskFull => Self::Backend,
            ErrorCode::MalformedRequest
            | ErrorCode::Unauthorized
            | ErrorCode::Forbidden
            | ErrorCode::NotFound
            | ErrorCode::MethodNotAllowed
            | ErrorCode::NotAcceptable
            | ErrorCode::RequestTimeout
            | ErrorCode::PreconditionFailed
            | ErrorCode::TooLarge
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::RangeNotSatisfiable
            | ErrorCode::Invalid
            | ErrorCode::BadRows => Self::Validation,
        }
    }
}

impl From<ApiError> for TeiError {
    fn from(ApiError { code, message, details, .. }: ApiError) -> Self {
        Self { error: message, error_type: code.into(), details }
    }
}

/// The JSON of an error on the routes of OpenAI's API.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in crate::http) struct OpenAiError {
    /// The error.
    error: OpenAiErrorObject,
}

/// The error itself.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct OpenAiErrorObject {
    /// A sentence for people: what is wrong and what was expected.
    message: String,
    /// What kind of error it is.
    #[serde(rename = "type")]
    error_type: OpenAiErrorType,
    /// The field that is wrong, where it is one.
    param: Option<String>,
    /// A word for programs.
    #[schema(value_type = String, example = "model_not_found")]
    code: Word,
    /// What is wrong in particular, where there is more to say; Matryo's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<ErrorDetails>,
}

/// A word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Word {
    /// What OpenAI calls it.
    Theirs(&'static str),
    /// What we call it, where OpenAI has no word.
    Ours(ErrorCode),
}

impl From<ErrorCode> for Word {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Unauthorized => Self::Theirs("invalid_api_key"),
            ErrorCode::MethodNotAllowed => Self::Theirs("method_not_supported"),
            ErrorCode::TooManyRequests => Self::Theirs("rate_limit_exceeded"),
            ErrorCode::Invalid => Self::Theirs("invalid_value"),
            ErrorCode::BadRows => Self::Theirs("invalid_file_format"),
            ErrorCode::Empty => Self::Theirs("empty_array"),
            other => Self::Ours(other),
        }
    }
}

/// The kinds of errors that OpenAI's API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names, reason = "they are OpenAI's words")]
enum OpenAiErrorType {
    /// The request is at fault, or its key.
    InvalidRequestError,
    /// Too much waits already.
    RateLimitError,
    /// The server is at fault.
    ServerError,
}

impl From<ErrorCode> for OpenAiErrorType {
    fn from(code: ErrorCode) -> Self {
        match Dialect::OpenAi.status(code) {
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimitError,
            status if status.is_server_error() => Self::ServerError,
            _ => Self::InvalidRequestError,
        }
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        let ApiError { code, reason, message, details, .. } = error;
        let param = match &details {
            Some(ErrorDetails::Fields { fields }) => fields.first().map(|error| error.field.clone()),
            Some(ErrorDetails::Rows { .. }) => Some("file".to_owned()),
            None => (reason == Some(ApiError::MODEL_NOT_FOUND)).then(|| "model".to_owned()),
        };
        let word = reason.map_or_else(|| code.into(), Word::Theirs);
        Self { error: OpenAiErrorObject { message, error_type: code.into(), param, code: word, details } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_speaks_the_dialect_of_the_service_it_comes_from() {
        for (dialect, paths) in [
            (Dialect::Tei, &["/", "/embed", "/embed_all", "/decode", "/models/org/name/embed", "/info"][..]),
            (
                Dialect::OpenAi,
                &["/v1/embeddings", "/v1/models", "/v1/models/org/name", "/v1/fine_tuning/jobs", "/v1/batches"],
            ),
            (Dialect::Native, &["/v1/jobs", "/v1/aliases/a/rollback", "/embedx", "/v1x", "/v1/datasets", "/v1/search"]),
        ] {
            for path in paths {
                assert_eq!(Dialect::of(path), dialect, "{path}");
            }
        }
    }
}
