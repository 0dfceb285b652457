//! The end of a base model or an alias: first what uses it, then the deletion.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::actions::Named;
use super::users;
use crate::domain::ModelSource;
use crate::http::dashboard::datasets::job_list;
use crate::http::dashboard::format;
use crate::http::dashboard::layout::{Section, page_with_status};
use crate::http::dashboard::parts::{Tone, notice, sentence};
use crate::http::extract::{Form, Query};
use crate::http::routes::models::remove;
use crate::http::{ApiError, AppState, ErrorCode};

/// Asks whether a base model is to go, and says what uses it.
pub(in crate::http::dashboard) async fn get_delete(
    State(state): State<AppState>,
    Query(Named { name }): Query<Named>,
) -> Result<Response, ApiError> {
    confirm(&state, &name, None).await
}

/// Deletes a base model.
pub(in crate::http::dashboard) async fn post_delete(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    match remove(&state, &name).await {
        Ok(()) => Ok(Redirect::to("/ui/models").into_response()),
        Err(error) if error.code() == ErrorCode::Conflict => confirm(&state, &name, Some(error)).await,
        Err(error) => Err(error),
    }
}

async fn confirm(state: &AppState, name: &str, refusal: Option<ApiError>) -> Result<Response, ApiError> {
    let model = match state.store.get_model_by_name(name).await {
        Ok(model) => model,
        // What is no base model is not deleted here, and the refusal says where it is.
        Err(error) => return Err(refusal.unwrap_or_else(|| error.into())),
    };
    let jobs = users(state, name).await?;
    let aliases = state.store.list_aliases().await?.into_iter().filter(|alias| alias.model == name);
    let aliases: Vec<String> = aliases.map(|alias| alias.name).collect();
    let what = html! {
        p {
            @match &model.source {
                ModelSource::Hub { .. } => { (format::bytes(model.size_bytes)) " will be gone; it can be got from the Hub again." },
                ModelSource::Upload { .. } => { (format::bytes(model.size_bytes)) " will be gone for good." },
                ModelSource::Folder { path } => { "Only its registration goes: the folder " code { (path) } " stays." },
            }
        }
        @if !aliases.is_empty() {
            p { "These aliases mean it, and must be moved or deleted first: " @for (at, alias) in aliases.iter().enumerate() { @if at > 0 { ", " } strong { (alias) } } "." }
        }
        @if jobs.items.is_empty() {
            p { "No job starts from it." }
        } @else {
            p { "These jobs start from it. Models that they made stay; one that has not ended must be cancelled first." }
            (job_list(&jobs))
        }
    };
    Ok(question(state, "/ui/models/delete", name, &what, refusal.as_ref()))
}

/// Asks whether an alias is to go.
pub(in crate::http::dashboard) async fn get_delete_alias(
    State(state): State<AppState>,
    Query(Named { name }): Query<Named>,
) -> Result<Response, ApiError> {
    let alias = state.store.get_alias(&name).await?;
    let what = html! {
        p { "It means " code { (alias.model) } ", which stays. Programs that ask for " strong { (name) } " will be told that there is no such model." }
    };
    Ok(question(&state, "/ui/aliases/delete", &name, &what, None))
}

/// Deletes an alias.
pub(in crate::http::dashboard) async fn post_delete_alias(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    state.store.delete_alias(&name).await?;
    Ok(Redirect::to("/ui/models#aliases").into_response())
}

fn question(state: &AppState, action: &str, name: &str, what: &Markup, refusal: Option<&ApiError>) -> Response {
    let body = html! {
        h1 { "Delete " (name) "?" }
        @if let Some(error) = refusal { (notice(Tone::Bad, &html! { p { (sentence(error.message())) } })) }
        section class="card" {
            (what)
            form class="actions" method="post" action=(action) {
                input type="hidden" name="name" value=(name);
                button class="danger" type="submit" { "Delete it" }
                a class="button" href="/ui/models" { "Keep it" }
            }
        }
    };
    let status = refusal.map_or(StatusCode::OK, |error| error.code().status());
    page_with_status(status, state, "Delete", Section::Models, &body)
}
