//! `matryo jobs`: the jobs of a server.

mod create;
mod download;
pub(in crate::cli) mod metrics;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::RemoteFlags;
use super::client::Client;
use super::list::{PageFlags, id_of};
use crate::cli::confirm::ConfirmFlag;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::progress::say;
use crate::domain::{Job, JobId, JobStatus};

/// How often a job is looked at that is to stop.
const WAIT_PAUSE: Duration = Duration::from_millis(300);

const LIST_EXAMPLE: &str = "Examples:\n  \
    matryo jobs list\n  \
    matryo jobs list --status running --json\n  \
    matryo jobs list --all --url https://matryo.example";
const SHOW_EXAMPLE: &str =
    "Examples:\n  matryo jobs show first-try\n  matryo jobs show first-try --json | jq .progress";
const CANCEL_EXAMPLE: &str = "Example:\n  matryo jobs cancel first-try\n\n\
    What the job has written stays, and `matryo jobs resume` lets it go on.";
const PAUSE_EXAMPLE: &str = "Example:\n  matryo jobs pause first-try\n\n\
    It goes on from its last checkpoint when it is resumed.";
const RESUME_EXAMPLE: &str = "Examples:\n  matryo jobs resume first-try\n  matryo jobs resume first-try --follow";
const DELETE_EXAMPLE: &str = "Example:\n  matryo jobs delete first-try --yes\n\n\
    A job that has not ended is to be cancelled first.";
const CHECKPOINTS_EXAMPLE: &str = "Example:\n  matryo jobs checkpoints first-try";

#[derive(Debug, Args)]
pub(in crate::cli) struct JobsCommand {
    #[command(flatten)]
    remote: RemoteFlags,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists jobs, newest first.
    #[command(after_help = LIST_EXAMPLE)]
    List {
        /// Only jobs that stand so: queued, running, paused, succeeded, failed or cancelled.
        #[arg(long, value_name = "STATUS")]
        status: Option<JobStatus>,

        #[command(flatten)]
        page: PageFlags,
    },
    /// Shows a job, how far it is, and what it has reached.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(JobArgument),
    /// Submits a job and prints its id.
    #[command(after_help = create::EXAMPLE)]
    Create(Box<create::CreateCommand>),
    /// Ends a job: at once where it waits, within a moment where it runs.
    #[command(after_help = CANCEL_EXAMPLE)]
    Cancel(StopArguments),
    /// Stops a job that may go on later.
    #[command(after_help = PAUSE_EXAMPLE)]
    Pause(StopArguments),
    /// Lets a paused, failed or cancelled job go on.
    #[command(after_help = RESUME_EXAMPLE)]
    Resume {
        #[command(flatten)]
        job: JobArgument,

        /// Follows it to its end, as `matryo logs -f` does.
        #[arg(long)]
        follow: bool,
    },
    /// Deletes a job that has ended, with its events, metrics and checkpoints.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        #[command(flatten)]
        job: JobArgument,

        #[command(flatten)]
        confirm: ConfirmFlag,
    },
    /// Prints a job's metrics, a row an epoch; epoch 0 is the model before training.
    #[command(after_help = metrics::EXAMPLE)]
    Metrics(metrics::MetricsCommand),
    /// Lists a job's checkpoints.
    #[command(after_help = CHECKPOINTS_EXAMPLE)]
    Checkpoints(JobArgument),
    /// Downloads a checkpoint as a folder or as an archive, and prints where it is.
    #[command(after_help = download::EXAMPLE)]
    Download(download::DownloadCommand),
}

/// The job that is meant.
#[derive(Debug, Args)]
struct JobArgument {
    /// The job, by id or by name.
    job: String,
}

impl JobArgument {
    async fn id(&self, client: &Client) -> Result<JobId, CliError> {
        id_of(client, "job", "jobs", &self.job).await
    }
}

impl JobsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), CliError> {
        let json = self.remote.json;
        self.remote.run(async |client| match &self.action {
            Action::List { status, page } => show::list(&client, *status, page, json).await,
            Action::Show(job) => show::show(&client, job.id(&client).await?, json).await,
            Action::Create(create) => create.run(&client, json).await,
            Action::Cancel(stop) => stop.run(&client, "cancel", json).await,
            Action::Pause(stop) => stop.run(&client, "pause", json).await,
            Action::Resume { job, follow } => {
                let id = job.id(&client).await?;
                let job = act(&client, id, "resume").await?;
                match (follow, json) {
                    (true, _) => create::follow_job(&client, id, json).await,
                    (false, true) => output::print_json(&job),
                    (false, false) => tell(serde_json::from_value(job)?),
                }
            }
            Action::Delete { job, confirm } => delete(&client, job.id(&client).await?, confirm, json).await,
            Action::Metrics(metrics) => metrics.run(&client, json).await,
            Action::Checkpoints(job) => show::checkpoints(&client, job.id(&client).await?, json).await,
            Action::Download(download) => download.run(&client, json).await,
        })
    }
}

/// How to stop a job.
#[derive(Debug, Args)]
struct StopArguments {
    #[command(flatten)]
    job: JobArgument,

    /// Waits until it has stopped.
    #[arg(long)]
    wait: bool,
}

impl StopArguments {
    async fn run(&self, client: &Client, action: &str, json: bool) -> Result<(), CliError> {
        let id = self.job.id(client).await?;
        let mut answer = act(client, id, action).await?;
        while self.wait && answer["status"] == JobStatus::Running.as_str() {
            tokio::time::sleep(WAIT_PAUSE).await;
            answer = client.json(of_job(client, id, &[])).await?;
        }
        if json { output::print_json(&answer) } else { tell(serde_json::from_value(answer)?) }
    }
}

/// Has something done with a job; the job as it is then.
async fn act(client: &Client, id: JobId, action: &str) -> Result<Value, CliError> {
    Ok(client.act(&["v1", "jobs", &id.to_string(), action]).await?)
}

/// Says how a job stands.
fn tell(job: Job) -> Result<(), CliError> {
    let soon = match (job.status, job.cancel_requested, job.pause_requested) {
        (JobStatus::Running, true, _) => ", and will be cancelled within a moment",
        (JobStatus::Running, _, true) => ", and will pause within a moment",
        _ => "",
    };
    say(&format!("job {} is {}{soon}", job.id, job.status.as_str()));
    Ok(())
}

async fn delete(client: &Client, id: JobId, confirm: &ConfirmFlag, json: bool) -> Result<(), CliError> {
    confirm.delete(&format!("job {id} with its metrics and checkpoints"))?;
    client.delete(&["v1", "jobs", &id.to_string()]).await?;
    deleted("job", &id.to_string(), json)
}

/// Tells that something is gone.
pub(super) fn deleted(kind: &str, name: &str, json: bool) -> Result<(), CliError> {
    if json {
        return output::print_json(&serde_json::json!({"deleted": name}));
    }
    say(&format!("{kind} {name} is deleted"));
    Ok(())
}

/// Begins to ask for something of a job.
fn of_job(client: &Client, id: JobId, rest: &[&str]) -> reqwest::RequestBuilder {
    let id = id.to_string();
    client.get(&[&["v1", "jobs", id.as_str()], rest].concat())
}
