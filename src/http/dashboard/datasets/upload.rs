//! The form that uploads a file of pairs, on whichever page it stands, and what becomes of it.
//!
//! Without scripts it is a plain form. A script adds a look at the file before it is sent, selects of its columns in place of
//! their names, and progress; it sends the same form.

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use crate::data::columns::{ANCHOR_NAMES, ID_NAMES, POSITIVE_NAMES};
use crate::domain::RowError;
use crate::http::dashboard::form::{FormView, Input, Values};
use crate::http::dashboard::parts::{scroll_box, sentence};
use crate::http::dashboard::{format, new_job};
use crate::http::routes::datasets::take_upload;
use crate::http::upload::{FormTexts, UploadKind};
use crate::http::{ApiError, AppState, ErrorDetails};

/// What the browser offers to pick; the server looks at the content.
const ACCEPT: &str = ".csv,.tsv,.json,.jsonl,.ndjson,.parquet,.gz,.zst";
/// The fields that the form shows.
const FIELDS: [&str; 8] = ["file", "eval_file", "name", "anchor", "positive", "id", "test_size", "seed"];

/// Where the upload leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::dashboard) enum Next {
    /// The dataset's own page.
    Dataset,
    /// The form of a new job, with the dataset chosen.
    NewJob,
}

impl Next {
    const NEW_JOB: &str = "next=job";

    fn action(self) -> String {
        match self {
            Self::Dataset => "/ui/datasets".into(),
            Self::NewJob => format!("/ui/datasets?{}", Self::NEW_JOB),
        }
    }
}

/// The form as it is shown: empty, or as it came back with what is wrong.
#[derive(Debug, Default)]
pub(in crate::http::dashboard) struct UploadView {
    values: Values,
    error: Option<ApiError>,
}

/// Takes an upload.
pub(in crate::http::dashboard) async fn post_upload(
    State(state): State<AppState>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let next = if request.uri().query() == Some(Next::NEW_JOB) { Next::NewJob } else { Next::Dataset };
    // What the query says is for this page; the fields are the form's.
    *request.uri_mut() = Uri::from_static("/ui/datasets");
    let mut texts = FormTexts::new();
    match take_upload(state.clone(), request, UploadKind::Page, &mut texts).await {
        Ok(dataset) => {
            let target = match next {
                Next::Dataset => format!("/ui/datasets/{}", dataset.id),
                Next::NewJob => format!("/ui/jobs/new?dataset={}", dataset.id),
            };
            Ok(Redirect::to(&target).into_response())
        }
        Err(error) if error.code().status().is_server_error() => Err(error),
        Err(error) => {
            let upload = UploadView { values: Values::from(texts), error: Some(error) };
            match next {
                Next::Dataset => super::list::after_upload(&state, upload).await,
                Next::NewJob => new_job::after_upload(&state, upload).await,
            }
        }
    }
}

impl UploadView {
    /// True where the last upload failed.
    pub(in crate::http::dashboard) fn is_wrong(&self) -> bool {
        self.error.is_some()
    }

    /// The status of a page that shows it.
    pub(in crate::http::dashboard) fn status(&self) -> StatusCode {
        self.error.as_ref().map_or(StatusCode::OK, |error| error.code().status())
    }

    /// The form, and what is wrong with what it sent last.
    pub(in crate::http::dashboard) fn render(&self, next: Next) -> Markup {
        let errors = self.error.as_ref().map_or(&[][..], ApiError::field_errors);
        let form = FormView { values: &self.values, errors, prefix: "upload-" };
        let guessed = |names: &[&str]| format!("guessed: {}", names.join(", "));
        let input = |name: &str, label: &str, help: &str, placeholder: &str| {
            form.input(&Input { name, label, help, placeholder: Some(placeholder), ..Input::default() })
        };
        html! {
            form id="upload" method="post" action=(next.action()) enctype="multipart/form-data" {
                div id="upload-errors" { (self.errors(&form)) }
                div class="drop" {
                    (file(&form, "file", "File", "CSV, TSV, JSON, JSON Lines or Parquet, plain or packed by gzip or zstd. You can also drop it here.", true))
                }
                div id="upload-preview" aria-live="polite" hidden {}
                fieldset {
                    legend { "Columns" }
                    div class="fields" {
                        (input("anchor", "Question", "The column of the questions.", &guessed(&ANCHOR_NAMES)))
                        (input("positive", "Passage", "The column of the passages that answer them.", &guessed(&POSITIVE_NAMES)))
                        (input("id", "Id", "A column that names each row; rows are numbered where there is none.", &guessed(&ID_NAMES)))
                    }
                }
                fieldset {
                    legend { "Evaluation" }
                    p class="hint" { "Rows that are kept from training tell how good the model gets. They are drawn from the file, or come in a file of their own." }
                    div class="fields" {
                        (input("test_size", "Share of rows", "The share of the rows that evaluates, from 0 to below 1.", "0.1"))
                        (input("seed", "Seed", "Decides which rows are drawn.", "42"))
                        (file(&form, "eval_file", "Or a file", "All of its rows evaluate; leave the share blank then.", false))
                    }
                }
                (input("name", "Name", "What to call the dataset.", "the file's name"))
                div id="upload-progress" hidden {
                    progress max="100" value="0" aria-label="Upload" {}
                    p class="hint" role="status" {}
                }
                button class="primary" type="submit" { "Upload" }
            }
        }
    }

    fn errors(&self, form: &FormView<'_>) -> Markup {
        let Some(error) = &self.error else { return html! {} };
        match error.details() {
            Some(ErrorDetails::Fields { .. }) => html! {
                (form.summary(|field| FIELDS.contains(&field)))
                p class="hint" { "Browsers forget a file that a form has sent: please pick it again." }
            },
            Some(ErrorDetails::Rows { rows, total, checked }) => row_errors(error.message(), rows, *total, *checked),
            None => html! { div class="notice bad" role="alert" { p { (sentence(error.message())) } } },
        }
    }
}

/// Each bad row that is told, by line.
fn row_errors(message: &str, rows: &[RowError], total: u64, checked: u64) -> Markup {
    let table = html! {
        table {
            thead { tr { th scope="col" class="num" { "Line" } th scope="col" { "Column" } th scope="col" { "What is wrong" } } }
            tbody {
                @for row in rows {
                    tr {
                        td class="num" { (format::count(row.line)) }
                        td { @if let Some(field) = &row.field { code { (field) } } }
                        td { (row.message) }
                    }
                }
            }
        }
    };
    html! {
        div class="notice bad" role="alert" {
            p { (sentence(message)) " Nothing was kept: mend the file and upload it again." }
            (scroll_box("Bad rows", &table))
            @if total > rows.len() as u64 {
                p { "These are the first " (rows.len()) " errors; of " (format::count(checked)) " rows " (format::count(total)) " are bad." }
            }
        }
    }
}

fn file(form: &FormView<'_>, name: &str, label: &str, help: &str, required: bool) -> Markup {
    let control = html! {
        input id=(form.id(name)) name=(name) type="file" accept=(ACCEPT) required[required]
            aria-describedby=[form.described_by(name, help)] aria-invalid=[form.invalid(name)];
    };
    form.field(name, &label, help, &control)
}
