//! One file, whole or in part (RFC 9110, section 14), with validators so that a broken download goes on where it stopped.

use std::io;
use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;

use crate::http::{ApiError, ErrorCode};

/// Answers `request` (GET or HEAD) with the file at `path`, which the caller has found among those that may be sent.
///
/// # Errors
/// Where the file is gone or cannot be read, or the request's range or condition does not fit it.
pub(in crate::http) async fn send_file(path: &Path, mut request: Request) -> Result<Response, ApiError> {
    if !takes_range(&request) {
        request.headers_mut().remove(header::RANGE);
    }
    if let Some(validator) = request.headers_mut().remove(header::IF_RANGE)
        && !is_current(path, &validator).await.map_err(unreadable)?
    {
        // The client holds a part of another version: it gets all of this one.
        request.headers_mut().remove(header::RANGE);
    }
    let response = serve(path, request).await.map_err(unreadable)?;
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let error = ApiError::new(ErrorCode::RangeNotSatisfiable, "the range lies outside the file");
            Err(match response.headers().get(header::CONTENT_RANGE) {
                Some(size) => error.with_header(header::CONTENT_RANGE, size.clone()),
                None => error,
            })
        }
        StatusCode::PRECONDITION_FAILED => {
            Err(ApiError::new(ErrorCode::PreconditionFailed, "the file is not the one that the condition names"))
        }
        _ => Ok(response),
    }
}

/// Ranges have a meaning for GET alone, and other units than bytes are to be ignored (section 14.2).
fn takes_range(request: &Request) -> bool {
    let in_bytes = |range: &HeaderValue| range.as_bytes().starts_with(b"bytes=");
    request.method() == Method::GET && request.headers().get(header::RANGE).is_some_and(in_bytes)
}

/// Whether an `If-Range` names the file as it is now, by its ETag or the time of its last change.
async fn is_current(path: &Path, validator: &HeaderValue) -> io::Result<bool> {
    let mut head = Request::new(Body::empty());
    *head.method_mut() = Method::HEAD;
    let response = serve(path, head).await?;
    Ok([header::ETAG, header::LAST_MODIFIED].iter().any(|name| response.headers().get(name) == Some(validator)))
}

async fn serve(path: &Path, request: Request) -> io::Result<Response> {
    // A server may answer several ranges by the whole file (section 14.2), and nobody downloads weights in several.
    let mut file = ServeFile::new(path).ignore_multi_range_requests(true);
    Ok(file.try_call(request).await?.map(Body::new).into_response())
}

fn unreadable(error: io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::NotFound => ApiError::new(ErrorCode::NotFound, "the file has just been deleted"),
        _ => ApiError::io(error),
    }
}
