//! Follows a job's events to its end, over connections that break and servers that start again.

use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::{Method, Response};

use super::client::Client;
use super::refusal::ClientError;
use super::sse::EventParser;
use crate::cli::error::CliError;
use crate::cli::progress::say;
use crate::domain::{EventRecord, JobEvent, JobId, JobStatus};

/// How long a server that was there may be away.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The server sends something every 15 seconds; where nothing comes for so long, the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);

/// How a job ended.
#[derive(Debug)]
pub(in crate::cli) struct JobEnd {
    status: JobStatus,
    message: Option<String>,
}

impl JobEnd {
    /// An error, where it did not succeed.
    pub(in crate::cli) fn expect_success(self) -> Result<(), CliError> {
        let Self { status, message } = self;
        if status == JobStatus::Succeeded {
            return Ok(());
        }
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        Err(CliError::JobEnded(format!("the job {}{message}", has_ended(status))))
    }
}

fn has_ended(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "was cancelled",
        other => other.as_str(),
    }
}

/// Follows a job to its end. `on_event` gets each event as it came, and what it says where that is known to this version.
pub(in crate::cli) async fn follow(
    client: &Client,
    id: JobId,
    mut on_event: impl FnMut(&str, Option<&EventRecord>) -> Result<(), CliError>,
) -> Result<JobEnd, CliError> {
    let mut last_id = None;
    let mut end = None;
    let mut away: Option<Away> = None;
    loop {
        match connect(client, id, last_id.as_deref()).await {
            Ok(response) => {
                let mut pieces = response.bytes_stream();
                let mut parser = EventParser::default();
                while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, pieces.next()).await {
                    for event in parser.push(&piece) {
                        away = None;
                        last_id = event.id.or(last_id);
                        let record = serde_json::from_str::<EventRecord>(&event.data).ok();
                        if let Some(JobEvent::Status { status, message }) = record.as_ref().map(|record| &record.event)
                        {
                            // What has ended may have been resumed.
                            end = status.is_final().then(|| JobEnd { status: *status, message: message.clone() });
                        }
                        on_event(&event.data, record.as_ref())?;
                    }
                }
                if let Some(end) = end {
                    return Ok(end);
                }
            }
            // At first nobody is there; later it may come back.
            Err(error) if last_id.is_none() || !may_pass(&error) => return Err(error.into()),
            Err(_) => {}
        }
        let away = away.get_or_insert_with(|| {
            say(&format!("the connection to {} broke off; connecting again", client.address()));
            Away { since: Instant::now(), pause: FIRST_PAUSE }
        });
        if away.since.elapsed() > PATIENCE {
            return Err(CliError::Unreachable(format!(
                "{} does not answer any more; the job goes on once the server does, and `matryo logs -f {id}` follows it",
                client.address()
            )));
        }
        tokio::time::sleep(away.pause).await;
        away.pause = (away.pause * 2).min(LONGEST_PAUSE);
    }
}

/// A server that was there and is not.
struct Away {
    since: Instant,
    pause: Duration,
}

async fn connect(client: &Client, id: JobId, last_id: Option<&str>) -> Result<Response, ClientError> {
    let mut request = client.request(Method::GET, &["v1", "jobs", &id.to_string(), "events"]);
    request = request.header("accept", "text/event-stream");
    if let Some(last_id) = last_id {
        request = request.header("last-event-id", last_id);
    }
    client.send(request).await
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) => true,
        ClientError::Refused(refusal) => refusal.is_temporary(),
        // A proxy whose server is away answers in its own words.
        ClientError::Odd(_) => true,
    }
}
