//! Jobs in numbers.

use sqlx::Row;

use crate::domain::{JobFigures, JobStatus, RunningJob};

use super::rows::{get_optional_json, get_parsed, get_u64};
use super::{Store, StoreError};

impl Store {
    /// How many jobs stand where, and how far the running one has come.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn job_figures(&self) -> Result<JobFigures, StoreError> {
        let rows =
            sqlx::query("select status, count(*) as jobs from jobs group by status").fetch_all(&self.pool).await?;
        let mut by_status: Vec<(JobStatus, u64)> = JobStatus::ALL.into_iter().map(|status| (status, 0)).collect();
        for row in &rows {
            let status: JobStatus = get_parsed(row, "status")?;
            let jobs = get_u64(row, "jobs")?;
            by_status.iter_mut().filter(|(known, _)| *known == status).for_each(|(_, count)| *count = jobs);
        }
        let row = sqlx::query(
            "select id, step, total_steps,
                (select event from job_events where job_id = jobs.id and type = 'step' order by id desc limit 1) as event
             from jobs where status = 'running'",
        );
        let Some(row) = row.fetch_optional(&self.pool).await? else {
            return Ok(JobFigures { by_status, running: None });
        };
        let total_steps: Option<i64> = row.try_get("total_steps")?;
        let running = RunningJob {
            id: get_parsed(&row, "id")?,
            step: get_u64(&row, "step")?,
            total_steps: total_steps.map(i64::cast_unsigned),
            last_step: get_optional_json(&row, "event")?,
        };
        Ok(JobFigures { by_status, running: Some(running) })
    }
}
