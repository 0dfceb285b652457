//! `matryo jobs list`, `show` and `checkpoints`.

use serde::Deserialize;
use serde_json::Value;

use super::super::client::Client;
use super::super::list::{Items, PageFlags};
use super::of_job;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::table::{Cell, Facts, Table};
use crate::cli::units::{bytes, duration, moment, seconds_between};
use crate::domain::{Checkpoint, Job, JobId, JobStatus, utc_now};

pub(super) async fn list(
    client: &Client,
    status: Option<JobStatus>,
    page: &PageFlags,
    json: bool,
) -> Result<(), CliError> {
    let query: Vec<_> = status.iter().map(|status| ("status", status.as_str())).collect();
    let items = page.read(client, &["v1", "jobs"], &query).await?;
    if json {
        return output::print_json(&items);
    }
    let mut table = Table::new(["ID", "~NAME", "STATUS", ">STEPS", "~MODEL", "CREATED", ">TOOK"]);
    for job in items.typed::<Job>()? {
        table.row([
            job.id.to_string().into(),
            job.name.as_deref().unwrap_or_default().into(),
            Cell::status(job.status.as_str()),
            steps(&job).into(),
            job.base_model.as_str().into(),
            moment(&job.created_at).into(),
            took(&job).unwrap_or_default().into(),
        ]);
    }
    table.print("there are no jobs")?;
    items.tell_of_more();
    Ok(())
}

/// A job, and what the server says of it besides.
#[derive(Debug, Deserialize)]
struct JobDetails {
    #[serde(flatten)]
    job: Job,
    progress: Option<f64>,
    best_metric: Option<MetricCourse>,
}

/// The metric that decides which checkpoint is best.
#[derive(Debug, Deserialize)]
struct MetricCourse {
    key: String,
    baseline: f64,
    latest: f64,
    latest_epoch: u32,
    best: Option<f64>,
    best_epoch: Option<u32>,
}

pub(super) async fn show(client: &Client, id: JobId, json: bool) -> Result<(), CliError> {
    let answer: Value = client.json(of_job(client, id, &[])).await?;
    if json {
        return output::print_json(&answer);
    }
    let JobDetails { job, progress, best_metric } = serde_json::from_value(answer)?;
    let mut facts = Facts::default();
    facts.add("job", id.to_string());
    facts.add_some("name", job.name.as_deref());
    facts.add("status", Cell::status(job.status.as_str()));
    if let Some(error) = &job.error {
        facts.add("error", format!("{} ({})", error.message, error.code));
    }
    facts.add("base model", job.base_model.as_str());
    facts.add("dataset", job.dataset_id.to_string());
    facts.add_some("evaluated on", job.eval_dataset_id.map(|id| id.to_string()));
    facts.add_some("steps", progress.map(|share| format!("{} ({:.0} %)", steps(&job), 100.0 * share)));
    if let Some(course) = best_metric {
        facts.add("metric", course.key.as_str());
        facts.add("before", format!("{:.4}", course.baseline));
        facts.add("latest", format!("{:.4} (epoch {})", course.latest, course.latest_epoch));
        let best = course.best.zip(course.best_epoch);
        facts.add_some("best", best.map(|(value, epoch)| format!("{value:.4} (epoch {epoch})")));
    }
    facts.add("created", moment(&job.created_at));
    facts.add_some("started", job.started_at.as_deref().map(moment));
    facts.add_some("finished", job.finished_at.as_deref().map(moment));
    facts.add_some("took", took(&job));
    facts.add_some("peak memory", job.peak_memory_bytes.map(bytes));
    facts.add_some("peak memory of the GPU", job.peak_gpu_memory_bytes.map(bytes));
    for warning in &job.warnings {
        facts.add("warning", warning.as_str());
    }
    for (key, value) in job.metadata.iter().flatten() {
        facts.add("metadata", format!("{key}={value}"));
    }
    facts.print()
}

/// A checkpoint, and the name to embed with it by.
#[derive(Debug, Deserialize)]
struct NamedCheckpoint {
    #[serde(flatten)]
    checkpoint: Checkpoint,
    model: String,
}

pub(super) async fn checkpoints(client: &Client, id: JobId, json: bool) -> Result<(), CliError> {
    let answer: Value = client.json(of_job(client, id, &["checkpoints"])).await?;
    if json {
        return output::print_json(&answer);
    }
    let items: Items = serde_json::from_value(answer)?;
    let mut table = Table::new([">EPOCH", ">STEP", ">METRIC", "BEST", ">SIZE", "CREATED", "MODEL"]);
    for NamedCheckpoint { checkpoint, model } in items.typed()? {
        table.row([
            checkpoint.epoch.to_string().into(),
            checkpoint.step.to_string().into(),
            format!("{:.4}", checkpoint.metric).into(),
            if checkpoint.is_best { "best" } else { "" }.into(),
            bytes(checkpoint.size_bytes).into(),
            moment(&checkpoint.created_at).into(),
            model.into(),
        ]);
    }
    table.print("the job has no checkpoint yet")
}

fn steps(job: &Job) -> String {
    job.total_steps.map_or_else(String::new, |total| format!("{}/{total}", job.step))
}

/// From the start to the end, or to now.
fn took(job: &Job) -> Option<String> {
    let now = utc_now();
    let end = match job.status {
        JobStatus::Running => &now,
        _ => job.finished_at.as_ref()?,
    };
    seconds_between(job.started_at.as_ref()?, end).map(duration)
}
