//! The HTTP surface: routes, wire types, status codes. The only module that names status codes.
//!
//! A request passes the layers of `middleware` from the outside in (request id, access log, panics, API key), then the
//! router, then the extractors of `extract`. Whatever goes wrong on the way becomes an [`ApiError`], so that every error
//! has the same JSON; `openapi` describes all of it.

mod accept;
mod dashboard;
mod download;
mod error;
mod extract;
mod measured;
mod middleware;
mod model_path;
mod model_request;
mod openai;
pub mod openapi;
mod page;
mod pulls;
mod routes;
mod session;
mod state;
mod upload;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tower::ServiceBuilder;

pub use error::{ApiError, ErrorBody, ErrorCode, ErrorDetails};
pub use pulls::ModelPulls;
pub use state::{AppState, HttpLimits, TrainingDevice};

/// The whole service.
pub fn router(state: AppState) -> Router {
    let (router, _) = routes::all().split_for_parts();
    let router = router
        .merge(dashboard::routes())
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(state.limits.max_body_bytes));
    let router = middleware::wrap(router, &state).with_state(state);
    // A router's own layers come after it has chosen the route, so this one stands before a router of its own.
    Router::new().fallback_service(ServiceBuilder::new().map_request(model_path::encode_slashes).service(router))
}
