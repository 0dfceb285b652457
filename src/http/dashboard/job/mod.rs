//! A job's page: how it goes, what it reached, what it was told to do, and what can be done with it.

mod actions;
mod checkpoints;
mod configuration;
mod log;
mod progress;
mod results;
mod tables;
mod trade_off;
mod training;
mod trouble;
mod view;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::format;
use super::job_list::{job_title, took};
use super::layout::{Section, fragment, page_with_status, script};
use super::live::live_region;
use super::parts::{Tone, notice, sentence, status_badge};
use crate::domain::{JobId, JobStatus};
use crate::http::extract::Path;
use crate::http::{ApiError, AppState};
use view::JobView;

pub(super) use progress::{Running, progress_block};

/// The pages of a job, and what their forms do.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ui/jobs/{id}", get(get_job))
        .route("/ui/jobs/{id}/live", get(get_live))
        .route("/ui/jobs/{id}/log", get(log::get_log))
        .route("/ui/jobs/{id}/metrics.csv", get(tables::get_csv))
        .route("/ui/jobs/{id}/metrics.md", get(tables::get_markdown))
        .route("/ui/jobs/{id}/cancel", post(actions::cancel))
        .route("/ui/jobs/{id}/pause", post(actions::pause))
        .route("/ui/jobs/{id}/resume", post(actions::resume))
        .route("/ui/jobs/{id}/alias", post(actions::set_alias))
        .route("/ui/jobs/{id}/delete", get(actions::confirm_deletion).post(actions::delete))
}

/// The whole page.
async fn get_job(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    show(&state, id, StatusCode::OK, None).await
}

/// The part of the page that changes by itself.
async fn get_live(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    Ok(fragment(live(&JobView::read(&state, id).await?)))
}

/// The page, perhaps with a message about what was just tried.
async fn show(state: &AppState, id: JobId, status: StatusCode, message: Option<&str>) -> Result<Response, ApiError> {
    let view = JobView::read(state, id).await?;
    let title = job_title(&view.job);
    let body = html! {
        p class="small" { a href="/ui/jobs" { "Jobs" } " / " span class="muted" { (id) } }
        h1 { (title) }
        @if let Some(message) = message { (notice(Tone::Bad, &html! { p { (sentence(message)) } })) }
        (live(&view))
        (script("live.js"))
    };
    Ok(page_with_status(status, state, title, Section::Home, &body))
}

fn live(view: &JobView) -> Markup {
    let job = &view.job;
    let address = format!("/ui/jobs/{}/live", job.id);
    let parts = html! {
        (summary(view))
        (training::charts(view))
        (results::section(view))
        (trade_off::section(view))
        (tables::section(view))
        (checkpoints::section(view))
        (configuration::section(view))
        (log::section(view))
    };
    let words = match &view.running {
        Some(running) => format!("Running, {}", running.stage()),
        None => job.status.as_str().to_owned(),
    };
    live_region(&address, view.events_address().as_deref(), None, &words, &parts)
}

/// How it stands, and what can be done.
fn summary(view: &JobView) -> Markup {
    let job = &view.job;
    html! {
        section class="card" id="summary" data-part aria-label="Status" {
            div class="head" {
                (status_badge(job.status))
                @if job.cancel_requested { span class="muted" { "is being cancelled" } }
                @else if job.pause_requested { span class="muted" { "is being paused" } }
                div class="end" { (actions::buttons(job)) }
            }
            @match &view.running {
                Some(running) => (progress_block(running)),
                None if job.status == JobStatus::Paused => (notice(Tone::Info, &html! {
                    p { "It waits until you resume it, and then goes on from its last checkpoint" (progress::of_steps(job)) "." }
                })),
                None if job.status == JobStatus::Queued => (notice(Tone::Info, &html! {
                    p { "It waits for its turn. One job trains at a time." }
                })),
                None => {}
            }
            @if job.status == JobStatus::Succeeded { (verdict(view)) }
            (trouble::section(job))
            dl class="facts" {
                div { dt { "Base model" } dd { (job.base_model) } }
                div {
                    dt { "Dataset" }
                    dd {
                        @match &view.dataset {
                            Some(name) => a href={ "/ui/datasets/" (job.dataset_id) } { (name) },
                            None => span class="muted" { "deleted" },
                        }
                    }
                }
                div { dt { "Created" } dd { (format::time(&job.created_at)) } }
                div { dt { @if view.running.is_some() { "Running for" } @else { "Took" } } dd { (took(job)) } }
                @if let Some(course) = &view.course {
                    div {
                        dt { "Best " (super::parts::metric_name(&course.key)) }
                        dd {
                            (format::score(course.best.unwrap_or(course.baseline)))
                            @if let Some(best) = course.best { " " (super::parts::delta(best - course.baseline)) }
                        }
                    }
                }
                @if let Some(bytes) = job.peak_memory_bytes {
                    div { dt { "Peak memory" } dd { (format::bytes(bytes)) } }
                }
                @if let Some(bytes) = job.peak_gpu_memory_bytes {
                    div { dt { "Peak memory of the GPU" } dd { (format::bytes(bytes)) } }
                }
                @if let Some(profile) = &job.profile {
                    div { dt { "Speed" } dd { (format::count(profile.tokens_per_second as u64)) " tokens/s" } }
                }
            }
            @if job.status == JobStatus::Succeeded {
                p class="actions after-facts" {
                    a class="button primary" href={ "/ui/playground?job=" (job.id) } { "Try it in the playground" }
                }
            }
        }
    }
}

/// Whether training helped, in a sentence.
fn verdict(view: &JobView) -> Markup {
    let Some(course) = &view.course else { return html! {} };
    let Some((best, epoch)) = course.best.zip(course.best_epoch) else { return html! {} };
    let name = super::parts::metric_name(&course.key);
    let [before, after] = [course.baseline, best].map(format::score);
    let (tone, text) = if best > course.baseline {
        (Tone::Good, format!("Training helped: {name} rose from {before} to {after}, in epoch {epoch}."))
    } else {
        let advice = "More or cleaner pairs, a lower learning rate or fewer epochs may do better.";
        (Tone::Warning, format!("Training did not help: {name} was {before} before and is {after} at best. {advice}"))
    };
    notice(tone, &html! { p { (text) } })
}
