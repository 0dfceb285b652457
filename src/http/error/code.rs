//! The words for what goes wrong, each with its status.

use std::fmt;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// A word for programs; each belongs to one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the request is not what it claims to be, such as JSON that does not parse.
    MalformedRequest,
    /// 400: nothing was sent where at least one thing is expected.
    Empty,
    /// 401: the API key is missing or wrong.
    Unauthorized,
    /// 403: a browser asks for it at another site's wish.
    Forbidden,
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
    /// 422: token ids are none of the model's tokenizer's.
    BadTokens,
    /// 422: the model is not one that can be trained or embedded with.
    UnsupportedModel,
    /// 429: too much waits already; `Retry-After` says when to try again.
    TooManyRequests,
    /// 500: a fault of the server, which its log explains.
    Internal,
    /// 500: the model broke down on the request, which the server's log explains.
    InferenceFailed,
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
            Self::MalformedRequest | Self::Empty => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Invalid | Self::BadRows | Self::BadTokens | Self::UnsupportedModel => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal | Self::InferenceFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

impl fmt::Display for ErrorCode {
    /// The word itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
