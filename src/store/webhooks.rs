//! Deliveries of webhooks: made with a job's end, and what became of them.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::domain::{Job, JobId, Secret, WebhookDelivery, WebhookTarget, utc_now};

use super::rows::{get_parsed, json};
use super::{Store, StoreError};

/// A delivery whose time has come.
#[derive(Debug, Clone, PartialEq)]
pub struct DueDelivery {
    /// Names it.
    pub id: String,
    /// The job that ended.
    pub job_id: JobId,
    /// Whose URL is told.
    pub target: WebhookTarget,
    /// The job's own URL, where it is the target.
    pub url: Option<String>,
    /// The key that signs it, where it is the job's own.
    pub secret: Option<Secret>,
    /// The body.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The status that the receiver answered with.
    pub status: Option<u16>,
    /// Why it failed; none where it did not.
    pub error: Option<String>,
    /// When it is to be tried again; none where it is not.
    pub next_attempt_at: Option<String>,
}

/// What a receiver gets.
#[derive(Serialize)]
struct Payload<'a> {
    id: &'a str,
    event: &'a str,
    timestamp: &'a str,
    job: &'a Job,
}

fn delivery(row: &SqliteRow) -> Result<WebhookDelivery, sqlx::Error> {
    Ok(WebhookDelivery {
        id: row.try_get("id")?,
        target: get_parsed(row, "target")?,
        event: row.try_get("event")?,
        status: get_parsed(row, "status")?,
        attempts: row.try_get("attempts")?,
        last_attempt_at: row.try_get("last_attempt_at")?,
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        created_at: row.try_get("created_at")?,
    })
}

fn due(row: &SqliteRow) -> Result<DueDelivery, sqlx::Error> {
    let secret: Option<String> = row.try_get("secret")?;
    Ok(DueDelivery {
        id: row.try_get("id")?,
        job_id: get_parsed(row, "job_id")?,
        target: get_parsed(row, "target")?,
        url: row.try_get("url")?,
        secret: secret.map(Secret::new),
        payload: row.try_get("payload")?,
        attempts: row.try_get("attempts")?,
    })
}

impl Store {
    /// Makes what is to be told of a job that the same transaction ended.
    pub(super) async fn announce_end(&self, connection: &mut SqliteConnection, job: &Job) -> Result<(), StoreError> {
        let own = job.webhook_url.is_some().then_some(WebhookTarget::Job);
        let event = format!("job.{}", job.status.as_str());
        for target in own.into_iter().chain(self.tells_server.then_some(WebhookTarget::Server)) {
            let id = format!("msg_{}", Uuid::now_v7().simple());
            let timestamp = utc_now();
            sqlx::query(
                "insert into webhook_deliveries (id, job_id, target, event, payload, next_attempt_at, created_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            )
            .bind(&id)
            .bind(job.id.to_string())
            .bind(target.as_str())
            .bind(&event)
            .bind(json(&Payload { id: &id, event: &event, timestamp: &timestamp, job }))
            .bind(&timestamp)
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    /// Deliveries whose time has come, the longest due first, at most `limit`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn due_deliveries(&self, limit: u32) -> Result<Vec<DueDelivery>, StoreError> {
        let rows = sqlx::query(
            "select d.id, d.job_id, d.target, d.payload, d.attempts,
                iif(d.target = 'job', j.webhook_url, null) as url,
                iif(d.target = 'job', j.webhook_secret, null) as secret
             from webhook_deliveries d join jobs j on j.id = d.job_id
             where d.status = 'pending' and d.next_attempt_at <= ? order by d.next_attempt_at limit ?",
        )
        .bind(utc_now())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(due).collect::<Result<Vec<_>, _>>()?)
    }

    /// When the next delivery is due; none where none is pending.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_delivery_at(&self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("select min(next_attempt_at) as at from webhook_deliveries where status = 'pending'");
        Ok(row.fetch_one(&self.pool).await?.try_get("at")?)
    }

    /// Writes down what an attempt came to. A job that was deleted meanwhile has taken its deliveries along, which is no
    /// error.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_attempt(&self, id: &str, attempt: &DeliveryAttempt) -> Result<(), StoreError> {
        sqlx::query(
            "update webhook_deliveries set attempts = attempts + 1, last_attempt_at = ?2, last_status = ?3,
                last_error = ?4, next_attempt_at = ?5,
                status = case when ?4 is null then 'delivered' when ?5 is null then 'failed' else 'pending' end
             where id = ?1 and status = 'pending'",
        )
        .bind(id)
        .bind(utc_now())
        .bind(attempt.status)
        .bind(&attempt.error)
        .bind(&attempt.next_attempt_at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What a job's ends were told by, the oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn deliveries(&self, job_id: JobId) -> Result<Vec<WebhookDelivery>, StoreError> {
        let rows = sqlx::query("select * from webhook_deliveries where job_id = ? order by id")
            .bind(job_id.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(delivery).collect::<Result<Vec<_>, _>>()?)
    }
}
