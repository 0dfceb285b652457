//! Jobs as the worker sees them: claim, finish, put back.

use std::collections::BTreeMap;

use crate::domain::{Job, JobError, JobId, JobStatus, Profile, utc_now};

use super::jobs::{find, job};
use super::rows::{int, json};
use super::{StatusChange, Store, StoreError};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobOutcome {
    /// Its best checkpoint is on disk.
    Succeeded {
        /// Seconds per phase.
        timings: BTreeMap<String, f64>,
        /// Where the time went, and how fast it trained.
        profile: Profile,
    },
    /// An error ended it.
    Failed(JobError),
    /// Its owner ended it.
    Cancelled,
}

/// The most bytes that an attempt at a job held at once, as far as known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeakBytes {
    /// Of the process.
    pub host: Option<u64>,
    /// Of a GPU's own memory.
    pub gpu: Option<u64>,
}

impl Store {
    /// Takes the job that has waited longest and makes it running; none where none waits.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_next(&self) -> Result<Option<StatusChange>, StoreError> {
        let mut transaction = self.begin().await?;
        // The choice and the change are one statement: no two callers get the same job.
        let row = sqlx::query(
            "update jobs set status = 'running', started_at = coalesce(started_at, ?)
             where id = (select id from jobs where status = 'queued' order by queue_position limit 1) returning *",
        )
        .bind(utc_now())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let change = self.changed(&mut transaction, job(&row)?, None).await?;
        transaction.commit().await?;
        Ok(Some(change))
    }

    /// The jobs that wait, in the order in which they will be taken, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn queued_jobs(&self, limit: u32) -> Result<Vec<Job>, StoreError> {
        let rows =
            sqlx::query("select * from jobs where status = 'queued' order by queue_position limit ?").bind(limit);
        Ok(rows.fetch_all(&self.pool).await?.iter().map(job).collect::<Result<Vec<_>, _>>()?)
    }

    /// Ends a running job; the most memory that its attempt held goes with it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it does not run.
    pub async fn finish(&self, id: JobId, outcome: &JobOutcome, memory: PeakBytes) -> Result<StatusChange, StoreError> {
        let (status, error, spent) = match outcome {
            JobOutcome::Succeeded { timings, profile } => {
                (JobStatus::Succeeded, None, Some((json(timings), json(profile))))
            }
            JobOutcome::Failed(error) => (JobStatus::Failed, Some(error), None),
            JobOutcome::Cancelled => (JobStatus::Cancelled, None, None),
        };
        let (timings, profile) = spent.unzip();
        let mut transaction = self.begin().await?;
        // The largest memory over all attempts: the job as a whole needed that much.
        let row = sqlx::query(
            "update jobs set status = ?, cancel_requested = 0, pause_requested = 0, error_code = ?, error_message = ?, timings = ?, profile = ?,
                peak_memory_bytes = nullif(max(coalesce(peak_memory_bytes, 0), coalesce(?, 0)), 0),
                peak_gpu_memory_bytes = nullif(max(coalesce(peak_gpu_memory_bytes, 0), coalesce(?, 0)), 0), finished_at = ?
             where id = ? and status = 'running' returning *",
        )
        .bind(status.as_str())
        .bind(error.map(|error| error.code.clone()))
        .bind(error.map(|error| error.message.clone()))
        .bind(timings)
        .bind(profile)
        .bind(memory.host.map(int))
        .bind(memory.gpu.map(int))
        .bind(utc_now())
        .bind(id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            let status = find(&mut transaction, id).await?.status;
            return Err(StoreError::wrong_status(status, "only a running one can end"));
        };
        let change = self.changed(&mut transaction, job(&row)?, error.map(|error| error.message.clone())).await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// After a run that was told to stop: pauses the job where its owner asked for that, and otherwise puts it back to its
    /// place in the queue, since the server stops under it. A cancel that was asked for meanwhile is carried out instead.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it does not run.
    pub async fn requeue(&self, id: JobId, reason: &str) -> Result<StatusChange, StoreError> {
        let mut transaction = self.begin().await?;
        let before: Job = find(&mut transaction, id).await?;
        if before.status != JobStatus::Running {
            return Err(StoreError::wrong_status(before.status, "only a running one goes back to the queue"));
        }
        let row = sqlx::query(
            "update jobs set
                status = case when cancel_requested then 'cancelled' when pause_requested then 'paused' else 'queued' end,
                finished_at = iif(cancel_requested, ?, null), cancel_requested = 0, pause_requested = 0
             where id = ? returning *",
        )
        .bind(utc_now())
        .bind(id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        let job = job(&row)?;
        let reason = (job.status == JobStatus::Queued).then(|| reason.to_owned());
        let change = self.changed(&mut transaction, job, reason).await?;
        transaction.commit().await?;
        Ok(change)
    }
}
