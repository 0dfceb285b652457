//! Fine-tuned models, the best checkpoint of each job, as the page lists them.

use maud::{Markup, html};

use super::{ModelsPage, memory};
use crate::domain::ModelReference;
use crate::http::dashboard::format;
use crate::http::dashboard::parts::scroll_box;
use crate::store::ServableCheckpoint;

impl ModelsPage<'_> {
    pub(super) fn fine_tuned_models(&self) -> Markup {
        let table = html! {
            table class="made" {
                thead {
                    tr {
                        th scope="col" { "Job" }
                        th scope="col" { "From" }
                        th scope="col" class="num" { "Best epoch" }
                        th scope="col" class="num" { "Score" }
                        th scope="col" { "Dimensions" }
                        th scope="col" class="num" { "Size" }
                        th scope="col" { "Ask for it as" }
                        th scope="col" { "Memory" }
                    }
                }
                tbody { @for model in &self.fine_tuned { (self.fine_tuned_model(model)) } }
            }
        };
        html! {
            section class="card" aria-labelledby="fine-tuned" {
                h2 id="fine-tuned" { "Fine-tuned models" }
                @if self.fine_tuned.is_empty() {
                    p class="muted" { "There is none yet. " a href="/ui/jobs/new" { "Start a job" } " to make one." }
                } @else {
                    (scroll_box("Fine-tuned models", &table))
                    p class="hint" { "A fine-tuned model belongs to its job and is deleted with it." }
                }
            }
        }
    }

    fn fine_tuned_model(&self, model: &ServableCheckpoint) -> Markup {
        let ServableCheckpoint { checkpoint, job_name, base_model, training, .. } = model;
        let id = checkpoint.job_id;
        let name = ModelReference::JobBest(id).to_string();
        let dims: Vec<String> = training.dims().iter().map(ToString::to_string).collect();
        html! {
            tr {
                th scope="row" { a href={ "/ui/jobs/" (id) } { (job_name.clone().unwrap_or_else(|| id.to_string())) } }
                td { (base_model) }
                td class="num" { (checkpoint.epoch) }
                td class="num" {
                    (format::score(checkpoint.metric))
                    span class="sub" { (training.metric_for_best_model.as_deref().unwrap_or_default()) }
                }
                td { (dims.join(", ")) }
                td class="num" { (format::bytes(checkpoint.size_bytes)) }
                td { code { (name) } }
                td { (memory(self.state, &name, &ModelReference::JobEpoch(id, checkpoint.epoch))) }
            }
        }
    }
}
