//! The server's metrics, for Prometheus.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::http::accept::negotiate;
use crate::http::openapi::NotAcceptable;
use crate::http::{ApiError, AppState};
use crate::telemetry::Exposition;

const TEXT: &str = "text/plain";
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Reads the server's metrics in Prometheus' text format, or by `Accept` as OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, content((String = "text/plain"), (String = "application/openmetrics-text"))),
    (status = 406, response = NotAcceptable)))]
pub(super) async fn get_server_metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (exposition, content_type) = match negotiate(&headers, &[TEXT, OPEN_METRICS])? {
        OPEN_METRICS => (Exposition::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        _ => (Exposition::Text, "text/plain; version=0.0.4; charset=utf-8"),
    };
    state.embedding.measure();
    let jobs = state.store.job_figures().await?;
    let page = state.telemetry.metrics.expose(exposition, &jobs);
    Ok(([(header::CONTENT_TYPE, content_type), (header::VARY, "accept")], page).into_response())
}
