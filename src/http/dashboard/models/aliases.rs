//! Aliases: made, moved on, moved back.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::actions::{Named, back};
use super::{ModelsPage, Refused, Which, button, show};
use crate::domain::{Alias, AliasAction, AliasMove, ModelReference, ModelStatus};
use crate::http::dashboard::form::{FormView, Input};
use crate::http::dashboard::format;
use crate::http::dashboard::parts::sentence;
use crate::http::extract::Form;
use crate::http::model_path::encode;
use crate::http::routes::aliases::{AliasRequest, RollbackRequest, roll_back, set};
use crate::http::{ApiError, AppState};

/// Has an alias mean a model, and makes it where there is none.
pub(in crate::http::dashboard) async fn post_alias(
    State(state): State<AppState>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut given = Which::Alias.fields(&fields);
    let mut take = |field: &str| given.remove(field).unwrap_or_default();
    let (name, model) = (take("name"), take("model"));
    match set(&state, &name, AliasRequest { model, if_model: None, by: None }).await {
        Ok(_) => Ok(Redirect::to("/ui/models#aliases").into_response()),
        Err(error) if error.code().status().is_server_error() => Err(error),
        Err(error) => show(&state, None, Some(Refused::new(Which::Alias, fields, error))).await,
    }
}

/// Has an alias mean what it meant before.
pub(in crate::http::dashboard) async fn post_rollback(
    State(state): State<AppState>,
    Form(Named { name }): Form<Named>,
) -> Result<Response, ApiError> {
    back(&state, roll_back(&state, &name, RollbackRequest::default()).await).await
}

impl ModelsPage<'_> {
    pub(super) fn alias_list(&self) -> Markup {
        let (values, errors, error) = self.refused(Which::Alias);
        let form = FormView { values: &values, errors: &errors, prefix: "" };
        html! {
            section class="card" id="aliases" {
                h2 { "Aliases" }
                p class="hint" {
                    "A name of your own for a model: programs ask for the name, and you move it from model to model. A job's \
                     name alone means the checkpoint that is its best when you save."
                }
                @for (alias, moves) in &self.aliases { (one(alias, moves)) }
                form method="post" action="/ui/aliases" {
                    @if let Some(error) = error {
                        @if errors.is_empty() { p class="field-error" role="alert" { (sentence(error.message())) } }
                    }
                    div class="fields" {
                        (form.input(&Input {
                            name: "alias.name", label: "Alias", help: "A new name, or one of those above to move it on.",
                            placeholder: Some("production"), ..Input::default()
                        }))
                        (self.model_field(&form))
                    }
                    button type="submit" { "Save the alias" }
                }
            }
        }
    }

    fn model_field(&self, form: &FormView<'_>) -> Markup {
        let (name, help) = ("alias.model", "A base model, job:<id>, or job:<id>@epoch-<n>.");
        let control = html! {
            input id=(name) name=(name) type="text" value=(form.values.get(name)) list="model-names" autocomplete="off"
                spellcheck="false" aria-describedby=[form.described_by(name, help)] aria-invalid=[form.invalid(name)];
            datalist id="model-names" {
                @for (model, _) in self.base.iter().filter(|(model, _)| model.status == ModelStatus::Ready) { option value=(model.name) {} }
                @for model in &self.fine_tuned {
                    option value=(ModelReference::JobBest(model.checkpoint.job_id).to_string()) {
                        (model.job_name.as_deref().unwrap_or("fine-tuned")) " from " (model.base_model)
                    }
                }
            }
        };
        form.field(name, &"Means", help, &control)
    }
}

fn one(alias: &Alias, moves: &[AliasMove]) -> Markup {
    html! {
        article class="alias" {
            div class="head" {
                h3 { (alias.name) }
                span { "means " code { (alias.model) } }
                span class="muted" { "since " (format::time(&alias.moved_at)) }
                div class="actions end" {
                    (button("/ui/aliases/rollback", &alias.name, "Roll back"))
                    a class="button danger" href={ "/ui/aliases/delete?name=" (encode(&alias.name)) } { "Delete…" }
                }
            }
            details {
                summary { "History" }
                ol class="history" {
                    @for step in moves {
                        li {
                            (format::time(&step.moved_at)) ": "
                            @match step.action { AliasAction::Set => "set to ", AliasAction::Rollback => "rolled back to " }
                            code { (step.model) }
                            @if let Some(by) = &step.moved_by { " by " (by) }
                        }
                    }
                }
            }
        }
    }
}
