//! Jobs as their owners see them: submit, read, pause, cancel, resume, delete.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::domain::{DatasetId, EventRecord, Job, JobError, JobEvent, JobId, JobStatus, Secret, utc_now};

use super::events::append;
use super::rows::{get_json, get_optional_json, get_parsed, get_u64, int, json, page};
use super::{Page, Store, StoreError};

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those that stand so.
    pub status: Option<JobStatus>,
    /// Only those with such metadata.
    pub metadata: Option<MetadataFilter>,
    /// Only those that train on this dataset or evaluate with it.
    pub dataset: Option<DatasetId>,
    /// Only those that start from this model.
    pub base_model: Option<String>,
}

/// What a job's metadata must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataFilter {
    /// There must be none.
    None,
    /// These pairs must be among them.
    Pairs(BTreeMap<String, String>),
}

/// A job after its status changed, and the event that tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusChange {
    /// The job as it stands now.
    pub job: Job,
    /// The stored event; none where the status stayed what it was.
    pub event: Option<EventRecord>,
}

pub(super) fn job(row: &SqliteRow) -> Result<Job, sqlx::Error> {
    let code: Option<String> = row.try_get("error_code")?;
    let message: Option<String> = row.try_get("error_message")?;
    let unsigned = |column| -> Result<Option<u64>, sqlx::Error> {
        let value: Option<i64> = row.try_get(column)?;
        Ok(value.map(i64::cast_unsigned))
    };
    let eval_dataset_id: Option<String> = row.try_get("eval_dataset_id")?;
    Ok(Job {
        id: get_parsed(row, "id")?,
        name: row.try_get("name")?,
        status: get_parsed(row, "status")?,
        cancel_requested: row.try_get("cancel_requested")?,
        pause_requested: row.try_get("pause_requested")?,
        metadata: get_optional_json(row, "metadata")?,
        dataset_id: get_parsed(row, "dataset_id")?,
        eval_dataset_id: eval_dataset_id.map(|_| get_parsed(row, "eval_dataset_id")).transpose()?,
        base_model: row.try_get("base_model")?,
        training: get_json(row, "training")?,
        webhook_url: row.try_get("webhook_url")?,
        webhook_secret: None,
        step: get_u64(row, "step")?,
        total_steps: unsigned("total_steps")?,
        error: code.zip(message).map(|(code, message)| JobError { code, message }),
        warnings: get_json(row, "warnings")?,
        timings: get_optional_json(row, "timings")?,
        profile: get_optional_json(row, "profile")?,
        peak_memory_bytes: unsigned("peak_memory_bytes")?,
        peak_gpu_memory_bytes: unsigned("peak_gpu_memory_bytes")?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

impl Store {
    /// Appends the event of a status change that the same transaction made, and makes what is to be told of an end.
    pub(super) async fn changed(
        &self,
        connection: &mut SqliteConnection,
        job: Job,
        message: Option<String>,
    ) -> Result<StatusChange, StoreError> {
        let event = append(connection, job.id, &JobEvent::Status { status: job.status, message }).await?;
        if job.status.is_final() {
            self.announce_end(connection, &job).await?;
        }
        Ok(StatusChange { job, event: Some(event) })
    }
}

impl Store {
    /// Queues a job. Of `job` it takes what its owner decides; where it stands starts afresh.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where a dataset or the base model does not exist, [`StoreError::Conflict`] where the
    /// model is not ready.
    pub async fn insert_job(&self, new: &Job) -> Result<StatusChange, StoreError> {
        let mut transaction = self.begin().await?;
        check_inputs(&mut transaction, new).await?;
        let row = sqlx::query(
            "insert into jobs (id, name, metadata, status, dataset_id, eval_dataset_id, base_model, training,
                webhook_url, webhook_secret, created_at, queue_position)
             values (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, (select coalesce(max(queue_position), 0) + 1 from jobs)) returning *",
        )
        .bind(new.id.to_string())
        .bind(&new.name)
        .bind(new.metadata.as_ref().map(json))
        .bind(new.dataset_id.to_string())
        .bind(new.eval_dataset_id.map(|id| id.to_string()))
        .bind(&new.base_model)
        .bind(json(&new.training))
        .bind(&new.webhook_url)
        .bind(new.webhook_secret.as_ref().map(Secret::expose))
        .bind(&new.created_at)
        .fetch_one(&mut *transaction)
        .await?;
        let change = self.changed(&mut transaction, job(&row)?, None).await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// One job.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_job(&self, id: JobId) -> Result<Job, StoreError> {
        let mut connection = self.pool.acquire().await?;
        find(&mut connection, id).await
    }

    /// Jobs, newest first, from after `after` on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_jobs(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Page<Job>, StoreError> {
        let rows = sqlx::query(
            "select * from jobs where (?1 is null or status = ?1) and (?2 is null or id < ?2)
                and (?4 = 0 or metadata is null)
                and (?5 is null or not exists (select 1 from json_each(?5) as wanted where not exists (
                    select 1 from json_each(jobs.metadata) as held
                    where held.key = wanted.key and held.value = wanted.value)))
                and (?6 is null or dataset_id = ?6 or eval_dataset_id = ?6) and (?7 is null or base_model = ?7)
             order by id desc limit ?3",
        )
        .bind(filter.status.map(JobStatus::as_str))
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(limit) + 1)
        .bind(filter.metadata == Some(MetadataFilter::None))
        .bind(match &filter.metadata {
            Some(MetadataFilter::Pairs(pairs)) => Some(json(pairs)),
            Some(MetadataFilter::None) | None => None,
        })
        .bind(filter.dataset.map(|id| id.to_string()))
        .bind(&filter.base_model)
        .fetch_all(&self.pool)
        .await?;
        let items = rows.iter().map(job).collect::<Result<Vec<_>, _>>()?;
        Ok(page(items, limit, |job| job.id.to_string()))
    }

    /// How many jobs stand so.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn count_jobs(&self, status: JobStatus) -> Result<u64, StoreError> {
        let row = sqlx::query("select count(*) as jobs from jobs where status = ?").bind(status.as_str());
        Ok(get_u64(&row.fetch_one(&self.pool).await?, "jobs")?)
    }

    /// Cancels a queued or paused job at once and asks a running one to stop; asking twice is no error. The worker's handle
    /// wraps this, and also stops the run.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it has ended.
    pub async fn request_cancel(&self, id: JobId) -> Result<StatusChange, StoreError> {
        let mut transaction = self.begin().await?;
        let before = find(&mut transaction, id).await?;
        let change = match before.status {
            JobStatus::Queued | JobStatus::Paused => {
                let row = sqlx::query("update jobs set status = 'cancelled', finished_at = ? where id = ? returning *")
                    .bind(utc_now())
                    .bind(id.to_string())
                    .fetch_one(&mut *transaction)
                    .await?;
                self.changed(&mut transaction, job(&row)?, None).await?
            }
            JobStatus::Running => {
                let row = sqlx::query("update jobs set cancel_requested = 1 where id = ? returning *")
                    .bind(id.to_string())
                    .fetch_one(&mut *transaction)
                    .await?;
                StatusChange { job: job(&row)?, event: None }
            }
            ended @ (JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled) => {
                return Err(StoreError::wrong_status(ended, "only a queued, running or paused one can be cancelled"));
            }
        };
        transaction.commit().await?;
        Ok(change)
    }

    /// Pauses a queued job at once and asks a running one to stop; asking twice is no error. The worker's handle wraps
    /// this, and also stops the run.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it has ended or is being cancelled.
    pub async fn request_pause(&self, id: JobId) -> Result<StatusChange, StoreError> {
        let mut transaction = self.begin().await?;
        let before = find(&mut transaction, id).await?;
        let change = match before.status {
            JobStatus::Queued => {
                let row = sqlx::query("update jobs set status = 'paused' where id = ? returning *")
                    .bind(id.to_string())
                    .fetch_one(&mut *transaction)
                    .await?;
                self.changed(&mut transaction, job(&row)?, None).await?
            }
            JobStatus::Running if before.cancel_requested => {
                return Err(StoreError::conflict("the job is being cancelled; resume it once it is"));
            }
            JobStatus::Running => {
                let row = sqlx::query("update jobs set pause_requested = 1 where id = ? returning *")
                    .bind(id.to_string())
                    .fetch_one(&mut *transaction)
                    .await?;
                StatusChange { job: job(&row)?, event: None }
            }
            JobStatus::Paused => StatusChange { job: before, event: None },
            ended @ (JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled) => {
                return Err(StoreError::wrong_status(ended, "only a queued or running one can be paused"));
            }
        };
        transaction.commit().await?;
        Ok(change)
    }

    /// Queues a paused, failed or cancelled job again, at the queue's end; it will go on from its last checkpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none or its dataset or model is gone, [`StoreError::Conflict`] where it
    /// was neither paused nor cancelled and did not fail.
    pub async fn resume(&self, id: JobId) -> Result<StatusChange, StoreError> {
        let mut transaction = self.begin().await?;
        let before = find(&mut transaction, id).await?;
        // A running job goes back to the queue too, but not by its owner's wish.
        if before.status == JobStatus::Running || !before.status.may_become(JobStatus::Queued) {
            return Err(StoreError::wrong_status(
                before.status,
                "only a paused, failed or cancelled one can be resumed",
            ));
        }
        check_inputs(&mut transaction, &before).await?;
        let row = sqlx::query(
            "update jobs set status = 'queued', error_code = null, error_message = null, finished_at = null,
                crashes = 0, queue_position = (select max(queue_position) + 1 from jobs) where id = ? returning *",
        )
        .bind(id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        let change = self.changed(&mut transaction, job(&row)?, None).await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// Deletes a job that has ended, with its events, metrics and checkpoint rows; its folder is the caller's to delete
    /// afterwards. The worker's handle does both.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none, [`StoreError::Conflict`] where it has not ended or an alias means one
    /// of its checkpoints.
    pub async fn delete_job(&self, id: JobId) -> Result<(), StoreError> {
        let deleted = sqlx::query(
            "delete from jobs where id = ?1 and status in ('succeeded', 'failed', 'cancelled')
             and not exists (select 1 from aliases where job_id = ?1)",
        )
        .bind(id.to_string())
        .execute(&self.pool)
        .await?;
        if deleted.rows_affected() == 1 {
            return Ok(());
        }
        let status = self.get_job(id).await?.status;
        if let Some(alias) = self.alias_of_job(id).await? {
            return Err(StoreError::aliased(&alias));
        }
        Err(StoreError::wrong_status(status, "cancel it first, then delete it"))
    }
}

pub(super) async fn find(connection: &mut SqliteConnection, id: JobId) -> Result<Job, StoreError> {
    let row = sqlx::query("select * from jobs where id = ?").bind(id.to_string()).fetch_optional(connection).await?;
    Ok(job(&row.ok_or_else(|| StoreError::not_found("job", id))?)?)
}

/// Checks that what a job is made from is there. Runs inside the transaction that queues the job, so that nothing is
/// deleted in between.
async fn check_inputs(connection: &mut SqliteConnection, job: &Job) -> Result<(), StoreError> {
    for id in std::iter::once(job.dataset_id).chain(job.eval_dataset_id) {
        let row = sqlx::query("select 1 from datasets where id = ?").bind(id.to_string());
        if row.fetch_optional(&mut *connection).await?.is_none() {
            return Err(StoreError::not_found("dataset", id));
        }
    }
    let row = sqlx::query("select status, error from models where name = ?").bind(&job.base_model);
    let row = row.fetch_optional(&mut *connection).await?;
    let row = row.ok_or_else(|| StoreError::not_found("model", &job.base_model))?;
    match row.try_get::<String, _>("status")?.as_str() {
        "ready" => Ok(()),
        "pulling" => Err(StoreError::conflict(format!("model `{}` is still being pulled", job.base_model))),
        _ => {
            let error: Option<String> = row.try_get("error")?;
            let error = error.unwrap_or_default();
            Err(StoreError::conflict(format!("model `{}` cannot be used: {error}", job.base_model)))
        }
    }
}

impl Store {
    /// Begins a transaction that writes. Taking the write lock at once keeps SQLite from refusing, half-way through, to
    /// turn a reader into a writer (SQLITE_BUSY that no timeout helps against).
    pub(super) async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, StoreError> {
        Ok(self.pool.begin_with("begin immediate").await?)
    }

    /// Sets how far a job has come, without an event.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn set_progress(&self, id: JobId, step: u64, total_steps: u64) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        set_progress(&mut connection, id, step, total_steps).await
    }
}

pub(super) async fn set_progress(
    connection: &mut SqliteConnection,
    id: JobId,
    step: u64,
    total_steps: u64,
) -> Result<(), StoreError> {
    let updated = sqlx::query("update jobs set step = ?, total_steps = ? where id = ?")
        .bind(int(step))
        .bind(int(total_steps))
        .bind(id.to_string())
        .execute(connection)
        .await?;
    if updated.rows_affected() == 1 { Ok(()) } else { Err(StoreError::not_found("job", id)) }
}
