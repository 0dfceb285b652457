//! All datasets, and the form that adds one.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::upload::{Next, UploadView};
use super::{count_of, rows, users};
use crate::domain::{Dataset, DatasetId, Job};
use crate::http::dashboard::format;
use crate::http::dashboard::layout::{Section, page_with_status, script};
use crate::http::dashboard::parts::scroll_box;
use crate::http::extract::Query;
use crate::http::page::PageQuery;
use crate::http::{ApiError, AppState};
use crate::store::{ListOrder, Page};

/// The list's first page, or the one that a cursor asks for.
pub(in crate::http::dashboard) async fn get_datasets(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    show(&state, &query, UploadView::default()).await
}

/// The list with the form that shows what went wrong with an upload.
pub(super) async fn after_upload(state: &AppState, upload: UploadView) -> Result<Response, ApiError> {
    show(state, &PageQuery::default(), upload).await
}

async fn show(state: &AppState, query: &PageQuery, upload: UploadView) -> Result<Response, ApiError> {
    let (after, limit) = query.read::<DatasetId>()?;
    let datasets = state.store.list_datasets(ListOrder::NewestFirst, after, limit).await?;
    let mut used_by = Vec::with_capacity(datasets.items.len());
    for dataset in &datasets.items {
        used_by.push(users(state, dataset.id).await?);
    }
    let body = html! {
        h1 { "Datasets" }
        p class="lead" { "Pairs of questions and the passages that answer them: what jobs train on and evaluate with." }
        details class="card" open[datasets.items.is_empty() || upload.is_wrong()] {
            summary { "Upload a file of pairs" }
            (upload.render(Next::Dataset))
        }
        section class="card" {
            h2 { @if after.is_some() { "Older datasets" } @else { "What is there" } }
            @if datasets.items.is_empty() {
                p class="muted" { "There is no dataset yet." }
            } @else {
                (scroll_box("Datasets", &table(&datasets.items, &used_by)))
            }
            @if let Some(cursor) = &datasets.next_cursor {
                p { a class="button" href={ "/ui/datasets?cursor=" (cursor) } { "Older datasets" } }
            }
            @if after.is_some() { p { a href="/ui/datasets" { "Back to the newest" } } }
        }
        (script("upload.js"))
    };
    Ok(page_with_status(upload.status(), state, "Datasets", Section::Datasets, &body))
}

fn table(datasets: &[Dataset], used_by: &[Page<Job>]) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Name" }
                    th scope="col" class="num" { "Rows" span class="sub" { "train + evaluation" } }
                    th scope="col" class="num" { "Size" }
                    th scope="col" { "Columns" }
                    th scope="col" { "Used by" }
                    th scope="col" { "Uploaded" }
                }
            }
            tbody {
                @for (dataset, jobs) in datasets.iter().zip(used_by) {
                    tr {
                        th scope="row" { a href={ "/ui/datasets/" (dataset.id) } { (dataset.name) } }
                        td class="num" { (rows(dataset)) }
                        td class="num" { (format::bytes(dataset.size_bytes)) }
                        td { (columns(dataset)) }
                        td { (count_of(jobs)) }
                        td class="nowrap" { (format::time(&dataset.created_at)) }
                    }
                }
            }
        }
    }
}

/// The columns that are read, as `question → passage`.
pub(super) fn columns(dataset: &Dataset) -> Markup {
    let mapping = &dataset.mapping;
    html! {
        code { (mapping.anchor.as_deref().unwrap_or_default()) } " → "
        code { (mapping.positive.as_deref().unwrap_or_default()) }
    }
}
