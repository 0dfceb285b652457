//! What can be done with a job, as forms that work without scripts.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::format;
use super::super::job_list::job_title;
use super::super::layout::{Section, page};
use super::show;
use crate::domain::{Job, JobId, JobStatus, ModelReference};
use crate::http::extract::{Form, Path};
use crate::http::routes::{aliases, jobs};
use crate::http::{ApiError, AppState};

/// The buttons that fit how the job stands.
pub(super) fn buttons(job: &Job) -> Markup {
    let post = |action: &str, label: &str, class: &str| {
        html! {
            form method="post" action={ "/ui/jobs/" (job.id) "/" (action) } {
                button type="submit" class=(class) { (label) }
            }
        }
    };
    let stops = job.cancel_requested || job.pause_requested;
    html! {
        div class="actions" {
            @match job.status {
                JobStatus::Queued => (post("pause", "Pause", "")),
                JobStatus::Running if !stops => (post("pause", "Pause", "")),
                JobStatus::Paused | JobStatus::Failed | JobStatus::Cancelled => (post("resume", "Resume", "primary")),
                JobStatus::Running | JobStatus::Succeeded => {}
            }
            a class="button" href={ "/ui/jobs/new?from=" (job.id) } { "Clone" }
            @if !job.status.is_final() && !job.cancel_requested { (post("cancel", "Cancel", "danger")) }
            @if job.status.is_final() {
                a class="button danger" href={ "/ui/jobs/" (job.id) "/delete" } { "Delete" }
            }
        }
    }
}

/// Shows the job again after something was tried, with the reason where it could not be done.
async fn after<T>(state: &AppState, id: JobId, done: Result<T, ApiError>) -> Result<Response, ApiError> {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/ui/jobs/{id}")).into_response()),
        Err(error) if error.code().status() == StatusCode::NOT_FOUND => Err(error),
        Err(error) if error.code().status().is_server_error() => Err(error),
        Err(error) => show(state, id, error.code().status(), Some(error.message())).await,
    }
}

pub(super) async fn cancel(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let done = state.worker.cancel(id).await.map_err(ApiError::from);
    after(&state, id, done).await
}

pub(super) async fn pause(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let done = state.worker.pause(id).await.map_err(ApiError::from);
    after(&state, id, done).await
}

pub(super) async fn resume(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    state.store.get_job(id).await?;
    let done = jobs::resume(&state, id).await;
    after(&state, id, done).await
}

/// Which name is to mean which checkpoint.
#[derive(Debug, Deserialize)]
pub(super) struct AliasForm {
    alias: String,
    epoch: u32,
}

/// Has an alias mean a checkpoint of the job.
pub(super) async fn set_alias(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    Form(AliasForm { alias, epoch }): Form<AliasForm>,
) -> Result<Response, ApiError> {
    let model = ModelReference::JobEpoch(id, epoch).to_string();
    let request = aliases::AliasRequest { model, if_model: None, by: Some("dashboard".into()) };
    match aliases::set(&state, alias.trim(), request).await {
        Ok(_) => Ok(Redirect::to("/ui/models").into_response()),
        failed @ Err(_) => after(&state, id, failed).await,
    }
}

/// Asks whether the job is to go.
pub(super) async fn confirm_deletion(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(id).await?;
    let checkpoints = state.store.list_checkpoints(id).await?;
    let bytes = checkpoints.iter().map(|checkpoint| checkpoint.size_bytes).sum();
    let body = html! {
        section class="card narrow" {
            h1 { "Delete " (job_title(&job)) "?" }
            p {
                "Its metrics, its log and "
                @if checkpoints.is_empty() { "its settings" }
                @else {
                    (format::counted(checkpoints.len() as u64, "checkpoint", "checkpoints")) " (" (format::bytes(bytes)) ")"
                }
                " will be gone. This cannot be undone."
            }
            div class="actions" {
                form method="post" action={ "/ui/jobs/" (id) "/delete" } {
                    button class="danger" type="submit" { "Delete the job" }
                }
                a class="button" href={ "/ui/jobs/" (id) } { "Keep it" }
            }
        }
    };
    Ok(page(&state, "Delete a job", Section::Home, &body))
}

/// Deletes the job.
pub(super) async fn delete(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    match jobs::remove(&state, id).await {
        Ok(()) => Ok(Redirect::to("/ui/jobs").into_response()),
        failed @ Err(_) => after(&state, id, failed).await,
    }
}
