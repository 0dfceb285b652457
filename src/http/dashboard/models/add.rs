//! The forms that get a base model.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::{ModelsPage, Refused, Which, show};
use crate::domain::Model;
use crate::http::dashboard::form::{FormView, Input};
use crate::http::dashboard::parts::sentence;
use crate::http::extract::Form;
use crate::http::model_request::ModelRequest;
use crate::http::routes::models::{add, add_archive};
use crate::http::routes::new_job::DEFAULT_BASE_MODEL;
use crate::http::upload::FormTexts;
use crate::http::{ApiError, AppState};

/// Begins the pull of a model of the Hub.
pub(in crate::http::dashboard) async fn post_hub(
    State(state): State<AppState>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    post(&state, Which::Hub, fields).await
}

/// Registers a folder.
pub(in crate::http::dashboard) async fn post_folder(
    State(state): State<AppState>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    post(&state, Which::Folder, fields).await
}

/// Takes a model's archive.
pub(in crate::http::dashboard) async fn post_archive(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut texts = FormTexts::new();
    let added = add_archive(&state, request, &mut texts).await;
    after(&state, Which::Archive, texts, added).await
}

async fn post(state: &AppState, which: Which, fields: Vec<(String, String)>) -> Result<Response, ApiError> {
    let mut given = which.fields(&fields);
    let mut take = |field: &str| given.remove(field);
    let request = match which {
        Which::Folder => ModelRequest::folder(take("path"), take("name")),
        Which::Hub | Which::Archive | Which::Alias => ModelRequest::hub(take("repo"), take("revision"), take("name")),
    };
    after(state, which, fields, add(state, request).await).await
}

/// The page again: with the new model, or with the form and what is wrong with it.
async fn after(
    state: &AppState,
    which: Which,
    fields: Vec<(String, String)>,
    added: Result<Model, ApiError>,
) -> Result<Response, ApiError> {
    match added {
        Ok(_) => Ok(Redirect::to("/ui/models").into_response()),
        Err(error) if error.code().status().is_server_error() => Err(error),
        Err(error) => show(state, None, Some(Refused::new(which, fields, error))).await,
    }
}

impl ModelsPage<'_> {
    pub(super) fn add_forms(&self) -> Markup {
        html! {
            section id="get" {
                h2 { "Get a model" }
                div class="grid" { (self.hub_form()) (self.folder_form()) (self.archive_form()) }
            }
        }
    }

    fn hub_form(&self) -> Markup {
        let (mut values, errors, error) = self.refused(Which::Hub);
        if error.is_none() && self.base.iter().all(|(model, _)| model.name != DEFAULT_BASE_MODEL) {
            values.set("hub.repo", DEFAULT_BASE_MODEL);
        }
        let form = FormView { values: &values, errors: &errors, prefix: "" };
        html! {
            form class="card" method="post" action="/ui/models/hub" {
                h3 { "From the Hugging Face Hub" }
                (refusal(error))
                (form.input(&Input {
                    name: "hub.repo", label: "Repository", help: "organisation/name; the recipe's is BAAI/bge-base-en-v1.5.",
                    ..Input::default()
                }))
                (form.input(&Input {
                    name: "hub.revision", label: "Revision", help: "A branch, tag or commit.", placeholder: Some("main"),
                    ..Input::default()
                }))
                (form.input(&Input {
                    name: "hub.name", label: "Name", help: "What to ask for it as.", placeholder: Some("the repository's"),
                    ..Input::default()
                }))
                button class="primary" type="submit" { "Get it" }
            }
        }
    }

    fn folder_form(&self) -> Markup {
        let (values, errors, error) = self.refused(Which::Folder);
        let form = FormView { values: &values, errors: &errors, prefix: "" };
        let roots: Vec<String> = self.state.model_roots.iter().map(|root| root.display().to_string()).collect();
        html! {
            form class="card" method="post" action="/ui/models/folder" {
                h3 { "From a folder of the server" }
                @if roots.is_empty() {
                    p class="muted" {
                        "Whoever starts the server allows folders with " code { "--model-root" } "; none is allowed now."
                    }
                } @else {
                    (refusal(error))
                    (form.input(&Input {
                        name: "folder.path", label: "Folder", help: "A sentence-transformers folder; it stays where it is.",
                        placeholder: Some(&format!("{}/…", roots[0])), ..Input::default()
                    }))
                    p class="hint after-field" { "Below " @for (at, root) in roots.iter().enumerate() { @if at > 0 { " or " } code { (root) } } "." }
                    (form.input(&Input {
                        name: "folder.name", label: "Name", help: "What to ask for it as.", placeholder: Some("the folder's"),
                        ..Input::default()
                    }))
                    button class="primary" type="submit" { "Register it" }
                }
            }
        }
    }

    fn archive_form(&self) -> Markup {
        let (values, errors, error) = self.refused(Which::Archive);
        let form = FormView { values: &values, errors: &errors, prefix: "" };
        let help = "A sentence-transformers folder as .tar.gz, .tar.zst, .tar or .zip.";
        let control = html! {
            input id="file" name="file" type="file" accept=".gz,.tgz,.zst,.tar,.zip" required
                aria-describedby=[form.described_by("file", help)] aria-invalid=[form.invalid("file")];
        };
        html! {
            form id="archive" class="card" method="post" action="/ui/models/archive" enctype="multipart/form-data" {
                h3 { "From an archive of yours" }
                (refusal(error))
                (form.field("file", &"Archive", help, &control))
                (form.input(&Input {
                    name: "name", label: "Name", help: "What to ask for it as.", placeholder: Some("the archive's"),
                    ..Input::default()
                }))
                button class="primary" type="submit" { "Upload it" }
            }
        }
    }
}

/// What is wrong that concerns no field.
fn refusal(error: Option<&ApiError>) -> Markup {
    html! {
        @if let Some(error) = error.filter(|error| error.field_errors().is_empty()) {
            p class="field-error" role="alert" { (sentence(error.message())) }
        }
    }
}
