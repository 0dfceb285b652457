//! Jobs as rows of a table, on the home page and on a page of their own.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::format;
use super::layout::{Section, page};
use super::parts::{delta, metric_name, scroll_box, status_badge};
use super::plots::spark_line;
use crate::domain::{DatasetId, Job, JobId, JobStatus};
use crate::http::extract::Query;
use crate::http::routes::jobs::MetricCourse;
use crate::http::{ApiError, AppState};
use crate::store::{JobFilter, StoreError};

/// Jobs on a page.
const ON_A_PAGE: u32 = 25;

/// A job and what its row shows of it.
pub(super) struct JobRow {
    job: Job,
    /// Its dataset's name; none where that has been deleted.
    dataset: Option<String>,
    course: Option<MetricCourse>,
    /// The metric that decides which checkpoint is best, by epoch.
    values: Vec<f64>,
}

impl JobRow {
    /// What the rows of these jobs show.
    pub(super) async fn read(state: &AppState, jobs: Vec<Job>) -> Result<Vec<Self>, ApiError> {
        let mut names: HashMap<DatasetId, Option<String>> = HashMap::new();
        let mut rows = Vec::with_capacity(jobs.len());
        for job in jobs {
            let dataset = match names.get(&job.dataset_id) {
                Some(known) => known.clone(),
                None => dataset_name(state, job.dataset_id).await?,
            };
            names.insert(job.dataset_id, dataset.clone());
            let evaluations = state.store.evaluations(job.id).await?;
            let key = job.training.metric_for_best_model.as_deref().unwrap_or_default();
            let values = evaluations.iter().filter_map(|evaluation| evaluation.values.get(key).copied()).collect();
            let course = MetricCourse::new(key, &evaluations);
            rows.push(Self { dataset, course, values, job });
        }
        Ok(rows)
    }
}

/// A dataset's name; none where it has been deleted.
pub(super) async fn dataset_name(state: &AppState, id: DatasetId) -> Result<Option<String>, ApiError> {
    match state.store.get_dataset(id).await {
        Ok(dataset) => Ok(Some(dataset.name)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a job is called.
pub(super) fn job_title(job: &Job) -> &str {
    job.name.as_deref().unwrap_or("Untitled job")
}

/// The jobs as a table.
pub(super) fn job_table(caption: &str, rows: &[JobRow]) -> Markup {
    let table = html! {
        table {
            caption class="visually-hidden" { (caption) }
            thead {
                tr {
                    th scope="col" { "Status" }
                    th scope="col" { "Job" }
                    th scope="col" { "Dataset" }
                    th scope="col" { "Created" }
                    th scope="col" class="num" { "Took" }
                    th scope="col" class="num" { "Best metric" }
                    th scope="col" { "By epoch" }
                }
            }
            tbody { @for row in rows { (table_row(row)) } }
        }
    };
    scroll_box(caption, &table)
}

fn table_row(JobRow { job, dataset, course, values }: &JobRow) -> Markup {
    let metric = job.training.metric_for_best_model.as_deref().unwrap_or_default();
    html! {
        tr {
            td { (status_badge(job.status)) }
            th scope="row" {
                a href={ "/ui/jobs/" (job.id) } { (job_title(job)) }
                span class="sub" { (job.base_model) }
            }
            td {
                @match dataset {
                    Some(name) => a href={ "/ui/datasets/" (job.dataset_id) } { (name) },
                    None => span class="muted" { "deleted" },
                }
            }
            td class="nowrap" { (format::time(&job.created_at)) }
            td class="num" { (took(job)) }
            td class="num" {
                @if let Some(course) = course {
                    @let value = course.best.unwrap_or(course.baseline);
                    (format::score(value))
                    @if course.best.is_some() { " " (delta(value - course.baseline)) }
                    span class="sub" { (metric_name(&course.key)) }
                } @else { span class="muted" { "–" } }
            }
            td { (spark_line(&course_in_words(metric, values), values)) }
        }
    }
}

fn course_in_words(metric: &str, values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|value| format::score(*value)).collect();
    format!("{}, the baseline first: {}", metric_name(metric), values.join(", "))
}

/// How long a job ran, or has run by now.
pub(super) fn took(job: &Job) -> String {
    let Some(started) = &job.started_at else { return "–".into() };
    let now = crate::domain::utc_now();
    let end = match (&job.finished_at, job.status) {
        (Some(finished), _) => finished,
        (None, JobStatus::Running) => &now,
        (None, _) => return "–".into(),
    };
    format::seconds_between(started, end).map_or_else(|| "–".into(), format::duration)
}

/// Which jobs to show.
#[derive(Debug, Deserialize)]
pub(super) struct JobsQuery {
    /// Empty for all, as the form sends it.
    #[serde(default)]
    status: String,
    cursor: Option<JobId>,
}

/// All jobs, newest first, page by page.
pub(super) async fn get_jobs(
    State(state): State<AppState>,
    Query(query): Query<JobsQuery>,
) -> Result<Response, ApiError> {
    let status: Option<JobStatus> = match query.status.as_str() {
        "" => None,
        word => Some(word.parse().map_err(|message: String| ApiError::invalid_field("status", message))?),
    };
    let filter = JobFilter { status, ..JobFilter::default() };
    let jobs = state.store.list_jobs(&filter, query.cursor, ON_A_PAGE).await?;
    let rows = JobRow::read(&state, jobs.items).await?;
    let word = status.map(JobStatus::as_str);
    let body = html! {
        div class="head" {
            h1 { "Jobs" }
            div class="end actions" { a class="button primary" href="/ui/jobs/new" { "New job" } }
        }
        form class="filter" method="get" action="/ui/jobs" {
            label for="status" { "Status" }
            select id="status" name="status" {
                option value="" selected[status.is_none()] { "all" }
                @for known in JobStatus::ALL {
                    option value=(known.as_str()) selected[status == Some(known)] { (known.as_str()) }
                }
            }
            button type="submit" { "Show" }
        }
        section class="card" aria-label="Jobs" {
            @if rows.is_empty() {
                p class="muted" { "There is no " @if let Some(word) = word { (word) " " } "job here." }
            } @else {
                (job_table("Jobs, newest first", &rows))
            }
        }
        nav class="pages" aria-label="Pages" {
            @if query.cursor.is_some() {
                a href={ "/ui/jobs?status=" (word.unwrap_or_default()) } { "Newest" }
            }
            @if let Some(cursor) = &jobs.next_cursor {
                a href={ "/ui/jobs?status=" (word.unwrap_or_default()) "&cursor=" (cursor) } rel="next" { "Older jobs" }
            }
        }
    };
    Ok(page(&state, "Jobs", Section::Home, &body))
}
