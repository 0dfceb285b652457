//! Jobs in numbers, for those who watch over a server.

use super::{JobId, JobStatus, TrainEvent};

/// Jobs in numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFigures {
    /// How many jobs stand so, for every status.
    pub by_status: Vec<(JobStatus, u64)>,
    /// The job that runs.
    pub running: Option<RunningJob>,
}

/// How far the running job has come.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningJob {
    /// Which job.
    pub id: JobId,
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps of the whole run, once known.
    pub total_steps: Option<u64>,
    /// The last [`TrainEvent::Step`] that it told.
    pub last_step: Option<TrainEvent>,
}
