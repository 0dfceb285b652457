//! What a run tells while it goes on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EvaluationMetrics, JobId, JobStatus};

/// The part of a run that is under way; also the keys of the report's timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainPhase {
    /// Texts become token ids.
    Tokenize,
    /// The untrained model is evaluated.
    Baseline,
    /// Optimizer steps.
    Train,
    /// The model is evaluated after an epoch.
    Evaluate,
    /// A checkpoint is written.
    Save,
}

/// One thing that the trainer reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TrainEvent {
    /// Another part of the run begins.
    Phase {
        /// The part.
        phase: TrainPhase,
        /// Epochs done by now, with the fraction of the one under way.
        epoch: f64,
    },
    /// `logging_steps` optimizer steps are done (or the last few of the run).
    Step {
        /// Optimizer steps done.
        step: u64,
        /// Optimizer steps of the whole run.
        total_steps: u64,
        /// Epochs done, with the fraction of the one under way.
        epoch: f64,
        /// Mean loss over the steps since the last such event.
        loss: f64,
        /// The gradient's norm before clipping, at the last step.
        grad_norm: f64,
        /// The learning rate that the last step used.
        learning_rate: f64,
        /// Pairs trained on per second since the last such event.
        pairs_per_second: f64,
        /// Seconds of training left, by the mean step so far; evaluations and saving not counted.
        eta_seconds: f64,
    },
    /// An optimizer step is done: a light event for progress bars, never stored.
    Progress {
        /// Optimizer steps done.
        step: u64,
        /// Optimizer steps of the whole run.
        total_steps: u64,
    },
    /// An evaluation is done.
    Evaluation {
        /// Its metrics.
        metrics: EvaluationMetrics,
    },
    /// A checkpoint is on disk, complete.
    Checkpoint {
        /// The epoch it closes.
        epoch: u32,
        /// Optimizer steps done by then.
        step: u64,
        /// Its files' size.
        size_bytes: u64,
        /// SHA-256 of model.safetensors (hex).
        sha256: String,
        /// The value of `metric_for_best_model`.
        metric: f64,
        /// True where it is the best so far.
        is_best: bool,
    },
    /// A checkpoint was deleted to keep to `save_total_limit`.
    CheckpointRemoved {
        /// The epoch it closed.
        epoch: u32,
    },
    /// Something that the user should know and that does not end the run.
    Warning {
        /// What it is and what to do about it.
        message: String,
    },
}

/// What a [`TrainEvent::Step`] tells of training itself.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct LoggedStep {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean loss over the steps since the last such event.
    pub loss: f64,
    /// The gradient's norm before clipping, at the last step.
    pub grad_norm: f64,
    /// The learning rate that the last step used.
    pub learning_rate: f64,
}

/// One event of a job, as `/v1/jobs/{id}/events` sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JobEvent {
    /// The job's status changed.
    Status {
        /// What it is now.
        status: JobStatus,
        /// Why, where there is a reason to give.
        message: Option<String>,
    },
    /// The trainer reports.
    #[serde(untagged)]
    Train(TrainEvent),
}

/// An event with its place in the job's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventRecord {
    /// Grows over time and never comes twice, for `Last-Event-ID`; none for events that are told but not stored
    /// ([`TrainEvent::Progress`]).
    pub id: Option<u64>,
    /// The job it belongs to.
    pub job_id: JobId,
    /// When it was stored or, where it is not, told (RFC 3339, UTC).
    pub created_at: String,
    /// What happened; in JSON its fields stand beside the others.
    #[serde(flatten)]
    pub event: JobEvent,
}

impl JobEvent {
    /// The event's `type` in JSON.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Train(event) => event.type_name(),
        }
    }
}

impl TrainEvent {
    /// The event's `type` in JSON.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Phase { .. } => "phase",
            Self::Step { .. } => "step",
            Self::Progress { .. } => "progress",
            Self::Evaluation { .. } => "evaluation",
            Self::Checkpoint { .. } => "checkpoint",
            Self::CheckpointRemoved { .. } => "checkpoint_removed",
            Self::Warning { .. } => "warning",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_under_their_type() {
        let metrics = EvaluationMetrics { epoch: 1, step: 9, values: [("sequential_score".into(), 0.5)].into() };
        let checkpoint = TrainEvent::Checkpoint {
            epoch: 1,
            step: 9,
            size_bytes: 5,
            sha256: "ab".into(),
            metric: 0.25,
            is_best: true,
        };
        let step = TrainEvent::Step {
            step: 1,
            total_steps: 9,
            epoch: 0.1,
            loss: 2.5,
            grad_norm: 1.0,
            learning_rate: 2e-5,
            pairs_per_second: 8.0,
            eta_seconds: 60.0,
        };
        let train = [
            TrainEvent::Phase { phase: TrainPhase::Tokenize, epoch: 0.0 },
            step,
            TrainEvent::Progress { step: 1, total_steps: 9 },
            TrainEvent::Evaluation { metrics },
            checkpoint,
            TrainEvent::CheckpointRemoved { epoch: 1 },
            TrainEvent::Warning { message: "short".into() },
        ];
        let status = JobEvent::Status { status: JobStatus::Failed, message: Some("why".into()) };
        for event in train.into_iter().map(JobEvent::Train).chain([status]) {
            let json = serde_json::to_value(&event).expect("events are JSON");
            assert_eq!(json["type"], event.type_name());
            assert_eq!(serde_json::from_value::<JobEvent>(json).expect("it reads back"), event);
        }
    }
}
