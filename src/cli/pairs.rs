//! The files of pairs that `train` and `eval` are given.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::data::error::DatasetError;
use crate::data::reader::{ReadOptions, read_pairs};
use crate::domain::{ColumnMapping, Pair, RowError};

use super::error::CliError;

/// Which columns hold what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Columns")]
pub(super) struct ColumnFlags {
    /// The question's column; guessed from `anchor`, `query`, `question`.
    #[arg(long, alias = "anchor_column", value_name = "NAME")]
    anchor_column: Option<String>,

    /// The passage's column; guessed from `positive`, `context`, `passage`, `answer`, `document`.
    #[arg(long, alias = "positive_column", value_name = "NAME")]
    positive_column: Option<String>,

    /// The id's column; guessed from `id`. Rows are numbered where there is none.
    #[arg(long, alias = "id_column", value_name = "NAME")]
    id_column: Option<String>,
}

impl ColumnFlags {
    /// The same as the layers below know it.
    pub(super) fn mapping(&self) -> ColumnMapping {
        ColumnMapping {
            anchor: self.anchor_column.clone(),
            positive: self.positive_column.clone(),
            id: self.id_column.clone(),
        }
    }

    /// Reads a file of pairs.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<Pair>, CliError> {
        let options = ReadOptions {
            file_name: path.file_name().map(|name| name.to_string_lossy().into_owned()),
            mapping: self.mapping(),
            ..ReadOptions::default()
        };
        read_pairs(path, &options).map(|read| read.pairs).map_err(|error| CliError::Failed(told(path, &error)))
    }
}

/// Names the file, and each bad row by its line.
fn told(path: &Path, error: &DatasetError) -> String {
    let name = path.display();
    let DatasetError::Rows { errors, total, .. } = error else {
        // Some messages begin with the path already.
        let message = error.to_string();
        return if message.starts_with(&name.to_string()) { message } else { format!("{name}: {message}") };
    };
    format!("{name}: {error}{}", bad_rows(errors, *total))
}

/// Bad rows, each on a line of its own after the message that stands before.
pub(super) fn bad_rows(errors: &[RowError], total: u64) -> String {
    let mut lines = String::new();
    for row in errors {
        let field = row.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
        lines += &format!("\n  line {}: {field}{}", row.line, row.message);
    }
    let more = total.saturating_sub(errors.len() as u64);
    if more > 0 {
        lines += &format!("\n  and {more} more");
    }
    lines
}

/// A path that names an existing file, so that a typing error is told before a model is loaded.
pub(super) fn existing_file(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_file() { Ok(path) } else { Err("there is no such file".into()) }
}
