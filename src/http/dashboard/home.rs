//! The home page: what runs, what waits, what was done.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::format;
use super::job::{Running, progress_block};
use super::job_list::{JobRow, job_table, job_title};
use super::layout::{Section, fragment, page, script};
use super::live::live_region;
use crate::domain::{Job, JobStatus, ModelStatus};
use crate::http::{ApiError, AppState};
use crate::store::{JobFilter, ListOrder};

/// Jobs that the home page shows.
const RECENT: u32 = 10;
/// Waiting jobs that it shows.
const WAITING: u32 = 20;
/// How often the page looks for a change while nothing runs.
const POLL_SECONDS: u32 = 10;

/// What the page shows.
struct Home {
    running: Option<Running>,
    waiting: Vec<Job>,
    waiting_in_all: u64,
    recent: Vec<JobRow>,
    has_model: bool,
    has_dataset: bool,
}

/// The whole page.
pub(super) async fn get_home(State(state): State<AppState>) -> Result<Response, ApiError> {
    let home = Home::read(&state).await?;
    let body = html! {
        div class="head" {
            h1 { "Jobs and queue" }
            div class="end actions" { a class="button primary" href="/ui/jobs/new" { "New job" } }
        }
        (home.live())
        (script("live.js"))
    };
    Ok(page(&state, "Home", Section::Home, &body))
}

/// The part of the page that changes by itself.
pub(super) async fn get_live(State(state): State<AppState>) -> Result<Response, ApiError> {
    Ok(fragment(Home::read(&state).await?.live()))
}

impl Home {
    async fn read(state: &AppState) -> Result<Self, ApiError> {
        let running = JobFilter { status: Some(JobStatus::Running), ..JobFilter::default() };
        let running = match state.store.list_jobs(&running, None, 1).await?.items.pop() {
            Some(job) => Some(Running::read(state, job).await?),
            None => None,
        };
        let recent = state.store.list_jobs(&JobFilter::default(), None, RECENT).await?.items;
        let models = state.store.list_models(None, 100).await?.items;
        Ok(Self {
            running,
            waiting: state.store.queued_jobs(WAITING).await?,
            waiting_in_all: state.store.count_jobs(JobStatus::Queued).await?,
            recent: JobRow::read(state, recent).await?,
            has_model: models.iter().any(|model| model.status == ModelStatus::Ready),
            has_dataset: !state.store.list_datasets(ListOrder::NewestFirst, None, 1).await?.items.is_empty(),
        })
    }

    fn live(&self) -> Markup {
        let events = self.running.as_ref().map(Running::events_address);
        let words = match &self.running {
            Some(running) => format!("{} is running, {}", job_title(&running.job), running.stage()),
            None => "Nothing is running".into(),
        };
        live_region(
            "/ui/live",
            events.as_deref(),
            Some(POLL_SECONDS),
            &words,
            &html! {
                @if self.recent.is_empty() { (self.first_steps()) } @else {
                    (self.now())
                    section class="card" id="recent" data-part aria-labelledby="recent-title" {
                        div class="head" {
                            h2 id="recent-title" { "Recent jobs" }
                            a class="end" href="/ui/jobs" { "All jobs" }
                        }
                        (job_table("Recent jobs, newest first", &self.recent))
                    }
                }
            },
        )
    }

    /// What runs and what waits.
    fn now(&self) -> Markup {
        html! {
            div class="grid wide" id="now" data-part {
                section class="card" aria-labelledby="running-title" {
                    @match &self.running {
                        Some(running) => {
                            div class="head" {
                                h2 id="running-title" {
                                    "Running: " a href={ "/ui/jobs/" (running.job.id) } { (job_title(&running.job)) }
                                }
                            }
                            (progress_block(running))
                        }
                        None => {
                            h2 id="running-title" { "Nothing is running" }
                            p class="muted" { "A job starts as soon as one is submitted." }
                        }
                    }
                }
                section class="card" aria-labelledby="queue-title" {
                    h2 id="queue-title" { "Queue" }
                    @if self.waiting.is_empty() {
                        p class="muted" { "No job is waiting." }
                    } @else {
                        ol class="queue" {
                            @for job in &self.waiting {
                                li {
                                    a href={ "/ui/jobs/" (job.id) } { (job_title(job)) }
                                    span class="muted" { " " (job.base_model) ", submitted " (format::time(&job.created_at)) }
                                }
                            }
                        }
                        @if self.waiting_in_all > self.waiting.len() as u64 {
                            p { a href="/ui/jobs?status=queued" { "All " (format::count(self.waiting_in_all)) " waiting jobs" } }
                        }
                    }
                }
            }
        }
    }

    /// What to do where there is no job yet.
    fn first_steps(&self) -> Markup {
        let step = |done: bool, address: &str, name: &str, why: &str| {
            html! {
                li class=[done.then_some("done")] {
                    h3 {
                        a href=(address) { (name) }
                        @if done { " " span class="badge ready" { "done" } }
                    }
                    p class="muted" { (why) }
                }
            }
        };
        html! {
            section class="card" id="first-steps" data-part aria-labelledby="first-title" {
                h2 id="first-title" { "There is no job yet. Three steps lead to one:" }
                ol class="steps" {
                    (step(self.has_model, "/ui/models", "Get a base model", "Pull one from the Hugging Face Hub, or register a folder \
                        of this machine. all-MiniLM-L6-v2 is small and trains on any processor."))
                    (step(self.has_dataset, "/ui/datasets", "Upload your data", "Questions, each with the passage that answers it, as CSV, \
                        TSV, JSON, JSON Lines or Parquet. Some hundred pairs will do to begin with."))
                    (step(false, "/ui/jobs/new", "Start a job", "The defaults are those of the recipe. You see it train, and whether it \
                        helped."))
                }
            }
        }
    }
}
