//! `matryo logs`: what a job told, and what it tells.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::RemoteFlags;
use super::client::Client;
use super::follow::follow;
use super::list::id_of;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::cli::progress::{Lines, RunDisplay, in_words};
use crate::cli::signals::stop_requested;
use crate::cli::table::printable;
use crate::cli::units::moment;
use crate::domain::{EventRecord, JobEvent, JobId, JobStatus};

pub(in crate::cli) const EXAMPLE: &str = "Examples:\n  \
    matryo logs 019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11\n  \
    matryo logs -f first-try\n  \
    matryo logs -f first-try --json | jq -c 'select(.type == \"evaluation\")'\n\n\
    With `-f` the exit code tells how the job ended: 0 where it succeeded, 5 where it failed or was cancelled. Ctrl-C\n\
    ends the following alone: the job goes on.";

/// Events on a page, the most that the server gives.
const PAGE: &str = "1000";

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsCommand {
    /// The job, by id or by name.
    job: String,

    /// Goes on live until the job has ended.
    #[arg(long, short)]
    follow: bool,

    #[command(flatten)]
    remote: RemoteFlags,
}

impl LogsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), CliError> {
        self.remote.run(async |client| {
            let id = id_of(&client, "job", "jobs", &self.job).await?;
            match (self.follow, self.remote.json) {
                (true, true) => follow_as_json(&client, id).await,
                (true, false) => follow_in_words(&client, id, Lines::Stdout).await,
                (false, json) => told(&client, id, json).await,
            }
        })
    }
}

/// A page of stored events.
#[derive(Debug, Deserialize)]
struct EventsPage {
    data: Vec<Value>,
    next_cursor: Option<u64>,
}

/// Prints what is stored.
async fn told(client: &Client, id: JobId, json: bool) -> Result<(), CliError> {
    let id = id.to_string();
    let mut after = 0;
    loop {
        let query = [("limit", PAGE), ("last_event_id", &after.to_string())];
        let page: EventsPage = client.json(client.get(&["v1", "jobs", &id, "events"]).query(&query)).await?;
        let mut output = Output::lock();
        for event in page.data {
            if json {
                output.json_line(&event)?;
            } else if let Some(line) = EventRecord::deserialize(&event).ok().and_then(|record| line(&record)) {
                output.line(line)?;
            }
        }
        output.flush()?;
        let Some(cursor) = page.next_cursor else { return Ok(()) };
        after = cursor;
    }
}

/// Follows a job, an event a line of JSON on standard output.
pub(super) async fn follow_as_json(client: &Client, id: JobId) -> Result<(), CliError> {
    until_interrupted(id, follow(client, id, |event, _| output::print(event))).await?.expect_success()
}

/// Follows a job in words, with a bar on a terminal.
pub(in crate::cli) async fn follow_in_words(client: &Client, id: JobId, lines: Lines) -> Result<(), CliError> {
    let display = RunDisplay::below_log(lines);
    let followed = follow(client, id, |_, record| {
        let Some(record) = record else { return Ok(()) };
        if let JobEvent::Train(event) = &record.event {
            display.move_bar(event);
        }
        line(record).map_or(Ok(()), |line| display.line(&line))
    });
    let followed = until_interrupted(id, followed).await;
    display.end();
    followed?.expect_success()
}

/// Lets Ctrl-C end the following, and says what becomes of the job.
async fn until_interrupted<T>(id: JobId, following: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::select! {
        followed = following => followed,
        _ = stop_requested() => Err(CliError::Interrupted(format!(
            "the job goes on; `matryo logs -f {id}` follows it again, `matryo jobs cancel {id}` ends it"
        ))),
    }
}

/// An event as a line with its time; none for those that are for bars alone.
fn line(record: &EventRecord) -> Option<String> {
    let words = match &record.event {
        JobEvent::Train(event) => in_words(event)?,
        JobEvent::Status { status, message } => {
            let message = message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            let hint = match status {
                JobStatus::Paused => format!("; `matryo jobs resume {}` lets it go on", record.job_id),
                _ => String::new(),
            };
            format!("{}{message}{hint}", status.as_str())
        }
    };
    Some(format!("{}  {}", moment(&record.created_at), printable(&words)))
}
