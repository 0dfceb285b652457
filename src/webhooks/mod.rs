//! Webhooks: a job's end is told by a POST, as the Standard Webhooks specification has it (headers, signature, attempts).
//!
//! What is to be told stands in the database, written in the transaction that ended the job. A task sends what is due, and
//! writes down what each attempt came to; after a restart it goes on where it was. A receiver may hear of the same end
//! twice, where the server died between sending and writing, but always under the same `webhook-id`.
//!
//! A job's URL comes from a client, and the server stands where that client may not reach: such a URL leads to public
//! addresses alone, which is checked on the addresses that are connected to (`address`). The URL that the operator gave
//! may lead anywhere.

mod address;
mod client;
mod schedule;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::Url;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::JoinHandle;

use crate::domain::{EventRecord, JobEvent, Secret, WebhookTarget, utc_after, wait_until};
use crate::store::{DeliveryAttempt, DueDelivery, Store, StoreError};

pub use address::{check_url, is_public};
pub use schedule::Schedule;
pub use signature::SigningKey;

use client::{Clients, Outcome};

/// Deliveries under way at once, so that one slow receiver does not hold up the others.
const AT_ONCE: usize = 8;
/// How many are read from the database at once.
const BATCH: u32 = 32;
/// How long the task sleeps where nothing is due, or the database fails.
const NAP: Duration = Duration::from_secs(60);

/// What webhooks are sent by.
#[derive(Debug, Clone, Default)]
pub struct WebhookSettings {
    /// The server's own webhook, which hears of every job's end.
    pub server: Option<ServerWebhook>,
    /// Whether jobs' own URLs may lead to addresses that are not public.
    pub allow_private: bool,
    /// When to try again.
    pub schedule: Schedule,
}

/// The server's own webhook.
#[derive(Debug, Clone)]
pub struct ServerWebhook {
    url: Url,
    key: Option<SigningKey>,
}

impl ServerWebhook {
    /// Checks what the operator gave.
    ///
    /// # Errors
    /// Where it is no URL of HTTP or the secret is no key; says which and why.
    pub fn new(url: &str, secret: Option<&Secret>) -> Result<Self, String> {
        let url = check_url(url, true).map_err(|error| format!("--webhook-url: {error}"))?;
        let key = secret.map(SigningKey::read).transpose().map_err(|error| format!("--webhook-secret: {error}"))?;
        Ok(Self { url, key })
    }
}

/// Starts the task that sends; it ends when `events`, the jobs' events, end.
///
/// # Errors
/// Where the system gives no TLS to connect with.
pub fn start(
    store: Store,
    settings: WebhookSettings,
    events: Receiver<Arc<EventRecord>>,
) -> Result<JoinHandle<()>, reqwest::Error> {
    let clients = Clients::new(settings.allow_private)?;
    Ok(tokio::spawn(Sender { store, settings, clients }.run(events)))
}

struct Sender {
    store: Store,
    settings: WebhookSettings,
    clients: Clients,
}

impl Sender {
    async fn run(self, mut events: Receiver<Arc<EventRecord>>) {
        loop {
            let wait = match self.send_due().await {
                Ok(wait) => wait,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "webhooks cannot be read or written down");
                    NAP
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait.min(NAP)) => {}
                goes_on = an_end(&mut events) => if !goes_on {
                    return;
                }
            }
        }
    }

    /// Sends what is due; answers how long it is to the next.
    async fn send_due(&self) -> Result<Duration, StoreError> {
        loop {
            let due = self.store.due_deliveries(BATCH).await?;
            if due.is_empty() {
                break;
            }
            let sent = futures::stream::iter(due).map(|delivery| self.send(delivery)).buffer_unordered(AT_ONCE);
            let results: Vec<Result<(), StoreError>> = sent.collect().await;
            results.into_iter().collect::<Result<(), _>>()?;
        }
        let next = self.store.next_delivery_at().await?;
        Ok(next.map_or(NAP, |at| wait_until(&at).unwrap_or(NAP)))
    }

    async fn send(&self, delivery: DueDelivery) -> Result<(), StoreError> {
        let (status, error, final_) = match self.attempt(&delivery).await {
            Outcome::Delivered(status) => (Some(status), None, true),
            Outcome::Refused { status, error } => (status, Some(error), true),
            Outcome::Failed { status, error } => (status, Some(error), false),
        };
        let tried = delivery.attempts + 1;
        let wait = self.settings.schedule.wait(&delivery.id, tried).filter(|_| !final_);
        match &error {
            None => tracing::info!(delivery = delivery.id, job_id = %delivery.job_id, tried, "webhook delivered"),
            Some(error) => tracing::warn!(
                delivery = delivery.id,
                job_id = %delivery.job_id,
                target_of = delivery.target.as_str(),
                tried,
                error,
                again = wait.is_some(),
                "webhook not delivered"
            ),
        }
        let attempt = DeliveryAttempt { status, error, next_attempt_at: wait.map(utc_after) };
        self.store.record_attempt(&delivery.id, &attempt).await
    }

    async fn attempt(&self, delivery: &DueDelivery) -> Outcome {
        match delivery.target {
            WebhookTarget::Server => match &self.settings.server {
                Some(ServerWebhook { url, key }) => {
                    self.clients.post(true, url.clone(), key.as_ref(), &delivery.id, &delivery.payload).await
                }
                None => Outcome::refused("the server has no webhook of its own any more"),
            },
            WebhookTarget::Job => {
                // Both were checked when the job was submitted; the server's settings may have changed since then.
                let url = delivery.url.as_deref().ok_or_else(|| "the job has no webhook".to_owned());
                let url = url.and_then(|url| check_url(url, self.settings.allow_private));
                let key = delivery.secret.as_ref().map(SigningKey::read).transpose();
                match (url, key) {
                    (Ok(url), Ok(key)) => {
                        self.clients.post(false, url, key.as_ref(), &delivery.id, &delivery.payload).await
                    }
                    (Err(error), _) | (_, Err(error)) => Outcome::refused(error),
                }
            }
        }
    }
}

/// Waits for a job's end; false where no more can come.
async fn an_end(events: &mut Receiver<Arc<EventRecord>>) -> bool {
    loop {
        match events.recv().await {
            Ok(record) => match record.event {
                JobEvent::Status { status, .. } if status.is_final() => return true,
                JobEvent::Status { .. } | JobEvent::Train(_) => {}
            },
            // There may have been one among them.
            Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}
