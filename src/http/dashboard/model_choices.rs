//! The models that a page lets people choose from.

use maud::{Markup, html};

use crate::domain::{ModelReference, ModelStatus, ModelSummary};
use crate::http::{ApiError, AppState};
use crate::store::ServableCheckpoint;

/// Models of each kind that a page offers; others are still to be named by hand in its address.
const MOST: usize = 200;

/// A model that can embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelChoice {
    /// What is written as `model`.
    pub(super) name: String,
    /// What people read.
    pub(super) label: String,
    /// Lengths to cut embeddings to, the model's own first.
    pub(super) dims: Vec<usize>,
}

/// Every model that can embed, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ModelChoices {
    pub(super) base: Vec<ModelChoice>,
    /// The newest job's first.
    pub(super) fine_tuned: Vec<ModelChoice>,
    pub(super) aliases: Vec<ModelChoice>,
}

impl ModelChoices {
    /// Asks the store.
    pub(super) async fn load(state: &AppState) -> Result<Self, ApiError> {
        let models = state.store.list_models(None, u32::MAX - 1).await?.items;
        let ready = models.into_iter().filter(|model| model.status == ModelStatus::Ready).take(MOST);
        let base: Vec<ModelChoice> = ready
            .map(|model| {
                let dims = model.summary.map(|summary| summary.dimension).into_iter().collect();
                ModelChoice { label: model.name.clone(), name: model.name, dims }
            })
            .collect();
        let best = state.store.list_best_checkpoints().await?;
        let fine_tuned: Vec<ModelChoice> = best.into_iter().take(MOST).map(fine_tuned).collect();
        let mut aliases = Vec::new();
        for alias in state.store.list_aliases().await?.into_iter().take(MOST) {
            let dims = match alias.model.parse() {
                Ok(ModelReference::JobEpoch(id, epoch)) => {
                    fine_tuned_dims(&state.store.servable_checkpoint(id, Some(epoch)).await?)
                }
                _ => base
                    .iter()
                    .find(|model| model.name == alias.model)
                    .map(|model| model.dims.clone())
                    .unwrap_or_default(),
            };
            let label = format!("{} (alias of {})", alias.name, alias.model);
            aliases.push(ModelChoice { name: alias.name, label, dims });
        }
        Ok(Self { base, fine_tuned, aliases })
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ModelChoice> {
        self.fine_tuned.iter().chain(&self.base).chain(&self.aliases)
    }

    pub(super) fn find(&self, name: &str) -> Option<&ModelChoice> {
        self.iter().find(|model| model.name == name)
    }

    /// Options of a select in groups. One that is chosen but not among them, such as a checkpoint that is not its job's
    /// best, stands first.
    pub(super) fn options(&self, chosen: Option<&str>) -> Markup {
        let groups = [("Fine-tuned", &self.fine_tuned), ("Base models", &self.base), ("Aliases", &self.aliases)];
        html! {
            @if let Some(other) = chosen.filter(|name| self.find(name).is_none()) {
                option value=(other) selected { (other) }
            }
            @for (title, models) in groups.into_iter().filter(|(_, models)| !models.is_empty()) {
                optgroup label=(title) {
                    @for model in models {
                        option value=(model.name) selected[chosen == Some(&model.name)] { (model.label) }
                    }
                }
            }
        }
    }
}

fn fine_tuned(model: ServableCheckpoint) -> ModelChoice {
    let dims = fine_tuned_dims(&model);
    let ServableCheckpoint { checkpoint, job_name, base_model, .. } = model;
    let job = job_name.unwrap_or_else(|| format!("Job {}", short(&checkpoint.job_id.to_string())));
    let label = format!("{job}: epoch {} of {base_model}", checkpoint.epoch);
    ModelChoice { name: ModelReference::JobBest(checkpoint.job_id).to_string(), label, dims }
}

fn fine_tuned_dims(model: &ServableCheckpoint) -> Vec<usize> {
    let full = model.base_summary.as_ref().map(|ModelSummary { dimension, .. }| *dimension);
    let mut dims: Vec<usize> = model.training.dims().iter().copied().chain(full).collect();
    dims.sort_unstable_by(|a, b| b.cmp(a));
    dims.dedup();
    dims
}

/// The end of an id tells it from others; the beginning is the time.
fn short(id: &str) -> &str {
    &id[id.len().saturating_sub(8)..]
}
