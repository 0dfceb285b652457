//! Base models as the page lists them.

use maud::{Markup, html};

use super::{ModelsPage, button, memory, memory_fact};
use crate::domain::{Job, Model, ModelReference, ModelSource, ModelStatus, ModelSummary, Pooling};
use crate::http::dashboard::datasets::count_of;
use crate::http::dashboard::format;
use crate::http::model_path::encode;
use crate::store::Page;

impl ModelsPage<'_> {
    pub(super) fn base_models(&self) -> Markup {
        html! {
            section aria-labelledby="base" {
                div class="head" {
                    h2 id="base" { "Base models" }
                    a class="button end" href="#get" { "Get a model" }
                }
                @if self.base.is_empty() {
                    p class="card muted" { "There is none yet. A job starts from one: get it below." }
                }
                div class="grid wide" { @for (model, jobs) in &self.base { (self.base_model(model, jobs)) } }
            }
        }
    }

    fn base_model(&self, model: &Model, jobs: &Page<Job>) -> Markup {
        let reference = ModelReference::Base(model.name.clone());
        let word = status_word(model.status);
        html! {
            article class="card" {
                div class="head" { h3 { (model.name) } span class={ "badge " (word) } { (word) } }
                @match model.status {
                    ModelStatus::Pulling => { (self.pull(model)) },
                    ModelStatus::Failed => { p class="bad-text" { (model.error.as_deref().unwrap_or_default()) } },
                    ModelStatus::Ready => {},
                }
                dl class="facts" {
                    @if let Some(summary) = &model.summary { (facts(summary)) (memory_fact(self.state, &reference)) }
                    @if model.status != ModelStatus::Pulling { div { dt { "Size" } dd { (format::bytes(model.size_bytes)) } } }
                    div { dt { "Used by" } dd { (count_of(jobs)) } }
                    div { dt { "From" } dd { (source(&model.source)) } }
                    div { dt { "Since" } dd { (format::time(&model.created_at)) } }
                }
                div class="actions" {
                    @match model.status {
                        ModelStatus::Ready => {
                            a class="button" href={ "/ui/jobs/new?model=" (encode(&model.name)) } { "Fine-tune it" }
                            (memory(self.state, &model.name, &reference))
                        },
                        ModelStatus::Failed => { (button("/ui/models/retry", &model.name, "Try again")) },
                        ModelStatus::Pulling => {},
                    }
                    @if model.status != ModelStatus::Pulling {
                        a class="button danger" href={ "/ui/models/delete?name=" (encode(&model.name)) } { "Delete…" }
                    }
                }
            }
        }
    }

    /// How far a pull has come; a script follows it.
    fn pull(&self, model: &Model) -> Markup {
        let done = self.state.pulls.done_bytes(model.id).unwrap_or(model.size_bytes);
        html! {
            div class="pull" data-events={ "/v1/models/" (encode(&model.name)) "/events" } {
                progress aria-label={ "Pull of " (model.name) } {}
                p class="hint" role="status" { (format::bytes(done)) " have come." }
            }
            noscript { p class="hint" { "Load the page again to see how far it is." } }
        }
    }
}

fn status_word(status: ModelStatus) -> &'static str {
    match status {
        ModelStatus::Pulling => "pulling",
        ModelStatus::Ready => "ready",
        ModelStatus::Failed => "failed",
    }
}

/// What a model is.
fn facts(summary: &ModelSummary) -> Markup {
    let pooling = match summary.pooling {
        Pooling::Cls => "first token",
        Pooling::Mean => "mean",
        Pooling::Max => "maximum",
    };
    html! {
        div { dt { "Dimensions" } dd { (summary.dimension) } }
        div { dt { "Tokens per text" } dd { "at most " (summary.max_seq_length) } }
        div { dt { "Pooling" } dd { (pooling) @if summary.normalize { ", normalised" } } }
        div { dt { "Parameters" } dd { (format::count(summary.parameters)) } }
        div { dt { "Layers" } dd { (summary.num_hidden_layers) " (" (summary.architecture) ")" } }
    }
}

fn source(source: &ModelSource) -> Markup {
    match source {
        ModelSource::Hub { repo, revision } => html! { "the Hub: " code { (repo) "@" (revision) } },
        ModelSource::Folder { path } => html! { "the folder " code { (path) } },
        ModelSource::Upload { file_name, .. } => {
            html! { "the archive " code { (file_name.as_deref().unwrap_or("uploaded")) } }
        }
    }
}
