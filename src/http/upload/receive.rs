//! Takes an upload's body apart: a multipart form, or the file itself.

use std::error::Error;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::{HeaderMap, HeaderName, header};
use futures::StreamExt;

use crate::domain::FieldError;
use crate::http::{ApiError, ErrorCode};

use super::UploadFolder;
use super::body::{BodyError, Unread, bounded};
use super::fields::{FINE_TUNE, MAX_FIELD_BYTES, UploadFields, UploadKind};

/// Parts of a form, known or not.
const MAX_PARTS: usize = 64;

/// What was received, on disk.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(super) kind: UploadKind,
    pub(super) fields: UploadFields,
    pub(super) file: ReceivedFile,
    pub(super) eval_file: Option<ReceivedFile>,
}

/// The texts of a form's fields as they came, for a page that shows them again.
pub(crate) type FormTexts = Vec<(String, String)>;

/// A file as received, on disk.
#[derive(Debug)]
pub(super) struct ReceivedFile {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    pub(super) name: Option<String>,
    pub(super) content_type: Option<String>,
}

/// Receives an upload of at most `limit` bytes into `folder`. A dataset comes as a form or as a body of its own, anything
/// else as a form. `texts` takes the fields, however that ends.
///
/// # Errors
/// 400, 408, 413, 415 and 507 as soon as they show; 422 with all wrong fields at the end.
pub(crate) async fn receive(
    request: Request,
    kind: UploadKind,
    limit: u64,
    folder: &UploadFolder,
    texts: &mut FormTexts,
) -> Result<Upload, ApiError> {
    let announced = header_text(request.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    if announced.is_some_and(|length: u64| length > limit) {
        return Err(BodyError::TooLarge(limit).into());
    }
    let mut received = Received::new(kind, texts);
    let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::MalformedRequest, error.body_text()))?;
    for (field, text) in query {
        received.set(&field, &text);
    }
    let content_type = header_text(request.headers(), header::CONTENT_TYPE);
    if essence(content_type.as_deref()) == "multipart/form-data" {
        receive_form(request, limit, folder, &mut received).await?;
    } else if kind != UploadKind::Dataset {
        let message = "the body must be a form, sent with `content-type: multipart/form-data`";
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, message));
    } else {
        check_encodings(request.headers(), content_type.as_deref())?;
        let pieces = bounded_whole(request.into_body(), limit);
        let (path, sha256) = folder.save("file", pieces).await?;
        let name = received.fields.file_name.clone();
        received.file = Some(ReceivedFile { path, sha256, name, content_type });
    }
    received.finish()
}

fn bounded_whole(body: Body, limit: u64) -> impl futures::Stream<Item = Result<bytes::Bytes, ApiError>> {
    let unread = Unread::default();
    bounded(body, limit, unread.clone()).map(move |piece| {
        unread.clear();
        piece.map_err(ApiError::from)
    })
}

async fn receive_form(
    request: Request,
    limit: u64,
    folder: &UploadFolder,
    received: &mut Received<'_>,
) -> Result<(), ApiError> {
    let unread = Unread::default();
    let request = request.map(|body| Body::from_stream(bounded(body, limit, unread.clone())));
    let malformed = |message: String| ApiError::new(ErrorCode::MalformedRequest, message);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| malformed(error.body_text()))?;
    let mut parts = 0;
    while let Some(part) = form.next_field().await.map_err(part_error)? {
        unread.clear();
        parts += 1;
        if parts > MAX_PARTS {
            return Err(malformed(format!("the form has more than {MAX_PARTS} parts")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        // A page's form sends such a part where no file was picked.
        let is_blank_file =
            matches!(received.kind, UploadKind::Page | UploadKind::Model) && part.file_name() == Some("");
        if is_blank_file {
            read_text(part, &unread).await?;
            continue;
        }
        let slot = match name.as_str() {
            "file" => &mut received.file,
            "eval_file" if received.kind != UploadKind::Model => &mut received.eval_file,
            _ => {
                let text = read_text(part, &unread).await?;
                match text {
                    Some(text) => received.set(&name, &text),
                    None => received.errors.push(FieldError::new(&name, "short UTF-8 text is expected")),
                }
                continue;
            }
        };
        if slot.is_some() {
            received.errors.push(FieldError::new(&name, "it is given twice"));
            read_text(part, &unread).await?;
            continue;
        }
        let (file_name, content_type) = (part.file_name().map(Into::into), part.content_type().map(Into::into));
        let pieces = part.map(|piece| {
            unread.clear();
            piece.map_err(part_error)
        });
        let (path, sha256) = folder.save(&name, pieces).await?;
        *slot = Some(ReceivedFile { path, sha256, name: file_name, content_type });
    }
    Ok(())
}

/// A part's text; none where it is too long or not UTF-8. Reads to its end in any case.
async fn read_text(mut part: Field<'_>, unread: &Unread) -> Result<Option<String>, ApiError> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(part_error)? {
        unread.clear();
        let room = (MAX_FIELD_BYTES + 1).saturating_sub(text.len());
        text.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    if text.len() > MAX_FIELD_BYTES {
        return Ok(None);
    }
    Ok(String::from_utf8(text).ok())
}

/// The parser's error, or what cut its input off.
fn part_error(error: MultipartError) -> ApiError {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(error) = source.downcast_ref::<BodyError>() {
            return error.clone().into();
        }
        cause = source.source();
    }
    ApiError::new(ErrorCode::MalformedRequest, format!("the multipart form is malformed: {}", error.body_text()))
}

/// What has been received so far.
#[derive(Debug)]
struct Received<'t> {
    kind: UploadKind,
    /// What the file is for, where it is one.
    purpose: Option<String>,
    fields: UploadFields,
    texts: &'t mut FormTexts,
    errors: Vec<FieldError>,
    file: Option<ReceivedFile>,
    eval_file: Option<ReceivedFile>,
}

impl<'t> Received<'t> {
    fn new(kind: UploadKind, texts: &'t mut FormTexts) -> Self {
        let fields = UploadFields::default();
        Self { kind, purpose: None, fields, texts, errors: Vec::new(), file: None, eval_file: None }
    }

    fn set(&mut self, field: &str, text: &str) {
        self.texts.push((field.to_owned(), text.to_owned()));
        let set = match (self.kind, field) {
            (UploadKind::File, "purpose") if text == FINE_TUNE => {
                self.purpose = Some(text.to_owned());
                Ok(())
            }
            (UploadKind::File, "purpose") => {
                self.purpose = Some(text.to_owned());
                Err(FieldError::new(field, format!("only files of the purpose `{FINE_TUNE}` are taken")))
            }
            (UploadKind::File, "expires_after[anchor]" | "expires_after[seconds]") => Err(FieldError::new(
                field,
                "files do not expire here; leave it out, and delete the file when it is done",
            )),
            (UploadKind::Page | UploadKind::Model, _) if text.trim().is_empty() => Ok(()),
            (UploadKind::Model, unknown) if unknown != "name" => {
                let shown: String = unknown.chars().take(80).collect();
                Err(FieldError::new(shown, "there is no such field; expected file, name"))
            }
            _ => self.fields.set(field, text),
        };
        self.errors.extend(set.err());
    }

    fn finish(self) -> Result<Upload, ApiError> {
        let Self { kind, purpose, fields, mut errors, file, eval_file, .. } = self;
        if kind == UploadKind::File && purpose.is_none() {
            errors.push(FieldError::new("purpose", format!("`{FINE_TUNE}` is expected")));
        }
        if eval_file.is_some() && fields.test_size.is_some() {
            errors.push(FieldError::new("test_size", "it is not to be given beside eval_file, whose rows evaluate"));
        }
        match file {
            Some(file) if errors.is_empty() => Ok(Upload { kind, fields, file, eval_file }),
            file => {
                if file.is_none() {
                    let expected = match kind {
                        UploadKind::Page => "a file that holds the rows is expected",
                        UploadKind::Dataset | UploadKind::File => "a part that holds the rows is expected",
                        UploadKind::Model => "an archive that holds the model is expected",
                    };
                    errors.push(FieldError::new("file", expected));
                }
                Err(ApiError::invalid(errors))
            }
        }
    }
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

fn essence(content_type: Option<&str>) -> String {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses a raw body that says of itself that it is something else than a file of rows. What says nothing
/// in particular passes, such as what curl's `--data-binary` sends, and the content decides.
fn check_encodings(headers: &HeaderMap, content_type: Option<&str>) -> Result<(), ApiError> {
    let essence = essence(content_type);
    let known = match essence.split_once('/') {
        None => essence.is_empty(),
        Some(("text", kind)) => ["csv", "tab-separated-values", "plain"].contains(&kind),
        Some(("application", kind)) => {
            let rows = ["csv", "json", "jsonl", "jsonlines", "x-jsonlines", "x-ndjson", "ndjson"];
            let parquet = ["vnd.apache.parquet", "x-parquet", "parquet"];
            let packed = ["gzip", "x-gzip", "zstd"];
            let nothing = ["octet-stream", "x-www-form-urlencoded"];
            [&rows[..], &parquet, &packed, &nothing].concat().contains(&kind)
        }
        Some(_) => false,
    };
    let unsupported = |what: &str, expected: &str| {
        Err(ApiError::new(ErrorCode::UnsupportedMediaType, format!("{what} is not supported; expected {expected}")))
    };
    if !known {
        let expected = "CSV, TSV, JSON, JSON Lines or Parquet, or multipart/form-data";
        return unsupported(&format!("content type `{essence}`"), expected);
    }
    // The reader sees through both by itself.
    match header_text(headers, header::CONTENT_ENCODING).as_deref().map(str::trim) {
        None | Some("identity" | "gzip" | "x-gzip" | "zstd") => Ok(()),
        Some(other) => unsupported(&format!("content encoding `{other}`"), "gzip or zstd"),
    }
}
