//! The form of a new job as it is shown.

use maud::{Markup, html};

use super::Choices;
use super::arguments::{ARGUMENTS, Argument, Group, Kind};
use crate::domain::{Dataset, FieldError, Job, Model};
use crate::http::ApiError;
use crate::http::dashboard::datasets::upload::{Next, UploadView};
use crate::http::dashboard::form::{FormView, Input, Values};
use crate::http::dashboard::format;
use crate::http::dashboard::layout::script;
use crate::http::dashboard::parts::{Tone, metric_name, notice, sentence};

/// The page of a new job.
#[derive(Debug)]
pub(super) struct NewJobPage<'a> {
    pub(super) choices: &'a Choices,
    pub(super) values: &'a Values,
    pub(super) errors: &'a [FieldError],
    /// Why a job that is right was not taken.
    pub(super) refusal: Option<&'a ApiError>,
    /// The job that the form stands for, where it is right.
    pub(super) job: Option<&'a Job>,
    pub(super) upload: UploadView,
}

impl NewJobPage<'_> {
    pub(super) fn render(&self) -> Markup {
        let form = FormView { values: self.values, errors: self.errors, prefix: "" };
        html! {
            h1 { "New job" }
            p class="lead" {
                "Fine-tune a model on pairs of questions and the passages that answer them. What you leave as it is follows \
                 the recipe."
            }
            @if let Some(error) = self.refusal { (notice(Tone::Bad, &html! { p { (sentence(error.message())) } })) }
            details class="card" open[self.choices.datasets.is_empty() || self.upload.is_wrong()] {
                summary { "Upload a file of pairs" }
                (self.upload.render(Next::NewJob))
            }
            form id="job" method="post" action="/ui/jobs/new" {
                div id="job-errors" {
                    (form.summary(|field| FIELDS.contains(&field) || ARGUMENTS.iter().any(|a| a.field() == field)))
                }
                section class="card" {
                    h2 { "Data and model" }
                    div class="fields" {
                        (self.datasets(&form))
                        (self.eval_datasets(&form))
                        (self.models(&form))
                        (form.input(&Input {
                            name: "name", label: "Name", help: "What you will find the job by.",
                            placeholder: Some("left out"), ..Input::default()
                        }))
                    }
                }
                section class="card" {
                    h2 { "Hyperparameters" }
                    div class="fields" { (self.arguments(&form, Group::Main)) }
                    @let is_open = Group::MORE.iter().any(|(group, _)| self.is_wrong(&form, *group));
                    details open[is_open] {
                        summary { "More" }
                        @for (group, title) in Group::MORE {
                            fieldset {
                                legend { (title) }
                                div class="fields" { (self.arguments(&form, group)) }
                            }
                        }
                    }
                }
                @let is_open = ["webhook_url", "webhook_secret"].iter().any(|field| form.is_wrong(field));
                details class="card" open[is_open || !self.values.get("webhook_url").is_empty()] {
                    summary { "Tell another service when it ends" }
                    div class="fields" { (Self::webhook(&form)) }
                }
                section class="card" {
                    h2 { "What will happen" }
                    div id="plan" aria-live="polite" { (self.plan()) }
                    div class="actions" {
                        button class="primary" type="submit" { "Start the job" }
                        button type="submit" name="action" value="check" { "Check only" }
                    }
                }
            }
            (script("upload.js"))
            (script("new-job.js"))
        }
    }

    fn datasets(&self, form: &FormView<'_>) -> Markup {
        let help = "The pairs to train on; its evaluation rows tell how good the model gets.";
        let chosen = self.values.get("dataset_id");
        let control = html! {
            select id="dataset_id" name="dataset_id" aria-describedby=[form.described_by("dataset_id", help)]
                aria-invalid=[form.invalid("dataset_id")] {
                @if self.choices.datasets.is_empty() { option value="" { "There is none yet: upload a file first" } }
                (self.gone(chosen))
                @for dataset in &self.choices.datasets { (dataset_option(dataset, chosen)) }
            }
        };
        form.field("dataset_id", &"Dataset", help, &control)
    }

    /// A dataset that is chosen and not there, so that the form does not choose another in silence.
    fn gone(&self, chosen: &str) -> Markup {
        let is_gone =
            !chosen.is_empty() && self.choices.datasets.iter().all(|dataset| dataset.id.to_string() != chosen);
        html! { @if is_gone { option value=(chosen) selected { (chosen) " (not here any more)" } } }
    }

    fn eval_datasets(&self, form: &FormView<'_>) -> Markup {
        let help = "Another dataset, all of whose rows evaluate in place of the first one's.";
        let chosen = self.values.get("eval_dataset_id");
        let control = html! {
            select id="eval_dataset_id" name="eval_dataset_id" aria-invalid=[form.invalid("eval_dataset_id")]
                aria-describedby=[form.described_by("eval_dataset_id", help)] {
                option value="" selected[chosen.is_empty()] { "the dataset's own evaluation rows" }
                (self.gone(chosen))
                @for dataset in &self.choices.datasets { (dataset_option(dataset, chosen)) }
            }
        };
        form.field("eval_dataset_id", &"Evaluate on", help, &control)
    }

    fn models(&self, form: &FormView<'_>) -> Markup {
        let help = "The model to start from.";
        let chosen = self.values.get("base_model");
        let is_listed = self.choices.models.iter().any(|model| model.name == chosen);
        let control = html! {
            select id="base_model" name="base_model" aria-describedby=[form.described_by("base_model", help)]
                aria-invalid=[form.invalid("base_model")] {
                @if !is_listed { option value=(chosen) selected { (chosen) " (not here yet)" } }
                @for model in &self.choices.models { (model_option(model, chosen)) }
            }
        };
        html! {
            div {
                (form.field("base_model", &"Base model", help, &control))
                p class="hint after-field" {
                    a href="/ui/models#get" { "Get another model" }
                }
            }
        }
    }

    fn webhook(form: &FormView<'_>) -> Markup {
        html! {
            (form.input(&Input {
                name: "webhook_url", label: "Webhook", code: "webhook_url",
                help: "An address of http or https that gets a POST with how the job ended.",
                placeholder: Some("nobody is told"), inputmode: Some("url"), ..Input::default()
            }))
            (form.input(&Input {
                name: "webhook_secret", label: "Signing key", code: "webhook_secret",
                help: "Signs what is sent: whsec_ and 24 to 64 bytes in base64. It is never shown again, so a form that \
                       comes back wants it anew.",
                placeholder: Some("unsigned"), secret: true, ..Input::default()
            }))
        }
    }

    fn is_wrong(&self, form: &FormView<'_>, group: Group) -> bool {
        ARGUMENTS.iter().any(|argument| argument.group == group && form.is_wrong(&argument.field()))
    }

    fn arguments(&self, form: &FormView<'_>, group: Group) -> Markup {
        html! {
            @for argument in ARGUMENTS.iter().filter(|argument| argument.group == group) {
                (self.argument(form, argument))
            }
        }
    }

    fn argument(&self, form: &FormView<'_>, argument: &Argument) -> Markup {
        let field = argument.field();
        let value = self.values.get(&field);
        let label = html! {
            (argument.label)
            @if !argument.theirs.is_empty() { " " code { (argument.theirs) } }
        };
        let described_by = form.described_by(&field, argument.help);
        let invalid = form.invalid(&field);
        match argument.kind {
            Kind::Flag => html! {
                div class="field" {
                    label class="inline" {
                        input id=(field) name=(field) type="checkbox" checked[!value.is_empty()]
                            aria-describedby=[described_by] aria-invalid=[invalid];
                        (label)
                    }
                    p class="hint" id={ (field) "-help" } { (argument.help) }
                    (form.field_errors(&field))
                }
            },
            Kind::Choice(choices) => {
                let control = html! {
                    select id=(field) name=(field) aria-describedby=[described_by] aria-invalid=[invalid] {
                        @for (choice, name) in choices { option value=(choice) selected[*choice == value] { (name) } }
                    }
                };
                form.field(&field, &label, argument.help, &control)
            }
            Kind::Integer | Kind::Decimal | Kind::List | Kind::Text => {
                let inputmode = match argument.kind {
                    Kind::Integer => Some("numeric"),
                    _ => None,
                };
                let control = html! {
                    input id=(field) name=(field) type="text" value=(value) inputmode=[inputmode]
                        placeholder=[self.blank(argument)] autocomplete="off" spellcheck="false"
                        aria-describedby=[described_by] aria-invalid=[invalid];
                };
                form.field(&field, &label, argument.help, &control)
            }
        }
    }

    /// What holds where a field is left blank: of the model that is chosen, where it depends on that.
    fn blank(&self, argument: &Argument) -> Option<String> {
        let chosen = self.values.get("base_model");
        let summary = self.choices.models.iter().find(|model| model.name == chosen).and_then(|m| m.summary.as_ref());
        match (argument.name, summary) {
            ("matryoshka_dims", Some(summary)) => Some(default_dims(summary.dimension)),
            ("max_seq_length", Some(summary)) => Some(format!("{}, the model's limit", summary.max_seq_length)),
            _ => argument.blank.map(ToOwned::to_owned),
        }
    }

    /// What the job will do, as far as the form tells.
    fn plan(&self) -> Markup {
        let Some(job) = self.job else {
            return html! {
                @if self.errors.is_empty() {
                    p class="muted" { "Choose a dataset and a model, and this says how long the run will be." }
                } @else {
                    p class="muted" { "Mend what is marked above, and this says how long the run will be." }
                }
            };
        };
        let find = |id| self.choices.datasets.iter().find(|dataset| dataset.id == id);
        let rows = find(job.dataset_id).map_or(0, |dataset| dataset.train_rows);
        let eval_rows = match job.eval_dataset_id {
            None => find(job.dataset_id).map_or(0, |dataset| dataset.eval_rows),
            Some(id) => find(id).map_or(0, |dataset| dataset.train_rows + dataset.eval_rows),
        };
        let training = &job.training;
        let (per_epoch, steps) = training.least_steps(rows);
        let pairs = training.per_device_train_batch_size.saturating_mul(training.gradient_accumulation_steps);
        let dims: Vec<String> = training.dims().iter().map(ToString::to_string).collect();
        html! {
            dl class="facts" {
                div { dt { "Rows" } dd { (format::count(rows)) " to train on, " (format::count(eval_rows)) " to evaluate on" } }
                div { dt { "Pairs per step" } dd { (format::count(pairs as u64)) } }
                div { dt { "Steps per epoch" } dd { "about " (format::count(per_epoch)) } }
                div { dt { "Steps in all" } dd { "about " (format::count(steps)) } }
                div { dt { "Evaluations" } dd { (u64::from(training.epochs) + 1) ", the first before training" } }
                div { dt { "Dimensions" } dd { (dims.join(", ")) } }
                div { dt { "Best by" } dd { (metric_name(training.metric_for_best_model.as_deref().unwrap_or_default())) } }
            }
        }
    }
}

/// The fields that are no hyperparameters.
pub(super) const FIELDS: [&str; 6] =
    ["name", "dataset_id", "eval_dataset_id", "base_model", "webhook_url", "webhook_secret"];

fn dataset_option(dataset: &Dataset, chosen: &str) -> Markup {
    let id = dataset.id.to_string();
    html! {
        option value=(id) selected[id == chosen] {
            (dataset.name) " – " (format::count(dataset.train_rows)) " + " (format::counted(dataset.eval_rows, "row", "rows"))
        }
    }
}

fn model_option(model: &Model, chosen: &str) -> Markup {
    let summary = model.summary.as_ref();
    html! {
        option value=(model.name) selected[model.name == chosen]
            data-dims=[summary.map(|summary| default_dims(summary.dimension))]
            data-tokens=[summary.map(|summary| summary.max_seq_length)] {
            (model.name)
            @if let Some(summary) = summary {
                " – " (summary.dimension) " dimensions, " (summary.max_seq_length) " tokens"
            }
        }
    }
}

/// The dimensions that a model is trained for where none are given.
fn default_dims(dimension: usize) -> String {
    let dims = crate::domain::TrainingArguments::default_dims(dimension);
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
