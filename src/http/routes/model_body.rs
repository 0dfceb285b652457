//! Models as lists and answers show them: in OpenAI's shape, with what Matryo knows besides.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    Alias, JobId, Model, ModelId, ModelReference, ModelSource, ModelStatus, ModelSummary, unix_seconds,
};
use crate::http::{ApiError, AppState};
use crate::store::{ServableCheckpoint, StoreError};

/// Who owns what nobody else does.
const US: &str = "matryo";

/// A model that can be asked for by its `id`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ModelBody {
    /// What to write as `model`: a base model's name, `job:<id>`, `job:<id>@epoch-<n>` or an alias.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    pub(super) id: String,
    /// Always `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// When it was asked for or made, in seconds since 1970.
    created: i64,
    /// The organisation on the Hub, or `matryo`.
    owned_by: String,
    /// Tokens to which it cuts a text, once that is known.
    max_model_len: Option<usize>,
    /// The same as `id`.
    name: String,
    /// The length of its embeddings, once that is known.
    dimension: Option<usize>,
    /// The lengths that it was fine-tuned for; none where that is not known.
    matryoshka_dims: Option<Vec<usize>>,
    /// Whether it is in memory.
    loaded: bool,
    /// Its files' size, as far as fetched.
    size_bytes: u64,
    /// When it was asked for or made (RFC 3339, UTC).
    pub(super) created_at: String,
    /// What it is in particular.
    #[serde(flatten)]
    kind: ModelKind,
}

/// What a model is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ModelKind {
    /// A base model.
    Base {
        /// Names it, even after its name was given to another.
        uuid: ModelId,
        /// Where it came from.
        source: ModelSource,
        /// How far it has come.
        status: ModelStatus,
        /// Why it failed, where it did.
        error: Option<String>,
        /// What it is, once ready.
        summary: Option<ModelSummary>,
    },
    /// A checkpoint of a job.
    FineTuned {
        /// The job that made it.
        job_id: JobId,
        /// What the job's owner calls it.
        job_name: Option<String>,
        /// The model that it started from.
        base_model: String,
        /// The epoch that it closes.
        epoch: u32,
        /// The metric that makes a checkpoint the best.
        metric_for_best_model: Option<String>,
        /// That metric's value.
        metric: f64,
    },
    /// Another name of one of these.
    Alias {
        /// What it means.
        model: String,
        /// When it was last moved (RFC 3339, UTC).
        moved_at: String,
        /// Who moved it last, where they said so.
        moved_by: Option<String>,
    },
}

impl ModelBody {
    /// A base model; one that is being pulled with what has come by now.
    pub(super) fn base(state: &AppState, model: Model) -> Result<Self, ApiError> {
        let Model { id, name, source, status, error, summary, size_bytes, created_at } = model;
        let done_bytes = state.pulls.done_bytes(id).filter(|_| status == ModelStatus::Pulling);
        let owner = match &source {
            ModelSource::Hub { repo, .. } => repo.split_once('/').map_or(US, |(organisation, _)| organisation),
            ModelSource::Folder { .. } | ModelSource::Upload { .. } => US,
        };
        Ok(Self {
            id: name.clone(),
            object: "model",
            created: unix_seconds(&created_at).map_err(ApiError::internal)?,
            owned_by: owner.to_owned(),
            max_model_len: summary.as_ref().map(|summary| summary.max_seq_length),
            dimension: summary.as_ref().map(|summary| summary.dimension),
            matryoshka_dims: None,
            loaded: state.embedding.is_loaded(&ModelReference::Base(name.clone())),
            size_bytes: done_bytes.unwrap_or(size_bytes),
            created_at,
            name,
            kind: ModelKind::Base { uuid: id, source, status, error, summary },
        })
    }

    /// A checkpoint, by the name that it was asked for by.
    pub(super) fn fine_tuned(
        state: &AppState,
        reference: &ModelReference,
        model: ServableCheckpoint,
    ) -> Result<Self, ApiError> {
        let ServableCheckpoint { checkpoint, job_name, base_model, training, base_summary } = model;
        let limit = base_summary.as_ref().map(|summary| summary.max_seq_length);
        let (job_id, epoch) = (checkpoint.job_id, checkpoint.epoch);
        Ok(Self {
            id: reference.to_string(),
            object: "model",
            created: unix_seconds(&checkpoint.created_at).map_err(ApiError::internal)?,
            owned_by: US.to_owned(),
            max_model_len: training.max_seq_length.or(limit),
            name: reference.to_string(),
            dimension: base_summary.map(|summary| summary.dimension),
            matryoshka_dims: Some(training.dims().to_vec()),
            loaded: state.embedding.is_loaded(&ModelReference::JobEpoch(job_id, epoch)),
            size_bytes: checkpoint.size_bytes,
            created_at: checkpoint.created_at,
            kind: ModelKind::FineTuned {
                job_id,
                job_name,
                base_model,
                epoch,
                metric_for_best_model: training.metric_for_best_model,
                metric: checkpoint.metric,
            },
        })
    }

    /// An alias, which is like what it means but for its name.
    fn alias(meant: Self, alias: Alias) -> Result<Self, ApiError> {
        let Alias { name, model, created_at, moved_at, moved_by } = alias;
        Ok(Self {
            id: name.clone(),
            created: unix_seconds(&created_at).map_err(ApiError::internal)?,
            owned_by: US.to_owned(),
            name,
            created_at,
            kind: ModelKind::Alias { model, moved_at, moved_by },
            ..meant
        })
    }

    /// What a name means that is not an alias's.
    async fn of(state: &AppState, reference: &ModelReference) -> Result<Self, ApiError> {
        let (job_id, epoch) = match reference {
            ModelReference::Base(name) => return Self::base(state, state.store.get_model_by_name(name).await?),
            ModelReference::JobBest(id) => (*id, None),
            ModelReference::JobEpoch(id, epoch) => (*id, Some(*epoch)),
        };
        Self::fine_tuned(state, reference, state.store.servable_checkpoint(job_id, epoch).await?)
    }

    /// What an alias means, under its name.
    pub(super) async fn of_alias(state: &AppState, alias: Alias) -> Result<Self, ApiError> {
        let reference: ModelReference = alias.model.parse().map_err(|error: String| ApiError::internal(error))?;
        Self::alias(Self::of(state, &reference).await?, alias)
    }

    /// What any name means.
    ///
    /// # Errors
    /// 404 where it means nothing.
    pub(super) async fn find(state: &AppState, name: &str) -> Result<Self, ApiError> {
        // A name that is none's is nobody's: there is no such model.
        let reference: ModelReference = name.parse().map_err(|_| StoreError::not_found("model", name))?;
        if let ModelReference::Base(name) = &reference {
            match state.store.get_alias(name).await {
                Ok(alias) => return Self::of_alias(state, alias).await,
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::of(state, &reference).await
    }
}
