//! What every request passes on its way to the router: a request id, the observer (log, metrics, traces), a net for
//! panics, the API key, a look at where a browser's request comes from.

mod key;
mod observe;
mod origin;

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response as AxumResponse};
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, RequestId};

use super::error::speak_dialect;
use super::{ApiError, AppState};
use key::API_KEY;

pub(super) use key::is_same;

/// The header that carries a request's id both ways.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids than this are a client's mistake or mischief, and would fill the log.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// How long a handler may take that only asks the database.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Puts the layers round a router, the first one outermost.
pub(super) fn wrap(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    let layers = ServiceBuilder::new()
        .sensitive_request_headers([header::AUTHORIZATION, API_KEY].into())
        .map_request(drop_odd_request_id)
        .set_request_id(REQUEST_ID, NewRequestId)
        .layer(middleware::from_fn_with_state(state.clone(), observe::observe))
        .propagate_request_id(REQUEST_ID)
        .layer(middleware::from_fn_with_state(state.clone(), speak_dialect))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(middleware::from_fn_with_state(state.clone(), key::require_key))
        .layer(middleware::from_fn_with_state(state.clone(), origin::require_same_origin));
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

fn panic_response(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::http::error::ErrorSource;

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
}
