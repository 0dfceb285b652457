//! Datasets: the list, one of them, the upload, and their end.

mod delete;
mod histogram;
mod list;
mod one;
pub(super) mod upload;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::format;
use super::parts::status_badge;
use crate::domain::{Dataset, DatasetId, Job};
use crate::http::{ApiError, AppState};
use crate::store::{JobFilter, Page};

/// Pages that ask the database and the disk a little.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ui/datasets", get(list::get_datasets))
        .route("/ui/datasets/{id}/delete", get(delete::get_delete).post(delete::post_delete))
}

/// Pages that take a file, or count tokens, as long as this needs.
pub(super) fn slow_routes() -> Router<AppState> {
    // The upload's own bound holds.
    let upload =
        Router::new().route("/ui/datasets", post(upload::post_upload)).route_layer(DefaultBodyLimit::disable());
    upload.route("/ui/datasets/{id}", get(one::get_dataset))
}

/// Jobs that are named where a page says who uses what.
const SHOWN_JOBS: u32 = 20;

/// The newest jobs that use a dataset.
async fn users(state: &AppState, id: DatasetId) -> Result<Page<Job>, ApiError> {
    let filter = JobFilter { dataset: Some(id), ..JobFilter::default() };
    Ok(state.store.list_jobs(&filter, None, SHOWN_JOBS).await?)
}

/// Jobs by name, with how they stand.
pub(super) fn job_list(jobs: &Page<Job>) -> Markup {
    html! {
        ul class="jobs" {
            @for job in &jobs.items {
                li {
                    a href={ "/ui/jobs/" (job.id) } { (job.name.clone().unwrap_or_else(|| job.id.to_string())) } " "
                    (status_badge(job.status))
                }
            }
            @if jobs.next_cursor.is_some() { li { "and older ones" } }
        }
    }
}

/// `1,234 + 56`: rows to train on and rows to evaluate on.
fn rows(dataset: &Dataset) -> String {
    format!("{} + {}", format::count(dataset.train_rows), format::count(dataset.eval_rows))
}

/// `3 jobs`.
pub(super) fn count_of(jobs: &Page<Job>) -> String {
    let count = jobs.items.len() as u64;
    match jobs.next_cursor {
        Some(_) => format!("more than {count} jobs"),
        None if count == 0 => "no job".into(),
        None => format::counted(count, "job", "jobs"),
    }
}
