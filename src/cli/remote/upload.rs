//! Files on their way to a server.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::client::Client;
use super::refusal::ClientError;
use crate::cli::error::CliError;
use crate::cli::progress::BytesDisplay;

/// A file on its way.
pub(in crate::cli) struct UploadFile {
    field: &'static str,
    name: String,
    length: u64,
    content: Content,
}

enum Content {
    File(File),
    Bytes(&'static [u8]),
}

impl UploadFile {
    /// A file that the program brings with it.
    pub(in crate::cli) fn bytes(field: &'static str, name: &str, bytes: &'static [u8]) -> Self {
        Self { field, name: name.to_owned(), length: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    pub(in crate::cli) async fn open(field: &'static str, path: &Path) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
        let file = File::open(path).await.map_err(failed)?;
        let length = file.metadata().await.map_err(failed)?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { field, name, length, content: Content::File(file) })
    }

    /// The part of a form that it is; `display` shows how much of it has gone.
    fn part(self, display: &Arc<Mutex<UploadDisplay>>) -> Part {
        let part = match self.content {
            Content::Bytes(bytes) => Part::stream_with_length(bytes, self.length),
            Content::File(file) => {
                let (display, name) = (Arc::clone(display), self.name.clone());
                let pieces = ReaderStream::with_capacity(file, 1 << 16).inspect_ok(move |piece| {
                    display.lock().unwrap_or_else(PoisonError::into_inner).went(&name, piece.len() as u64);
                });
                Part::stream_with_length(Body::wrap_stream(pieces), self.length)
            }
        };
        part.file_name(self.name)
    }
}

/// How much of all files has gone.
struct UploadDisplay {
    bytes: BytesDisplay,
    done: u64,
    total: u64,
}

impl UploadDisplay {
    fn went(&mut self, file: &str, bytes: u64) {
        self.done += bytes;
        self.bytes.show(file, self.done, self.total);
    }
}

/// Sends files as one form, to become one of `kind` (`datasets`, `models`), and shows how far they are; what the server
/// says of it.
pub(in crate::cli) async fn upload(
    client: &Client,
    kind: &str,
    fields: Vec<(&'static str, String)>,
    files: Vec<UploadFile>,
) -> Result<Value, ClientError> {
    let total = files.iter().map(|file| file.length).sum();
    let name = files.first().map(|file| file.name.clone()).unwrap_or_default();
    let display = UploadDisplay { bytes: BytesDisplay::new(&name), done: 0, total };
    let display = Arc::new(Mutex::new(display));
    let mut form = Form::new();
    // Before the files, so that what is wrong with them is found before the files have gone.
    for (field, text) in fields {
        form = form.text(field, text);
    }
    for file in files {
        let field = file.field;
        form = form.part(field, file.part(&display));
    }
    let answer = client.json(client.request(Method::POST, &["v1", kind]).multipart(form)).await;
    display.lock().unwrap_or_else(PoisonError::into_inner).bytes.end();
    answer
}
