//! What a run tells, and the facts that it brings.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::domain::{Checkpoint, EventRecord, JobEvent, JobId, LoggedStep, TrainEvent, utc_now};

use super::rows::{get_json, get_parsed, get_u64, int, json};
use super::{Store, StoreError, checkpoints, jobs, metrics};

fn record(row: &SqliteRow) -> Result<EventRecord, sqlx::Error> {
    Ok(EventRecord {
        id: Some(get_u64(row, "id")?),
        job_id: get_parsed(row, "job_id")?,
        created_at: row.try_get("created_at")?,
        event: get_json(row, "event")?,
    })
}

/// Stores one event inside the caller's transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    job_id: JobId,
    event: &JobEvent,
) -> Result<EventRecord, StoreError> {
    let created_at = utc_now();
    let row = sqlx::query("insert into job_events (job_id, type, event, created_at) values (?, ?, ?, ?) returning id")
        .bind(job_id.to_string())
        .bind(event.type_name())
        .bind(json(event))
        .bind(&created_at)
        .fetch_one(connection)
        .await?;
    Ok(EventRecord { id: Some(get_u64(&row, "id")?), job_id, created_at, event: event.clone() })
}

impl Store {
    /// Stores training events in order, in one transaction, together with the facts that they bring: metrics rows of an
    /// evaluation, a checkpoint's row, warnings and progress of the job. Everything or nothing.
    ///
    /// [`TrainEvent::Progress`] has no place here: it only sets the job's progress and gets no id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the job is gone.
    pub async fn record_events(&self, job_id: JobId, events: &[TrainEvent]) -> Result<Vec<EventRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        jobs::find(&mut transaction, job_id).await?;
        let mut records = Vec::with_capacity(events.len());
        for event in events {
            apply(&mut transaction, job_id, event).await?;
            let event = JobEvent::Train(event.clone());
            if matches!(event, JobEvent::Train(TrainEvent::Progress { .. })) {
                records.push(EventRecord { id: None, job_id, created_at: utc_now(), event });
            } else {
                records.push(append(&mut transaction, job_id, &event).await?);
            }
        }
        transaction.commit().await?;
        Ok(records)
    }

    /// A job's events after the one numbered `last_id` (0 for all), oldest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn events_after(&self, job_id: JobId, last_id: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        let rows = sqlx::query("select * from job_events where job_id = ? and id > ? order by id limit ?")
            .bind(job_id.to_string())
            .bind(int(last_id))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(record).collect::<Result<Vec<_>, _>>()?)
    }

    /// A job's events before the one numbered `before` (the last ones where there is none), newest first, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn events_before(
        &self,
        job_id: JobId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let rows = sqlx::query("select * from job_events where job_id = ? and id < ? order by id desc limit ?")
            .bind(job_id.to_string())
            .bind(before.map_or(i64::MAX, int))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(record).collect::<Result<Vec<_>, _>>()?)
    }

    /// The last event of this type that a job told.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn last_event(&self, job_id: JobId, type_name: &str) -> Result<Option<EventRecord>, StoreError> {
        let row = sqlx::query("select * from job_events where job_id = ? and type = ? order by id desc limit 1")
            .bind(job_id.to_string())
            .bind(type_name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.as_ref().map(record).transpose()?)
    }

    /// Whether a job has told the event of this number.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn has_event(&self, job_id: JobId, id: u64) -> Result<bool, StoreError> {
        let row = sqlx::query("select 1 from job_events where job_id = ? and id = ?");
        Ok(row.bind(job_id.to_string()).bind(int(id)).fetch_optional(&self.pool).await?.is_some())
    }

    /// The losses that a job logged, `(step, loss)`, in order.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn training_losses(&self, job_id: JobId) -> Result<Vec<(u64, f64)>, StoreError> {
        let rows = sqlx::query(
            "select json_extract(event, '$.step') as step, json_extract(event, '$.loss') as loss
             from job_events where job_id = ? and type = 'step' order by id",
        )
        .bind(job_id.to_string())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .iter()
            .map(|row| Ok((get_u64(row, "step")?, row.try_get("loss")?)))
            .collect::<Result<Vec<_>, sqlx::Error>>()?)
    }
}

impl Store {
    /// What a job logged step by step, in order: all of it, or where it is more than `most`, every so many of it and the
    /// last.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn logged_steps(&self, job_id: JobId, most: u32) -> Result<Vec<LoggedStep>, StoreError> {
        let rows = sqlx::query(
            "select event from (
                select event, row_number() over (order by id) as number, count(*) over () as total
                from job_events where job_id = ?1 and type = 'step')
             where (number - 1) % ((total + ?2 - 1) / ?2) = 0 or number = total order by number",
        )
        .bind(job_id.to_string())
        .bind(most.max(1))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(|row| get_json(row, "event")).collect::<Result<Vec<_>, sqlx::Error>>()?)
    }
}

/// Writes the facts that an event brings.
async fn apply(connection: &mut SqliteConnection, job_id: JobId, event: &TrainEvent) -> Result<(), StoreError> {
    match event {
        TrainEvent::Phase { .. } => Ok(()),
        TrainEvent::Step { step, total_steps, .. } | TrainEvent::Progress { step, total_steps } => {
            jobs::set_progress(connection, job_id, *step, *total_steps).await
        }
        TrainEvent::Evaluation { metrics } => metrics::upsert(connection, job_id, metrics).await,
        TrainEvent::Checkpoint { epoch, step, size_bytes, sha256, metric, is_best } => {
            let checkpoint = Checkpoint {
                job_id,
                epoch: *epoch,
                step: *step,
                path: checkpoints::relative_path(job_id, *epoch),
                size_bytes: *size_bytes,
                sha256: sha256.clone(),
                metric: *metric,
                is_best: *is_best,
                created_at: utc_now(),
            };
            checkpoints::upsert(connection, &checkpoint).await?;
            // The run got somewhere: what killed the process before is not what kills it every time.
            sqlx::query("update jobs set crashes = 0 where id = ?")
                .bind(job_id.to_string())
                .execute(connection)
                .await?;
            Ok(())
        }
        TrainEvent::CheckpointRemoved { epoch } => checkpoints::remove(connection, job_id, *epoch).await,
        TrainEvent::Warning { message } => {
            // A run that goes on from a checkpoint may warn of the same thing again.
            sqlx::query(
                "update jobs set warnings = json_insert(warnings, '$[#]', ?1)
                 where id = ?2 and not exists (select 1 from json_each(warnings) where value = ?1)",
            )
            .bind(message)
            .bind(job_id.to_string())
            .execute(connection)
            .await?;
            Ok(())
        }
    }
}
