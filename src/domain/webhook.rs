//! Telling others of a job's end.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose URL is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookTarget {
    /// The one that the job was submitted with.
    Job,
    /// The one that the server was started with.
    Server,
}

impl WebhookTarget {
    /// The word that stands for it in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Server => "server",
        }
    }
}

impl FromStr for WebhookTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Job, Self::Server]
            .into_iter()
            .find(|target| target.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a target; expected `job` or `server`"))
    }
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It will be tried, or tried again.
    Pending,
    /// The receiver answered with a status of 2xx.
    Delivered,
    /// It is given up.
    Failed,
}

impl DeliveryStatus {
    /// The word that stands for it in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Pending, Self::Delivered, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a status; expected `pending`, `delivered` or `failed`"))
    }
}

/// One telling of a job's end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookDelivery {
    /// Names it; the receiver sees it as `webhook-id`, the same at each attempt.
    #[schema(examples("msg_019a3c5e7d1a7c3e9b1f2f6f0c8e4a11"))]
    pub id: String,
    /// Whose URL is told.
    pub target: WebhookTarget,
    /// What is told.
    #[schema(examples("job.succeeded"))]
    pub event: String,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was last tried (RFC 3339, UTC).
    pub last_attempt_at: Option<String>,
    /// The status that the receiver then answered with.
    pub last_status: Option<u16>,
    /// Why that attempt failed, where it did.
    pub last_error: Option<String>,
    /// When it is tried next.
    pub next_attempt_at: Option<String>,
    /// When the job ended.
    pub created_at: String,
}
