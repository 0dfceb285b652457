//! The evaluations as the recipe prints them: the main columns first, all others at hand, and the whole as a file.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::super::format;
use super::super::parts::scroll_box;
use super::results::SHOWN;
use super::view::JobView;
use crate::domain::{JobId, MetricKey, MetricsRow};
use crate::http::extract::Path;
use crate::http::routes::metrics;
use crate::http::{ApiError, AppState};

/// What stands where there is no value, as in the recipe's own table.
const NO_LOG: &str = "No log";
const SEQUENTIAL_SCORE: &str = "sequential_score";

/// The table; nothing before the baseline.
pub(super) fn section(view: &JobView) -> Markup {
    let rows = view.table.rows();
    if rows.is_empty() {
        return html! {};
    }
    let dims = view.job.training.dims();
    let best = view.course.as_ref().and_then(|course| course.best_epoch);
    let columns = view.table.columns();
    html! {
        section class="card" id="epochs" data-part aria-labelledby="epochs-title" {
            div class="head" {
                h2 id="epochs-title" { "Epochs" }
                div class="end actions" {
                    a class="button" href={ "/ui/jobs/" (view.job.id) "/metrics.csv" } download { "CSV" }
                    a class="button" href={ "/ui/jobs/" (view.job.id) "/metrics.md" } download { "Markdown" }
                }
            }
            (scroll_box("Main metrics by epoch", &main_table(rows, dims, best)))
            details id="all-metrics" {
                summary { "All " (columns) " columns" }
                @for dim in dims {
                    (scroll_box(&format!("All metrics at {dim} dimensions"), &dimension_table(rows, *dim, best)))
                }
                (scroll_box("Losses and the sequential score", &other_table(rows, best)))
            }
        }
    }
}

fn main_table(rows: &[MetricsRow], dims: &[usize], best: Option<u32>) -> Markup {
    html! {
        table {
            caption class="visually-hidden" { "Main metrics by epoch" }
            thead {
                tr {
                    th scope="col" class="num" { "Epoch" }
                    th scope="col" class="num" { "Step" }
                    th scope="col" class="num" { "Training loss" }
                    @for dim in dims { th scope="col" class="num" { (SHOWN) br; "dim " (dim) } }
                }
            }
            tbody {
                @for row in rows {
                    (epoch_row(row, best, html! {
                        td class="num" { (format::count(row.step)) }
                        td class="num" { (row.training_loss.map_or_else(|| NO_LOG.to_owned(), |loss| format!("{loss:.4}"))) }
                        @for dim in dims { td class="num" { (value(row, *dim, SHOWN)) } }
                    }))
                }
            }
        }
    }
}

fn dimension_table(rows: &[MetricsRow], dim: usize, best: Option<u32>) -> Markup {
    html! {
        table {
            caption { (dim) " dimensions" }
            thead {
                tr {
                    th scope="col" class="num" { "Epoch" }
                    @for name in MetricKey::NAMES { th scope="col" class="num" { (name) } }
                }
            }
            tbody {
                @for row in rows {
                    (epoch_row(row, best, html! {
                        @for name in MetricKey::NAMES { td class="num" { (value(row, dim, name)) } }
                    }))
                }
            }
        }
    }
}

/// What belongs to no dimension.
fn other_table(rows: &[MetricsRow], best: Option<u32>) -> Markup {
    html! {
        table {
            caption { "Losses and the sequential score" }
            thead {
                tr {
                    th scope="col" class="num" { "Epoch" }
                    th scope="col" class="num" { "Training loss" }
                    th scope="col" class="num" { "Validation loss" }
                    th scope="col" class="num" { "Sequential score" }
                }
            }
            tbody {
                @for row in rows {
                    (epoch_row(row, best, html! {
                        td class="num" { (row.training_loss.map_or_else(|| NO_LOG.to_owned(), |loss| format!("{loss:.6}"))) }
                        td class="num" { (NO_LOG) }
                        td class="num" {
                            (row.values.get(SEQUENTIAL_SCORE).map_or_else(|| NO_LOG.to_owned(), |score| format!("{score:.6}")))
                        }
                    }))
                }
            }
        }
    }
}

fn epoch_row(row: &MetricsRow, best: Option<u32>, cells: Markup) -> Markup {
    let is_best = best == Some(row.epoch);
    html! {
        tr class=[is_best.then_some("best")] {
            th scope="row" class="num" {
                @if is_best { span class="badge best" { "best" } " " }
                (row.epoch)
                @if row.epoch == 0 { span class="sub" { "base model" } }
            }
            (cells)
        }
    }
}

fn value(row: &MetricsRow, dim: usize, name: &str) -> String {
    let key = MetricKey::new(dim, name).map(|key| key.to_string());
    let value = key.and_then(|key| row.values.get(&key).copied());
    value.map_or_else(|| NO_LOG.to_owned(), |value| format!("{value:.6}"))
}

/// The whole table as comma-separated values.
pub(super) async fn get_csv(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let table = metrics::table(&state, id).await?;
    Ok(file("text/csv; charset=utf-8", &format!("job-{id}-metrics.csv"), table.to_csv()))
}

/// The whole table as Markdown.
pub(super) async fn get_markdown(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let table = metrics::table(&state, id).await?;
    Ok(file("text/markdown; charset=utf-8", &format!("job-{id}-metrics.md"), table.to_markdown()))
}

fn file(content_type: &'static str, name: &str, body: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).expect("an id is printable")),
    ];
    (headers, body).into_response()
}
