//! What every request passes on its way to the router: a request id, the access log, a net for panics, the API key.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response as AxumResponse};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, RequestId};
use tower_http::trace::TraceLayer;
use tracing::Span;

use super::error::{ErrorSource, speak_dialect};
use super::{ApiError, AppState, ErrorCode};

/// The header that carries a request's id both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The other header that a key may come in; `Authorization` is the usual one.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Longer ids than this are a client's mistake or mischief, and would fill the log.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// The one path that needs no key, for load balancers and container runtimes.
const OPEN_PATH: &str = "/health";
/// How long a handler may take that only asks the database.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts the layers round a router, the first one outermost.
pub(super) fn wrap(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    let layers = ServiceBuilder::new()
        .sensitive_request_headers([header::AUTHORIZATION, API_KEY].into())
        .map_request(drop_odd_request_id)
        .set_request_id(REQUEST_ID, NewRequestId)
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_request(())
                .on_response(log_access)
                .on_body_chunk(())
                .on_eos(())
                .on_failure(()),
        )
        .propagate_request_id(REQUEST_ID)
        .layer(middleware::from_fn(speak_dialect))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(middleware::from_fn_with_state(state.clone(), require_key));
    router.layer(layers)
}

/// Answers 503 where a handler takes too long; for routes that neither stream nor compute.
pub(super) async fn limit_time(request: Request, next: Next) -> AxumResponse {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("the request took too long", 10).into_response(),
    }
}

#[derive(Clone)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _request: &axum::http::Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok().map(RequestId::new)
    }
}

/// Lets a client's own request id through only where it is short and printable.
fn drop_odd_request_id(mut request: Request) -> Request {
    let sound = |value: &HeaderValue| (1..=MAX_REQUEST_ID_BYTES).contains(&value.len()) && value.to_str().is_ok();
    if !request.headers().get(REQUEST_ID).is_none_or(sound) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

/// The query string is left out: it may hold what does not belong into a log.
fn request_span(request: &Request) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), request_id = id)
}

fn log_access<B>(response: &Response<B>, latency: Duration, _span: &Span) {
    let (status, latency_ms) = (response.status().as_u16(), latency.as_millis() as u64);
    match response.extensions().get::<ErrorSource>() {
        Some(ErrorSource(source)) => tracing::error!(status, latency_ms, error = %source, "answered"),
        None => tracing::info!(status, latency_ms, "answered"),
    }
}

fn panic_response(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

/// Lets a request pass where there is no key or it brings the right one.
async fn require_key(State(state): State<AppState>, request: Request, next: Next) -> AxumResponse {
    let Some(key) = &state.api_key else {
        return next.run(request).await;
    };
    if request.uri().path() == OPEN_PATH || is_same(given_key(request.headers()), key.expose()) {
        return next.run(request).await;
    }
    let message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`";
    let challenge = HeaderValue::from_static("Bearer realm=\"matryo\"");
    ApiError::new(ErrorCode::Unauthorized, message).with_header(header::WWW_AUTHENTICATE, challenge).into_response()
}

fn given_key(headers: &HeaderMap) -> &[u8] {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes)).unwrap_or_default()
}

/// Compares digests in constant time: neither a common beginning nor the key's length shows in the time it takes.
fn is_same(given: &[u8], key: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(key.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_key_is_read_from_either_header() {
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "Bearer abc")), b"abc");
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "bearer  abc ")), b"abc");
        assert_eq!(given_key(&headers(API_KEY, "abc")), b"abc");
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "Basic abc")), b"");
        assert_eq!(given_key(&HeaderMap::new()), b"");
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_whose_text_the_client_does_not_read() {
        async fn panics() {
            panic!("the secret state");
        }
        let router =
            Router::new().route("/", axum::routing::get(panics)).layer(CatchPanicLayer::custom(panic_response));
        let response = router.oneshot(Request::new(Body::empty())).await.expect("the router answers");
        assert_eq!(response.status(), axum::http::StatusCode::INTERNAL_SERVER_ERROR);
        let source = response.extensions().get::<ErrorSource>().expect("the log is told").0.to_string();
        assert!(source.contains("the secret state"), "{source}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("the body is there");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("the body is JSON");
        assert_eq!(body["error"]["code"], "internal");
        assert!(!body.to_string().contains("secret"), "{body}");
    }

    #[test]
    fn only_the_key_itself_is_the_key() {
        assert!(is_same(b"abc", "abc"));
        for other in [&b""[..], b"ab", b"abcd", b"ABC"] {
            assert!(!is_same(other, "abc"));
        }
    }
}
