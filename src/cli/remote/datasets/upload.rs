//! `matryo datasets upload`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use futures::TryStreamExt;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::super::client::Client;
use super::super::refusal::ClientError;
use crate::cli::error::{CliError, flag_of};
use crate::cli::output;
use crate::cli::pairs::{ColumnFlags, existing_file};
use crate::cli::progress::{BytesDisplay, say};
use crate::cli::units::count;
use crate::domain::Dataset;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo datasets upload pairs.csv.gz --test-size 0.1\n  \
    DATASET=$(matryo datasets upload train.jsonl --eval-file eval.jsonl --name annual-reports)\n  \
    matryo datasets upload faq.tsv --anchor-column question --positive-column reply";

#[derive(Debug, Args)]
pub(super) struct UploadCommand {
    /// The pairs: CSV, TSV, JSON, JSON Lines or Parquet, plain or compressed by gzip or zstd.
    #[arg(value_name = "FILE", value_parser = existing_file)]
    file: PathBuf,

    /// The pairs to evaluate on; without them, `--test-size` of the first file's are.
    #[arg(long, aliases = ["eval_file", "eval"], value_name = "FILE", value_parser = existing_file)]
    eval_file: Option<PathBuf>,

    /// What to call the dataset; the file's name where none is given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The share of the pairs that evaluate; 0.1 where none is given.
    #[arg(long, alias = "test_size", value_name = "SHARE", conflicts_with = "eval_file")]
    test_size: Option<f64>,

    /// Draws the pairs that evaluate; 42 where none is given.
    #[arg(long, value_name = "NUMBER", conflicts_with = "eval_file")]
    seed: Option<u64>,

    /// The layout, csv, tsv, json, jsonl or parquet, where the file's name does not tell it.
    #[arg(long, value_name = "NAME")]
    format: Option<String>,

    #[command(flatten)]
    columns: ColumnFlags,
}

impl UploadCommand {
    pub(super) async fn run(&self, client: &Client, json: bool) -> Result<(), CliError> {
        let files = [("file", Some(&self.file)), ("eval_file", self.eval_file.as_ref())];
        let files: Vec<_> = files.into_iter().filter_map(|(field, path)| Some((field, path?))).collect();
        let mut opened = Vec::new();
        for (field, path) in files {
            opened.push(UploadFile::open(field, path).await?);
        }
        let mapping = self.columns.mapping();
        let texts = [
            ("name", self.name.clone()),
            ("test_size", self.test_size.map(|share| share.to_string())),
            ("seed", self.seed.map(|seed| seed.to_string())),
            ("format", self.format.clone()),
            ("anchor", mapping.anchor),
            ("positive", mapping.positive),
            ("id", mapping.id),
        ];
        let texts: Vec<_> = texts.into_iter().filter_map(|(field, text)| Some((field, text?))).collect();
        let answer = upload(client, texts, opened).await.map_err(|error| error.with_flags(flag))?;
        if json {
            return output::print_json(&answer);
        }
        let Dataset { id, train_rows, eval_rows, name, .. } = serde_json::from_value(answer)?;
        output::print(id)?;
        say(&format!("{name}: {} pairs to train on, {} to evaluate on", count(train_rows), count(eval_rows)));
        Ok(())
    }
}

/// The flag, or for files the argument, that a field of the form is.
fn flag(field: &str) -> String {
    match field {
        "file" => "FILE".into(),
        "anchor" | "positive" | "id" => format!("--{field}-column"),
        _ => flag_of(field),
    }
}

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

    async fn open(field: &'static str, path: &Path) -> Result<Self, CliError> {
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

/// Uploads files as one dataset, and shows how far they are; what the server says of it.
pub(in crate::cli) async fn upload(
    client: &Client,
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
    let answer = client.json(client.request(Method::POST, &["v1", "datasets"]).multipart(form)).await;
    display.lock().unwrap_or_else(PoisonError::into_inner).bytes.end();
    answer
}
