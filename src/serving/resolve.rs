//! From the name that a client writes to one folder of weights that never changes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::{Checkpoint, DataDir, FieldError, JobId, ModelId, ModelReference, ModelStatus};
use crate::store::{Store, StoreError};

use super::EmbedError;

/// Base models that are looked through for the only ready one.
const MOST_MODELS: u32 = 1000;
/// Names that an error lists.
const MOST_CHOICES: usize = 20;

/// Names one set of weights. A job's best is the checkpoint that it is now, so that a new best is another key and the
/// old one ages out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum ModelKey {
    /// A base model; the id tells it from one of the same name that was deleted before.
    Base { name: String, id: ModelId },
    /// A checkpoint; the hash tells it from one that the epoch had before its job was resumed.
    Checkpoint { job_id: JobId, epoch: u32, sha256: String },
}

impl ModelKey {
    /// The name that means these weights and no others.
    pub(super) fn reference(&self) -> ModelReference {
        match self {
            Self::Base { name, .. } => ModelReference::Base(name.clone()),
            Self::Checkpoint { job_id, epoch, .. } => ModelReference::JobEpoch(*job_id, *epoch),
        }
    }

    /// True where the reference may mean these weights; a job's best may mean any of its checkpoints.
    pub(super) fn is_meant_by(&self, reference: &ModelReference) -> bool {
        match (self, reference) {
            (Self::Base { name, .. }, ModelReference::Base(wanted)) => name == wanted,
            (Self::Checkpoint { job_id, .. }, ModelReference::JobBest(wanted)) => job_id == wanted,
            (Self::Checkpoint { job_id, epoch, .. }, ModelReference::JobEpoch(wanted, number)) => {
                job_id == wanted && epoch == number
            }
            _ => false,
        }
    }
}

/// A model that is there to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedModel {
    pub(super) key: ModelKey,
    pub(super) folder: PathBuf,
}

/// Looks a model up.
///
/// # Errors
/// [`EmbedError::UnknownModel`], [`EmbedError::NotReady`], [`EmbedError::Store`].
pub(super) async fn resolve(
    store: &Store,
    data_dir: &DataDir,
    reference: &ModelReference,
) -> Result<ResolvedModel, EmbedError> {
    match reference {
        ModelReference::Base(name) => {
            let model = match store.get_model_by_name(name).await {
                Err(StoreError::NotFound { .. }) => return Box::pin(resolve_alias(store, data_dir, name)).await,
                other => other.map_err(unknown)?,
            };
            match model.status {
                ModelStatus::Ready => {}
                ModelStatus::Pulling => {
                    return Err(EmbedError::NotReady(format!("the model `{name}` is still being pulled")));
                }
                ModelStatus::Failed => {
                    let reason = model.error.as_deref().unwrap_or("for no known reason");
                    return Err(EmbedError::NotReady(format!("the model `{name}` could not be pulled: {reason}")));
                }
            }
            let folder = data_dir.model(&model);
            Ok(ResolvedModel { key: ModelKey::Base { name: model.name, id: model.id }, folder })
        }
        ModelReference::JobBest(id) => match store.best_checkpoint(*id).await {
            Ok(checkpoint) => Ok(resolved(data_dir, checkpoint)),
            Err(StoreError::NotFound { .. }) => {
                let job = store.get_job(*id).await.map_err(unknown)?;
                let status = job.status.as_str();
                Err(EmbedError::NotReady(format!("the job {id} is {status} and has no checkpoint yet")))
            }
            Err(error) => Err(unknown(error)),
        },
        ModelReference::JobEpoch(id, epoch) => {
            let checkpoint = store.get_checkpoint(*id, *epoch).await.map_err(unknown)?;
            Ok(resolved(data_dir, checkpoint))
        }
    }
}

/// What an alias means at this moment. An alias means no other alias, so this goes one step deep.
async fn resolve_alias(store: &Store, data_dir: &DataDir, name: &str) -> Result<ResolvedModel, EmbedError> {
    match store.get_alias(name).await {
        Ok(alias) => {
            let model = alias.model.parse().map_err(EmbedError::UnknownModel)?;
            resolve(store, data_dir, &model).await
        }
        Err(StoreError::NotFound { .. }) => {
            Err(EmbedError::UnknownModel(format!("there is no model and no alias `{name}`; GET /v1/models lists them")))
        }
        Err(error) => Err(unknown(error)),
    }
}

/// The one base model that is ready.
///
/// # Errors
/// [`EmbedError::Invalid`] for the field `model`, where there are several or none; [`EmbedError::Store`].
pub(super) async fn only_base_model(store: &Store) -> Result<ModelReference, EmbedError> {
    let models = store.list_models(None, MOST_MODELS).await.map_err(unknown)?.items;
    let mut ready = models.into_iter().filter(|model| model.status == ModelStatus::Ready).map(|model| model.name);
    let message = match (ready.next(), ready.next()) {
        (Some(name), None) => return Ok(ModelReference::Base(name)),
        (None, _) => "no base model is ready yet; pull one, or name a fine-tuned one as `job:<id>`".into(),
        (Some(first), Some(second)) => {
            let names = [first, second].into_iter().chain(ready).take(MOST_CHOICES).map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("there are several models, so one must be named: {names}, or a fine-tuned one as `job:<id>`")
        }
    };
    Err(EmbedError::Invalid(vec![FieldError::new("model", message)]))
}

fn resolved(data_dir: &DataDir, checkpoint: Checkpoint) -> ResolvedModel {
    let folder = data_dir.checkpoint(&checkpoint);
    let Checkpoint { job_id, epoch, sha256, .. } = checkpoint;
    ResolvedModel { key: ModelKey::Checkpoint { job_id, epoch, sha256 }, folder }
}

fn unknown(error: StoreError) -> EmbedError {
    match error {
        StoreError::NotFound { .. } => EmbedError::UnknownModel(error.to_string()),
        other => EmbedError::Store(Arc::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_reference_means_all_of_its_checkpoints_and_no_other() {
        let (job_id, other) = (JobId::generate(), JobId::generate());
        let key = ModelKey::Checkpoint { job_id, epoch: 2, sha256: "ab".into() };
        assert!(key.is_meant_by(&ModelReference::JobBest(job_id)));
        assert!(key.is_meant_by(&ModelReference::JobEpoch(job_id, 2)));
        assert!(!key.is_meant_by(&ModelReference::JobEpoch(job_id, 1)));
        assert!(!key.is_meant_by(&ModelReference::JobBest(other)));
        let base = ModelKey::Base { name: "a/b".into(), id: ModelId::generate() };
        assert!(base.is_meant_by(&ModelReference::Base("a/b".into())));
        assert!(!base.is_meant_by(&ModelReference::Base("a".into())));
    }
}
