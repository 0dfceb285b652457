//! A dataset's end: first what uses it, then, where nothing needs it any more, the deletion.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::{job_list, users};
use crate::domain::DatasetId;
use crate::http::dashboard::format;
use crate::http::dashboard::layout::{Section, page_with_status};
use crate::http::dashboard::parts::{Tone, notice, sentence};
use crate::http::extract::Path;
use crate::http::routes::datasets::remove;
use crate::http::{ApiError, AppState, ErrorCode};

/// Asks whether a dataset is to go, and says what uses it.
pub(in crate::http::dashboard) async fn get_delete(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
) -> Result<Response, ApiError> {
    confirm(&state, id, None).await
}

/// Deletes a dataset.
pub(in crate::http::dashboard) async fn post_delete(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
) -> Result<Response, ApiError> {
    match remove(&state, id).await {
        Ok(()) => Ok(Redirect::to("/ui/datasets").into_response()),
        Err(error) if error.code() == ErrorCode::Conflict => confirm(&state, id, Some(&error)).await,
        Err(error) => Err(error),
    }
}

async fn confirm(state: &AppState, id: DatasetId, refusal: Option<&ApiError>) -> Result<Response, ApiError> {
    let dataset = state.store.get_dataset(id).await?;
    let jobs = users(state, id).await?;
    let body = html! {
        h1 { "Delete " (dataset.name) "?" }
        @if let Some(error) = refusal { (notice(Tone::Bad, &html! { p { (sentence(error.message())) } })) }
        section class="card" {
            p {
                (format::counted(dataset.train_rows + dataset.eval_rows, "row", "rows")) " and "
                (format::bytes(dataset.size_bytes)) " will be gone for good."
            }
            @if jobs.items.is_empty() {
                p { "No job uses it." }
            } @else {
                p {
                    "These jobs use it. Those that have ended keep their results and models, but cannot be resumed or cloned \
                     without it; one that has not ended must be cancelled first."
                }
                (job_list(&jobs))
            }
            form class="actions" method="post" action={ "/ui/datasets/" (id) "/delete" } {
                button class="danger" type="submit" { "Delete it" }
                a class="button" href={ "/ui/datasets/" (id) } { "Keep it" }
            }
        }
    };
    let status = refusal.map_or(StatusCode::OK, |error| error.code().status());
    Ok(page_with_status(status, state, "Delete a dataset", Section::Datasets, &body))
}
