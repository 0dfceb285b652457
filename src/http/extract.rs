//! axum's extractors with our errors instead of its plain text.

use std::error::Error;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, FormRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::{ApiError, AppState, ErrorCode};

/// How long a body of ordinary size may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            let message = "the body must be JSON, sent with `content-type: application/json`";
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType, message));
        }
        let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let body =
            body.map_err(|_| body_timeout())?.map_err(|error| body_error(&error, state.limits.max_body_bytes))?;
        from_slice(&body).map(Self)
    }
}

/// The fields of a form, as a browser sends them where no file is among them.
#[derive(Debug)]
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let form = tokio::time::timeout(BODY_TIMEOUT, axum::Form::<T>::from_request(request, state)).await;
        match form.map_err(|_| body_timeout())? {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(FormRejection::BytesRejection(error)) => Err(body_error(&error, state.limits.max_body_bytes)),
            Err(FormRejection::InvalidFormContentType(_)) => {
                let message = "a form is expected, sent with `content-type: application/x-www-form-urlencoded`";
                Err(ApiError::new(ErrorCode::UnsupportedMediaType, message))
            }
            Err(other) => Err(ApiError::new(ErrorCode::MalformedRequest, other.body_text())),
        }
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(super) struct OptionalJson<T>(pub(super) Option<T>);

impl<T: DeserializeOwned> FromRequest<AppState> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if request.body().is_end_stream() {
            return Ok(Self(None));
        }
        Json::from_request(request, state).await.map(|Json(value)| Self(value))
    }
}

/// A JSON body's value; a value of the wrong type or an unknown name is told by its path.
fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let malformed =
        |error: serde_json::Error| ApiError::new(ErrorCode::MalformedRequest, format!("the body is not JSON: {error}"));
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            let message = error.to_string();
            ApiError::invalid_field(field(&path, &message), message)
        } else {
            malformed(error)
        }
    })?;
    json.end().map_err(malformed)?;
    Ok(value)
}

/// The field that an error is about. serde gives the path of the object where one is missing from it.
fn field(path: &str, message: &str) -> String {
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match (path, missing) {
        (".", Some(missing)) => missing.to_owned(),
        (path, Some(missing)) => format!("{path}.{missing}"),
        (".", None) => "body".to_owned(),
        (path, None) => path.to_owned(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

pub(super) fn body_timeout() -> ApiError {
    ApiError::new(ErrorCode::RequestTimeout, "the request's body did not arrive in time")
}

fn body_error(error: &BytesRejection, limit: usize) -> ApiError {
    match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            ApiError::new(ErrorCode::TooLarge, format!("the body has more than {limit} bytes"))
        }
        other => ApiError::new(ErrorCode::MalformedRequest, format!("the body broke off: {}", other.body_text())),
    }
}

/// Parameters in the path. A parameter that is not what it should be names nothing, so the answer is 404.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let message = match error.kind() {
                    ErrorKind::Message(message) | ErrorKind::DeserializeError { message, .. } => message.clone(),
                    _ => error.body_text(),
                };
                Err(ApiError::new(ErrorCode::NotFound, message))
            }
            Err(other) => Err(ApiError::internal(other.body_text())),
        }
    }
}

/// Parameters in the query string.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            // The error's own cause reads `field: message`, without the field where it concerns none.
            Err(rejection) => {
                let cause = rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string);
                let (field, message) = cause.split_once(": ").unwrap_or(("query", &cause));
                Err(ApiError::invalid_field(field, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        assert_eq!(field(".", "missing field `source` at line 1 column 2"), "source");
        assert_eq!(field("training", "missing field `seed`"), "training.seed");
        assert_eq!(field("training.seed", "invalid type: map"), "training.seed");
        assert_eq!(field(".", "invalid type: sequence"), "body");
    }
}
