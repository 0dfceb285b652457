//! Everything that a job's page shows, read at once.

use super::super::job_list::dataset_name;
use super::progress::Running;
use crate::domain::{
    Checkpoint, EvaluationMetrics, EventRecord, Job, JobId, JobStatus, LoggedStep, MetricsTable, ModelSummary,
};
use crate::http::routes::jobs::MetricCourse;
use crate::http::routes::metrics;
use crate::http::{ApiError, AppState};
use crate::store::StoreError;

/// Steps that charts show: more would not be seen apart.
const MOST_STEPS: u32 = 300;
/// Events that the page shows.
const LOG_LINES: u32 = 12;

/// A job's page in numbers.
pub(super) struct JobView {
    pub(super) job: Job,
    /// The dataset's name; none where that has been deleted.
    pub(super) dataset: Option<String>,
    /// How far it is, where it runs.
    pub(super) running: Option<Running>,
    /// Its evaluations by epoch, the baseline first.
    pub(super) evaluations: Vec<EvaluationMetrics>,
    /// The same as a table.
    pub(super) table: MetricsTable,
    /// The metric that decides which checkpoint is best.
    pub(super) course: Option<MetricCourse>,
    /// What it logged, step by step, thinned out.
    pub(super) steps: Vec<LoggedStep>,
    pub(super) checkpoints: Vec<Checkpoint>,
    /// What the base model is; none where that has been deleted.
    pub(super) model: Option<ModelSummary>,
    /// The last events, newest first.
    pub(super) events: Vec<EventRecord>,
}

impl JobView {
    /// Reads it.
    ///
    /// # Errors
    /// 404 where there is no such job.
    pub(super) async fn read(state: &AppState, id: JobId) -> Result<Self, ApiError> {
        let store = &state.store;
        let job = store.get_job(id).await?;
        let evaluations = store.evaluations(id).await?;
        let model = match store.get_model_by_name(&job.base_model).await {
            Ok(model) => model.summary,
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let running = match job.status {
            JobStatus::Running => Some(Running::read(state, job.clone()).await?),
            _ => None,
        };
        Ok(Self {
            dataset: dataset_name(state, job.dataset_id).await?,
            running,
            table: metrics::table(state, id).await?,
            course: MetricCourse::new(job.training.metric_for_best_model.as_deref().unwrap_or_default(), &evaluations),
            evaluations,
            steps: store.logged_steps(id, MOST_STEPS).await?,
            checkpoints: store.list_checkpoints(id).await?,
            model,
            events: store.events_before(id, None, LOG_LINES).await?,
            job,
        })
    }

    /// The evaluation before training.
    pub(super) fn baseline(&self) -> Option<&EvaluationMetrics> {
        self.evaluations.iter().find(|evaluation| evaluation.epoch == 0)
    }

    /// The evaluation of the best epoch so far.
    pub(super) fn best(&self) -> Option<&EvaluationMetrics> {
        let epoch = self.course.as_ref()?.best_epoch?;
        self.evaluations.iter().find(|evaluation| evaluation.epoch == epoch)
    }

    /// Where its events are heard from now on; none where it has ended.
    pub(super) fn events_address(&self) -> Option<String> {
        let last = self.events.first().and_then(|record| record.id).unwrap_or(0);
        (!self.job.status.is_final()).then(|| format!("/v1/jobs/{}/events?last_event_id={last}", self.job.id))
    }
}
