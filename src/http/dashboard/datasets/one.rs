//! One dataset: what it is, how long its texts are, and its rows.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::histogram::histogram;
use super::list::columns;
use super::{job_list, users};
use crate::data::length_histogram::LengthHistogram;
use crate::domain::{Dataset, DatasetId, Model, ModelStatus, Split, SplitSource};
use crate::http::dashboard::format;
use crate::http::dashboard::layout::{Section, page};
use crate::http::dashboard::parts::{Tone, notice, scroll_box};
use crate::http::extract::{Path, Query};
use crate::http::routes::datasets::{RowsBody, read_rows, token_lengths};
use crate::http::{ApiError, AppState};

/// Rows on a page.
const ROWS: u32 = 20;

/// What of the dataset to show.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http::dashboard) struct OneQuery {
    split: Option<Split>,
    offset: Option<u64>,
    /// The model in whose tokens texts are counted.
    model: Option<String>,
}

/// A dataset's page.
pub(in crate::http::dashboard) async fn get_dataset(
    State(state): State<AppState>,
    Path(id): Path<DatasetId>,
    Query(query): Query<OneQuery>,
) -> Result<Response, ApiError> {
    let dataset = state.store.get_dataset(id).await?;
    if let Some(model) = query.model.as_deref().filter(|model| !model.is_empty()) {
        token_lengths(&state, id, model).await?;
    }
    let models = state.store.list_models(None, u32::MAX - 1).await?.items;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for model in models.into_iter().filter(|model| model.status == ModelStatus::Ready) {
        match state.store.get_token_lengths(id, model.id).await? {
            Some(lengths) => known.push((model, lengths)),
            None => unknown.push(model),
        }
    }
    let split = query.split.unwrap_or(Split::Train);
    let offset = query.offset.unwrap_or(0).min(1 << 53);
    let rows = read_rows(&state, id, split, offset, ROWS).await?;
    let jobs = users(&state, id).await?;
    let body = html! {
        div class="head" {
            h1 { (dataset.name) }
            div class="actions end" {
                a class="button primary" href={ "/ui/jobs/new?dataset=" (id) } { "Train a model on it" }
                a class="button danger" href={ "/ui/datasets/" (id) "/delete" } { "Delete…" }
            }
        }
        (warnings(&dataset))
        section class="card" { (facts(&dataset)) }
        div class="grid" {
            section class="card" {
                h2 { "Length in tokens" }
                (lengths(&dataset, &known, &unknown))
            }
            section class="card" {
                h2 { "Used by" }
                @if jobs.items.is_empty() { p class="muted" { "No job has used it yet." } } @else { (job_list(&jobs)) }
            }
        }
        section class="card" id="rows" {
            h2 { "Rows" }
            (tabs(&dataset, split))
            (rows_table(&rows, offset))
            (pager(&dataset, split, offset, &rows))
        }
    };
    Ok(page(&state, &dataset.name, Section::Datasets, &body))
}

fn facts(dataset: &Dataset) -> Markup {
    let format = serde_json::to_value(dataset.format).ok();
    let format = format.as_ref().and_then(|format| format.as_str()).unwrap_or_default();
    let ignored = &dataset.ignored_columns;
    html! {
        dl class="facts" {
            div { dt { "Rows to train on" } dd { (format::count(dataset.train_rows)) } }
            div { dt { "Rows to evaluate on" } dd { (format::count(dataset.eval_rows)) } }
            div { dt { "Split" } dd { (split_source(&dataset.split)) } }
            div { dt { "Columns" } dd { (columns(dataset)) } }
            @if let Some(id) = &dataset.mapping.id { div { dt { "Ids" } dd { code { (id) } } } }
            @if !ignored.is_empty() {
                div { dt { "Not read" } dd { @for (at, name) in ignored.iter().take(10).enumerate() { @if at > 0 { ", " } code { (name) } } @if ignored.len() > 10 { " and more" } } }
            }
            div { dt { "Repeated rows" } dd { (format::count(dataset.duplicate_rows)) } }
            div { dt { "Repeated passages" } dd { (format::count(dataset.duplicate_positives)) } }
            div { dt { "Layout" } dd { (format) } }
            div { dt { "Size" } dd { (format::bytes(dataset.size_bytes)) } }
            div { dt { "Uploaded" } dd { (format::time(&dataset.created_at)) } }
        }
        details {
            summary { "Id and SHA-256" }
            dl {
                dt { "Id" } dd { code { (dataset.id) } }
                dt { "SHA-256 of the file" } dd { code { (dataset.sha256) } }
                @if let Some(sha256) = &dataset.eval_sha256 { dt { "SHA-256 of the evaluation file" } dd { code { (sha256) } } }
            }
        }
    }
}

fn split_source(split: &SplitSource) -> String {
    match split {
        SplitSource::Fraction { test_size, seed } => {
            format!("{} drawn with seed {seed}", format::percent(*test_size))
        }
        SplitSource::File => "a file of its own".into(),
    }
}

/// What is odd about a dataset.
fn warnings(dataset: &Dataset) -> Markup {
    html! {
        @if dataset.empty_rows > 0 {
            (notice(Tone::Warning, &html! { p {
                (format::counted(dataset.empty_rows, "row has", "rows have")) " an empty text, which teaches nothing."
            } }))
        }
        @if dataset.eval_rows == 0 {
            (notice(Tone::Info, &html! { p {
                "No row is kept for evaluation: a job needs another dataset to evaluate on, or this one uploaded with a share."
            } }))
        }
    }
}

fn lengths(dataset: &Dataset, known: &[(Model, LengthHistogram)], unknown: &[Model]) -> Markup {
    html! {
        @if known.is_empty() && unknown.is_empty() {
            p class="muted" { "Get a model first: lengths are counted in its tokens." }
        }
        @for (model, lengths) in known {
            h3 { (model.name) }
            (histogram("Questions", &lengths.anchor, lengths.max_seq_length))
            (histogram("Passages", &lengths.positive, lengths.max_seq_length))
        }
        @if !unknown.is_empty() {
            form class="actions" method="get" action={ "/ui/datasets/" (dataset.id) } {
                label class="visually-hidden" for="model" { "Model" }
                select id="model" name="model" {
                    @for model in unknown { option value=(model.name) { (model.name) } }
                }
                button type="submit" { "Count its tokens" }
            }
        }
    }
}

fn address(dataset: &Dataset, split: Split, offset: u64) -> String {
    format!("/ui/datasets/{}?split={}&offset={offset}#rows", dataset.id, word(split))
}

fn word(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Eval => "eval",
    }
}

fn tabs(dataset: &Dataset, current: Split) -> Markup {
    html! {
        nav class="tabs" aria-label="Part" {
            ul {
                @for (split, name, count) in
                    [(Split::Train, "To train on", dataset.train_rows), (Split::Eval, "To evaluate on", dataset.eval_rows)] {
                    li {
                        a href=(address(dataset, split, 0)) aria-current=[(split == current).then_some("page")] {
                            (name) " (" (format::count(count)) ")"
                        }
                    }
                }
            }
        }
    }
}

fn rows_table(rows: &RowsBody, offset: u64) -> Markup {
    let table = html! {
        table class="texts" {
            thead { tr { th scope="col" class="num" { "Row" } th scope="col" { "Id" } th scope="col" { "Question" } th scope="col" { "Passage" } } }
            tbody {
                @for (number, row) in (offset + 1..).zip(&rows.rows) {
                    tr {
                        td class="num" { (format::count(number)) }
                        td { (row.id) }
                        td { (text(&row.anchor)) }
                        td { (text(&row.positive)) }
                    }
                }
            }
        }
    };
    html! {
        @if rows.rows.is_empty() { p class="muted" { "There are no rows here." } }
        @else { (scroll_box("Rows", &table)) }
    }
}

/// A text, of which a long one is folded.
fn text(text: &str) -> Markup {
    const FOLDED_CHARS: usize = 240;
    match text.char_indices().nth(FOLDED_CHARS) {
        None => html! { (text) },
        Some((end, _)) => html! {
            details class="text" { summary { (text[..end]) "…" } (text[end..]) }
        },
    }
}

fn pager(dataset: &Dataset, split: Split, offset: u64, rows: &RowsBody) -> Markup {
    let step = u64::from(ROWS);
    let end = offset.saturating_add(rows.rows.len() as u64);
    html! {
        @if rows.total > step || offset > 0 {
            nav class="actions" aria-label="Pages of rows" {
                @if offset > 0 { a class="button" href=(address(dataset, split, offset.saturating_sub(step))) { "Before" } }
                @if !rows.rows.is_empty() {
                    span class="muted" {
                        (format::count(offset + 1)) "–" (format::count(end)) " of " (format::count(rows.total))
                    }
                }
                @if end < rows.total { a class="button" href=(address(dataset, split, end)) { "Next" } }
            }
        }
    }
}
