//! Checkpoints' rows; the folders are the trainer's.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::domain::{Checkpoint, JobId, ModelReference, ModelSummary, TrainingArguments};

use super::rows::{get_json, get_optional_json, get_parsed, get_u64, int};
use super::{Store, StoreError};

/// A job's checkpoint, and what makes a model of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServableCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// What the job's owner calls it.
    pub job_name: Option<String>,
    /// The model that the job started from, by name.
    pub base_model: String,
    /// The job's hyperparameters.
    pub training: TrainingArguments,
    /// What the model that it started from is; none where that has been deleted.
    pub base_summary: Option<ModelSummary>,
}

/// What a [`ServableCheckpoint`] is read from.
const SERVABLE: &str = "select checkpoints.*, jobs.name as job_name, jobs.base_model, jobs.training, models.summary
    from checkpoints join jobs on jobs.id = checkpoints.job_id left join models on models.name = jobs.base_model";

fn servable(row: &SqliteRow) -> Result<ServableCheckpoint, sqlx::Error> {
    Ok(ServableCheckpoint {
        checkpoint: checkpoint(row)?,
        job_name: row.try_get("job_name")?,
        base_model: row.try_get("base_model")?,
        training: get_json(row, "training")?,
        base_summary: get_optional_json(row, "summary")?,
    })
}

fn checkpoint(row: &SqliteRow) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint {
        job_id: get_parsed(row, "job_id")?,
        epoch: row.try_get("epoch")?,
        step: get_u64(row, "step")?,
        path: row.try_get("path")?,
        size_bytes: get_u64(row, "size_bytes")?,
        sha256: row.try_get("sha256")?,
        metric: row.try_get("metric")?,
        is_best: row.try_get("is_best")?,
        created_at: row.try_get("created_at")?,
    })
}

/// Where a checkpoint's folder lies below the data directory, as `DataDir::checkpoints` and the trainer have it.
pub(super) fn relative_path(job_id: JobId, epoch: u32) -> String {
    format!("jobs/{job_id}/checkpoints/epoch-{epoch}")
}

impl Store {
    /// Stores a checkpoint's row; an older one of the same epoch is replaced, and the best is only ever one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn upsert_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        upsert(&mut transaction, checkpoint).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A job's checkpoints by epoch.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_checkpoints(&self, job_id: JobId) -> Result<Vec<Checkpoint>, StoreError> {
        let rows = sqlx::query("select * from checkpoints where job_id = ? order by epoch")
            .bind(job_id.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(checkpoint).collect::<Result<Vec<_>, _>>()?)
    }

    /// One checkpoint.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn get_checkpoint(&self, job_id: JobId, epoch: u32) -> Result<Checkpoint, StoreError> {
        let row = sqlx::query("select * from checkpoints where job_id = ? and epoch = ?")
            .bind(job_id.to_string())
            .bind(epoch)
            .fetch_optional(&self.pool)
            .await?;
        let row = row.ok_or_else(|| StoreError::not_found("checkpoint", format!("job:{job_id}@epoch-{epoch}")))?;
        Ok(checkpoint(&row)?)
    }

    /// A job's best checkpoint so far.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it has none yet.
    pub async fn best_checkpoint(&self, job_id: JobId) -> Result<Checkpoint, StoreError> {
        let row = sqlx::query("select * from checkpoints where job_id = ? and is_best = 1")
            .bind(job_id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let row = row.ok_or_else(|| StoreError::not_found("checkpoint", format!("job:{job_id}@best")))?;
        Ok(checkpoint(&row)?)
    }

    /// The best checkpoints of all jobs that have one, the newest job's first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn list_best_checkpoints(&self) -> Result<Vec<ServableCheckpoint>, StoreError> {
        let statement = format!("{SERVABLE} where is_best = 1 order by job_id desc");
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(servable).collect::<Result<Vec<_>, sqlx::Error>>()?)
    }

    /// A checkpoint as a model: a job's best, or that of an epoch.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is none.
    pub async fn servable_checkpoint(
        &self,
        job_id: JobId,
        epoch: Option<u32>,
    ) -> Result<ServableCheckpoint, StoreError> {
        let statement = format!("{SERVABLE} where job_id = ?1 and iif(?2 is null, is_best = 1, epoch = ?2)");
        let row = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(job_id.to_string())
            .bind(epoch)
            .fetch_optional(&self.pool)
            .await?;
        let name = || match epoch {
            None => ModelReference::JobBest(job_id),
            Some(epoch) => ModelReference::JobEpoch(job_id, epoch),
        };
        Ok(servable(&row.ok_or_else(|| StoreError::not_found("model", name()))?)?)
    }

    /// Deletes a checkpoint's row, where there is one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn delete_checkpoint(&self, job_id: JobId, epoch: u32) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        remove(&mut connection, job_id, epoch).await
    }
}

pub(super) async fn upsert(connection: &mut SqliteConnection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    if checkpoint.is_best {
        sqlx::query("update checkpoints set is_best = 0 where job_id = ?")
            .bind(checkpoint.job_id.to_string())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "insert into checkpoints (job_id, epoch, step, path, size_bytes, sha256, metric, is_best, created_at)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)
         on conflict (job_id, epoch) do update set step = excluded.step, path = excluded.path,
            size_bytes = excluded.size_bytes, sha256 = excluded.sha256, metric = excluded.metric,
            is_best = excluded.is_best, created_at = excluded.created_at",
    )
    .bind(checkpoint.job_id.to_string())
    .bind(checkpoint.epoch)
    .bind(int(checkpoint.step))
    .bind(&checkpoint.path)
    .bind(int(checkpoint.size_bytes))
    .bind(&checkpoint.sha256)
    .bind(checkpoint.metric)
    .bind(checkpoint.is_best)
    .bind(&checkpoint.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn remove(connection: &mut SqliteConnection, job_id: JobId, epoch: u32) -> Result<(), StoreError> {
    sqlx::query("delete from checkpoints where job_id = ? and epoch = ?")
        .bind(job_id.to_string())
        .bind(epoch)
        .execute(connection)
        .await?;
    Ok(())
}
