//! The OpenAPI document.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;

use crate::http::openapi;

static JSON: LazyLock<String> =
    LazyLock::new(|| openapi::document().to_pretty_json().expect("the document has string keys and no NaN"));

/// The OpenAPI document of this service.
#[utoipa::path(get, path = "/openapi.json", tag = "operations",
    responses((status = 200, description = "The document", body = serde_json::Value)))]
pub(super) async fn get_openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], JSON.as_str())
}
