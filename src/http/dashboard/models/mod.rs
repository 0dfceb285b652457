//! Models: base models, fine-tuned ones and aliases in one place, what to do with each, and the forms that get another.

mod actions;
mod add;
mod aliases;
mod base;
mod delete;
mod fine_tuned;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::form::Values;
use super::layout::{Section, page_with_status, script};
use super::parts::{Tone, notice, sentence};
use crate::domain::{Alias, AliasMove, FieldError, Job, Model, ModelReference};
use crate::http::{ApiError, AppState};
use crate::store::{JobFilter, Page, ServableCheckpoint};

/// Pages that ask the database a little.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ui/models", get(get_models))
        .route("/ui/models/hub", post(add::post_hub))
        .route("/ui/models/retry", post(actions::post_retry))
        .route("/ui/models/delete", get(delete::get_delete).post(delete::post_delete))
        .route("/ui/aliases", post(aliases::post_alias))
        .route("/ui/aliases/rollback", post(aliases::post_rollback))
        .route("/ui/aliases/delete", get(delete::get_delete_alias).post(delete::post_delete_alias))
}

/// Pages that read or take a model, as long as this needs.
pub(super) fn slow_routes() -> Router<AppState> {
    Router::new()
        .route("/ui/models/folder", post(add::post_folder))
        .route("/ui/models/archive", post(add::post_archive))
        .route("/ui/models/load", post(actions::post_load))
        .route("/ui/models/unload", post(actions::post_unload))
}

/// Moves of an alias that are shown.
const SHOWN_MOVES: u32 = 20;
/// Jobs that are named where a page says who uses what.
const SHOWN_JOBS: u32 = 20;

/// Which of the page's forms came back. The name stands before its fields', so that each is named once on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Hub,
    Folder,
    Archive,
    Alias,
}

impl Which {
    fn prefix(self) -> &'static str {
        match self {
            Self::Hub => "hub.",
            Self::Folder => "folder.",
            // The API's own names, since the upload takes these alone.
            Self::Archive => "",
            Self::Alias => "alias.",
        }
    }

    /// The form's fields without what stands before them and without those that are blank.
    fn fields(self, fields: &[(String, String)]) -> BTreeMap<String, String> {
        let given = fields.iter().filter(|(_, text)| !text.trim().is_empty());
        given.filter_map(|(name, text)| Some((name.strip_prefix(self.prefix())?.into(), text.trim().into()))).collect()
    }
}

/// A form that was refused.
#[derive(Debug)]
struct Refused {
    which: Which,
    values: Values,
    error: ApiError,
}

impl Refused {
    fn new(which: Which, fields: Vec<(String, String)>, error: ApiError) -> Self {
        Self { which, values: fields.into(), error }
    }
}

/// What the page shows.
#[derive(Debug)]
struct ModelsPage<'a> {
    state: &'a AppState,
    /// Each with the jobs that start from it.
    base: Vec<(Model, Page<Job>)>,
    fine_tuned: Vec<ServableCheckpoint>,
    aliases: Vec<(Alias, Vec<AliasMove>)>,
    refused: Option<Refused>,
}

/// The page of all models.
async fn get_models(State(state): State<AppState>) -> Result<Response, ApiError> {
    show(&state, None, None).await
}

/// The page with what went wrong: with something done to a model, or with a form.
async fn show(state: &AppState, failed: Option<ApiError>, refused: Option<Refused>) -> Result<Response, ApiError> {
    let mut aliases = Vec::new();
    for alias in state.store.list_aliases().await? {
        let moves = state.store.alias_moves(&alias.name, SHOWN_MOVES).await?;
        aliases.push((alias, moves));
    }
    let mut base = Vec::new();
    for model in state.store.list_models(None, u32::MAX - 1).await?.items {
        let jobs = users(state, &model.name).await?;
        base.push((model, jobs));
    }
    let page = ModelsPage { state, base, fine_tuned: state.store.list_best_checkpoints().await?, aliases, refused };
    let error = failed.as_ref().or(page.refused.as_ref().map(|refused| &refused.error));
    let status = error.map_or(axum::http::StatusCode::OK, |error| error.code().status());
    let body = html! {
        h1 { "Models" }
        p class="lead" { "What jobs start from, what they made, and the names under which your programs ask for it." }
        @if let Some(error) = &failed { (notice(Tone::Bad, &html! { p { (sentence(error.message())) } })) }
        (page.base_models())
        (page.fine_tuned_models())
        (page.alias_list())
        (page.add_forms())
        (script("models.js"))
    };
    Ok(page_with_status(status, state, "Models", Section::Models, &body))
}

/// The newest jobs that start from a model.
async fn users(state: &AppState, name: &str) -> Result<Page<Job>, ApiError> {
    let filter = JobFilter { base_model: Some(name.to_owned()), ..JobFilter::default() };
    Ok(state.store.list_jobs(&filter, None, SHOWN_JOBS).await?)
}

impl ModelsPage<'_> {
    /// What a form holds and what is wrong with it, where it is the one that was refused.
    fn refused(&self, which: Which) -> (Values, Vec<FieldError>, Option<&ApiError>) {
        match &self.refused {
            Some(refused) if refused.which == which => {
                let errors = refused.error.field_errors().iter();
                let named =
                    |error: &FieldError| FieldError::new(format!("{}{}", which.prefix(), error.field), &error.message);
                (refused.values.clone(), errors.map(named).collect(), Some(&refused.error))
            }
            _ => (Values::default(), Vec::new(), None),
        }
    }
}

/// A button that does something to the model `name`.
fn button(action: &str, name: &str, label: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            input type="hidden" name="name" value=(name);
            button type="submit" { (label) }
        }
    }
}

/// The buttons that bring a model into memory or drop it.
fn memory(state: &AppState, name: &str, reference: &ModelReference) -> Markup {
    html! {
        @if state.embedding.is_loaded(reference) { (button("/ui/models/unload", name, "Drop from memory")) }
        @else { (button("/ui/models/load", name, "Load into memory")) }
    }
}

/// Whether a model is in memory, as a fact.
fn memory_fact(state: &AppState, reference: &ModelReference) -> Markup {
    html! { div { dt { "In memory" } dd { @if state.embedding.is_loaded(reference) { "yes" } @else { "no" } } } }
}
