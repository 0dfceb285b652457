//! Evaluations as rows.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use crate::domain::{EvaluationMetrics, JobId, MetricKey};

use super::rows::{get_u64, int};
use super::{Store, StoreError};

impl Store {
    /// Stores an evaluation; an older one of the same epoch is replaced whole.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn upsert_evaluation(&self, job_id: JobId, metrics: &EvaluationMetrics) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        upsert(&mut transaction, job_id, metrics).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// A job's evaluations by epoch, the baseline first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn evaluations(&self, job_id: JobId) -> Result<Vec<EvaluationMetrics>, StoreError> {
        let rows = sqlx::query("select * from metrics where job_id = ? order by epoch")
            .bind(job_id.to_string())
            .fetch_all(&self.pool)
            .await?;
        let mut evaluations: Vec<EvaluationMetrics> = Vec::new();
        for row in &rows {
            let epoch: u32 = row.try_get("epoch")?;
            if evaluations.last().is_none_or(|last| last.epoch != epoch) {
                evaluations.push(EvaluationMetrics { epoch, step: get_u64(row, "step")?, values: BTreeMap::new() });
            }
            let last = evaluations.last_mut().expect("one was pushed if there was none");
            last.values.insert(key(get_u64(row, "dim")?, row.try_get("metric")?), row.try_get("value")?);
        }
        Ok(evaluations)
    }
}

/// The key of a row; the inverse of [`columns`].
fn key(dim: u64, metric: String) -> String {
    if dim == 0 { metric } else { format!("dim_{dim}_cosine_{metric}") }
}

/// The dimension and name of a key; dimension 0 where the key is not of one dimension.
fn columns(key: &str) -> (i64, &str) {
    match key.parse::<MetricKey>() {
        Ok(parsed) => (int(parsed.dim as u64), parsed.name()),
        Err(_) => (0, key),
    }
}

pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    job_id: JobId,
    metrics: &EvaluationMetrics,
) -> Result<(), StoreError> {
    sqlx::query("delete from metrics where job_id = ? and epoch = ?")
        .bind(job_id.to_string())
        .bind(metrics.epoch)
        .execute(&mut *connection)
        .await?;
    for (key, value) in &metrics.values {
        let (dim, metric) = columns(key);
        sqlx::query("insert into metrics (job_id, epoch, step, dim, metric, value) values (?, ?, ?, ?, ?, ?)")
            .bind(job_id.to_string())
            .bind(metrics.epoch)
            .bind(int(metrics.step))
            .bind(dim)
            .bind(metric.to_owned())
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
