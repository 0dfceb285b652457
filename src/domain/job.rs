//! A job: one fine-tuning run from the queue to its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DatasetId, JobId, Profile, Secret, TrainingArguments};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Waits for the worker.
    Queued,
    /// The worker trains it.
    Running,
    /// Stopped by its owner, who may let it go on.
    Paused,
    /// Ended with its best checkpoint on disk.
    Succeeded,
    /// Ended by an error, which the job holds.
    Failed,
    /// Ended by its owner.
    Cancelled,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// True where the job has ended. A paused one has not: it waits for its owner.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// True where a job may go from `self` to `next`. A running job goes back to the queue when the server stops
    /// under it; a paused, failed or cancelled one when its owner resumes it.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use JobStatus::{Cancelled, Failed, Paused, Queued, Running, Succeeded};
        matches!(
            (self, next),
            (Queued, Running | Paused | Cancelled)
                | (Running, Queued | Paused | Succeeded | Failed | Cancelled)
                | (Paused, Queued | Cancelled)
                | (Failed | Cancelled, Queued)
        )
    }

    /// The word that stands for it in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for JobStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is not a status; expected one of {known}")
        })
    }
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// A word for programs, such as `non_finite_loss`.
    pub code: String,
    /// A sentence for people: what happened, and what to do.
    pub message: String,
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Names it.
    pub id: JobId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// True once its owner asked to cancel it and the worker has not yet stopped.
    pub cancel_requested: bool,
    /// True once its owner asked to pause it and the worker has not yet stopped.
    pub pause_requested: bool,
    /// What its owner wishes to find it by.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The pairs it trains on.
    pub dataset_id: DatasetId,
    /// Where another dataset's rows (all of them) evaluate it.
    pub eval_dataset_id: Option<DatasetId>,
    /// The model it starts from, by name.
    pub base_model: String,
    /// Its hyperparameters, every default filled in.
    pub training: TrainingArguments,
    /// Who is told of its end, by a POST.
    pub webhook_url: Option<String>,
    /// The key that signs it: taken when the job is submitted, and never given out again.
    #[serde(skip)]
    pub webhook_secret: Option<Secret>,
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps of the whole run, once known.
    pub total_steps: Option<u64>,
    /// Why it failed, where it did.
    pub error: Option<JobError>,
    /// What its owner should know although it did not fail.
    pub warnings: Vec<String>,
    /// Seconds per phase, once it ended well (`tokenize`, `baseline`, `train`, `evaluate`, `save`).
    pub timings: Option<BTreeMap<String, f64>>,
    /// Where its time went, and how fast it trained, once it ended well.
    pub profile: Option<Profile>,
    /// The most memory that the process held while the job ran.
    pub peak_memory_bytes: Option<u64>,
    /// The most memory of the GPU that the job held, where one computed it.
    pub peak_gpu_memory_bytes: Option<u64>,
    /// When it was submitted (RFC 3339, UTC).
    pub created_at: String,
    /// When the worker first took it up.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_status_is_left_only_to_resume() {
        for from in JobStatus::ALL.into_iter().filter(|status| status.is_final()) {
            for to in JobStatus::ALL {
                let resumes = from != JobStatus::Succeeded && to == JobStatus::Queued;
                assert_eq!(from.may_become(to), resumes, "{from:?} to {to:?}");
            }
        }
        assert!(!JobStatus::Queued.may_become(JobStatus::Succeeded));
        assert!(!JobStatus::Paused.may_become(JobStatus::Running), "it waits in the queue first");
    }
}
