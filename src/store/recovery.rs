//! After a crash: whose run was cut off, and what it told in vain.

use sqlx::Row;

use crate::domain::{JobId, JobStatus, utc_now};

use super::jobs::job;
use super::rows::int;
use super::{StatusChange, Store, StoreError};

/// A job under which the process died this often without a new checkpoint in between is not tried again.
pub const MAX_CRASHES: u32 = 3;

impl Store {
    /// At start: jobs left running go back to their place in the queue, to go on from their last checkpoint. Those that
    /// were asked to pause or cancel are paused or cancelled, and those under which the process died [`MAX_CRASHES`] times in a row fail.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn requeue_orphaned(&self) -> Result<Vec<StatusChange>, StoreError> {
        let mut transaction = self.begin().await?;
        let crashed = format!(
            "the server ended {MAX_CRASHES} times while this job ran, without a checkpoint in between; memory may be \
             short: a smaller per_device_train_batch_size or max_seq_length needs less"
        );
        let rows = sqlx::query(
            "update jobs set
                crashes = crashes + 1,
                status = case when cancel_requested then 'cancelled' when crashes + 1 >= ?1 then 'failed'
                    when pause_requested then 'paused' else 'queued' end,
                error_code = case when not cancel_requested and crashes + 1 >= ?1 then 'crashed' end,
                error_message = case when not cancel_requested and crashes + 1 >= ?1 then ?2 end,
                finished_at = case when cancel_requested or crashes + 1 >= ?1 then ?3 end,
                cancel_requested = 0,
                pause_requested = 0
             where status = 'running' returning *",
        )
        .bind(MAX_CRASHES)
        .bind(&crashed)
        .bind(utc_now())
        .fetch_all(&mut *transaction)
        .await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let job = job(row)?;
            let message = match &job.error {
                Some(error) => Some(error.message.clone()),
                None if job.status != JobStatus::Queued => None,
                None => Some("the server stopped while the job ran; it goes on from its last checkpoint".to_owned()),
            };
            changes.push(self.changed(&mut transaction, job, message).await?);
        }
        transaction.commit().await?;
        Ok(changes)
    }

    /// Before a run goes on from the checkpoint of `epoch` (from the start where there is none): takes back what an
    /// interrupted run told of the steps that now come again, events and metrics, and sets the job's progress back.
    ///
    /// Events up to that checkpoint's own stay, and so do status changes, warnings and checkpoints removed: those
    /// happened and do not come again. Ids go on growing, so a client's `Last-Event-ID` stays valid.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn rewind(&self, job_id: JobId, epoch: Option<u32>) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let id = job_id.to_string();
        let (cut, step) = match epoch {
            None => (0, 0),
            Some(epoch) => {
                let row = sqlx::query(
                    "select c.step, (select max(e.id) from job_events e where e.job_id = c.job_id
                        and e.type = 'checkpoint' and json_extract(e.event, '$.epoch') = c.epoch) as event_id
                     from checkpoints c where c.job_id = ? and c.epoch = ?",
                )
                .bind(&id)
                .bind(epoch)
                .fetch_optional(&mut *transaction)
                .await?;
                let row = row.ok_or_else(|| StoreError::not_found("checkpoint", format!("job:{id}@epoch-{epoch}")))?;
                (row.try_get::<Option<i64>, _>("event_id")?.unwrap_or(i64::MAX), row.try_get::<i64, _>("step")?)
            }
        };
        sqlx::query(
            "delete from job_events
             where job_id = ? and id > ? and type not in ('status', 'warning', 'checkpoint_removed')",
        )
        .bind(&id)
        .bind(cut)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("delete from metrics where job_id = ? and epoch > ?")
            .bind(&id)
            .bind(epoch.map_or(-1, i64::from))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("update jobs set step = ? where id = ?")
            .bind(step.min(int(u64::MAX)))
            .bind(&id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
