//! What can be done to a model at once.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::show;
use crate::domain::ModelReference;
use crate::http::extract::Form;
use crate::http::routes::models::pull_again;
use crate::http::{ApiError, AppState};
use crate::store::StoreError;

/// The model that a button stands beside.
#[derive(Debug, Deserialize)]
pub(in crate::http::dashboard) struct Named {
    pub(super) name: String,
}

/// The page again, with what went wrong where something did; a fault of the server's has a page of its own.
pub(super) async fn back<T>(state: &AppState, done: Result<T, ApiError>) -> Result<Response, ApiError> {
    match done {
        Ok(_) => Ok(Redirect::to("/ui/models").into_response()),
        Err(error) if error.code().status().is_server_error() => Err(error),
        Err(error) => show(state, Some(error), None).await,
    }
}

/// Pulls a model again whose pull failed.
pub(in crate::http::dashboard) async fn post_retry(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    back(&state, pull_again(&state, &name).await).await
}

/// Loads a model into memory.
pub(in crate::http::dashboard) async fn post_load(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    let loaded = match reference(&name) {
        Ok(reference) => state.embedding.load(&reference).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    back(&state, loaded).await
}

/// Drops a model from memory.
pub(in crate::http::dashboard) async fn post_unload(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    let dropped = match reference(&name) {
        Ok(reference) => state.embedding.unload(&reference).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    back(&state, dropped).await
}

fn reference(name: &str) -> Result<ModelReference, ApiError> {
    name.parse().map_err(|_| StoreError::not_found("model", name).into())
}
