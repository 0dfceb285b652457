//! What a job told, in words.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::format;
use super::super::job_list::job_title;
use super::super::layout::{Section, page};
use super::super::parts::{metric_name, scroll_box};
use super::view::JobView;
use crate::domain::{EventRecord, Job, JobEvent, JobId, JobStatus, TrainEvent, TrainPhase};
use crate::http::extract::{Path, Query};
use crate::http::{ApiError, AppState};

/// Events on a page of the log.
const ON_A_PAGE: u32 = 200;

/// The last events.
pub(super) fn section(view: &JobView) -> Markup {
    html! {
        section class="card" id="log" data-part aria-labelledby="log-title" {
            div class="head" {
                h2 id="log-title" { "Log" }
                a class="end" href={ "/ui/jobs/" (view.job.id) "/log" } { "The whole log" }
            }
            (table(&view.job, &view.events))
        }
    }
}

/// From where on to show the log.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    before: Option<u64>,
}

/// The whole log, newest first, page by page.
pub(super) async fn get_log(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    Query(LogQuery { before }): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let job = state.store.get_job(id).await?;
    let events = state.store.events_before(id, before, ON_A_PAGE).await?;
    let oldest = events.last().and_then(|record| record.id).filter(|_| events.len() == ON_A_PAGE as usize);
    let body = html! {
        p class="small" { a href="/ui/jobs" { "Jobs" } " / " a href={ "/ui/jobs/" (id) } { (job_title(&job)) } }
        h1 { "Log" }
        section class="card" aria-label="Events" {
            @if events.is_empty() { p class="muted" { "There is nothing before that." } } @else { (table(&job, &events)) }
        }
        nav class="pages" aria-label="Pages" {
            @if before.is_some() { a href={ "/ui/jobs/" (id) "/log" } { "Newest" } }
            @if let Some(oldest) = oldest { a href={ "/ui/jobs/" (id) "/log?before=" (oldest) } rel="next" { "Older" } }
        }
    };
    Ok(page(&state, &format!("Log of {}", job_title(&job)), Section::Home, &body))
}

fn table(job: &Job, events: &[EventRecord]) -> Markup {
    let table = html! {
        table class="log" {
            caption class="visually-hidden" { "Events, newest first" }
            thead { tr { th scope="col" { "When" } th scope="col" { "What" } } }
            tbody {
                @for record in events {
                    tr {
                        td class="nowrap" { (format::time(&record.created_at)) }
                        td { (in_words(job, &record.event)) }
                    }
                }
            }
        }
    };
    scroll_box("Events", &table)
}

fn in_words(job: &Job, event: &JobEvent) -> String {
    let metric = || metric_name(job.training.metric_for_best_model.as_deref().unwrap_or_default());
    match event {
        JobEvent::Status { status, message } => {
            let done = match status {
                JobStatus::Queued => "The job waits in the queue",
                JobStatus::Running => "The job runs",
                JobStatus::Paused => "The job is paused",
                JobStatus::Succeeded => "The job has succeeded",
                JobStatus::Failed => "The job has failed",
                JobStatus::Cancelled => "The job is cancelled",
            };
            message.as_ref().map_or_else(|| format!("{done}."), |message| format!("{done}: {message}."))
        }
        JobEvent::Train(TrainEvent::Phase { phase, epoch }) => match phase {
            TrainPhase::Tokenize => "Texts become tokens.".into(),
            TrainPhase::Baseline => "The base model is evaluated.".into(),
            TrainPhase::Train => format!("Epoch {:.0} begins.", epoch.floor() + 1.0),
            TrainPhase::Evaluate => format!("The model is evaluated after epoch {epoch:.0}."),
            TrainPhase::Save => format!("The checkpoint of epoch {epoch:.0} is written."),
        },
        JobEvent::Train(TrainEvent::Step {
            step,
            total_steps,
            loss,
            learning_rate,
            grad_norm,
            pairs_per_second,
            ..
        }) => {
            format!(
                "Step {} of {}: loss {loss:.4}, learning rate {}, gradient norm {}, {} pairs/s.",
                format::count(*step),
                format::count(*total_steps),
                format::number(*learning_rate),
                format::number(*grad_norm),
                format::number(pairs_per_second.round()),
            )
        }
        JobEvent::Train(TrainEvent::Progress { step, total_steps }) => {
            format!("Step {} of {}.", format::count(*step), format::count(*total_steps))
        }
        JobEvent::Train(TrainEvent::Evaluation { metrics }) => {
            let key = job.training.metric_for_best_model.as_deref().unwrap_or_default();
            let value = metrics.values.get(key).map_or_else(|| "unknown".into(), |value| format::score(*value));
            match metrics.epoch {
                0 => format!("The base model's {} is {value}.", metric()),
                epoch => format!("After epoch {epoch}, {} is {value}.", metric()),
            }
        }
        JobEvent::Train(TrainEvent::Checkpoint { epoch, size_bytes, is_best, .. }) => {
            let best = if *is_best { ", the best so far" } else { "" };
            format!("The checkpoint of epoch {epoch} is on disk{best} ({}).", format::bytes(*size_bytes))
        }
        JobEvent::Train(TrainEvent::CheckpointRemoved { epoch }) => {
            format!("The checkpoint of epoch {epoch} was deleted, to keep to save_total_limit.")
        }
        JobEvent::Train(TrainEvent::Warning { message }) => format!("Warning: {message}."),
    }
}
