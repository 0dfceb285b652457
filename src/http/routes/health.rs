//! Whether the server can do its work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{ApiError, AppState};

/// The server is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`; a server that is not well answers with an error.
    status: &'static str,
    /// The server's version.
    version: &'static str,
}

/// Tells whether the server and its database answer. Needs no API key.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, body = Health)))]
pub(super) async fn get_health(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    state
        .store
        .ping()
        .await
        .map_err(|error| ApiError::unavailable("the database does not answer", 10).caused_by(&error))?;
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}
