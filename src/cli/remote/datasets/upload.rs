//! `matryo datasets upload`.

use std::path::PathBuf;

use clap::Args;

use super::super::client::Client;
use super::super::upload::{UploadFile, upload};
use crate::cli::error::{CliError, flag_of};
use crate::cli::output;
use crate::cli::pairs::{ColumnFlags, existing_file};
use crate::cli::progress::say;
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
        let answer = upload(client, "datasets", texts, opened).await.map_err(|error| error.with_flags(flag))?;
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
