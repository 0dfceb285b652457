//! A file's first rows as they stand in it, and what its columns' names tell: what a person looks at before the file is
//! read for good. Rows are shown here, not judged. A file that is cut off shows what came before the cut.

use std::path::Path;

use crate::data::columns;
use crate::data::error::DatasetError;
use crate::domain::{ColumnMapping, DatasetFormat};

use super::json_value::JsonCell;
use super::rows::Cell;
use super::{ReadContext, ReadLimits, ReadOptions, delimited, json_preview, jsonl, parquet_preview, seekable};
use super::{open, too_many_columns};

/// Characters of a field that are shown.
const MAX_SHOWN_CHARS: usize = 300;

/// What a file begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePreview {
    /// The layout.
    pub format: DatasetFormat,
    /// The columns, in the file's order; of JSON those that its first rows have.
    pub columns: Vec<String>,
    /// Which columns hold what, as far as their names tell.
    pub mapping: ColumnMapping,
    /// The first rows: a text for each column, cut where it is long; none where there is no value.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Looks at the first `max_rows` rows of a file, or of a file's beginning.
///
/// # Errors
/// See [`DatasetError`]. What is wrong behind the columns' names only ends the preview.
pub fn preview_file(path: &Path, options: &ReadOptions, max_rows: usize) -> Result<FilePreview, DatasetError> {
    let context = ReadContext::new(path, options);
    let (source, format) = open(path, options)?;
    let mut first = FirstRows { limits: &options.limits, max_rows, columns: Vec::new(), rows: Vec::new() };
    let read = match format {
        DatasetFormat::Csv => delimited::preview(source, b',', &context, &mut first),
        DatasetFormat::Tsv => delimited::preview(source, b'\t', &context, &mut first),
        DatasetFormat::Json => json_preview::preview(source, &context, &mut first),
        DatasetFormat::Jsonl => jsonl::preview(source, &context, &mut first),
        DatasetFormat::Parquet => {
            seekable(source, &context, options).and_then(|file| parquet_preview::preview(file, &mut first))
        }
    };
    let FirstRows { columns, mut rows, .. } = first;
    match read {
        Err(error) if columns.is_empty() => return Err(error),
        Ok(()) if columns.is_empty() => return Err(DatasetError::Empty),
        Ok(()) | Err(_) => {}
    }
    for row in &mut rows {
        row.resize(columns.len(), None);
    }
    Ok(FilePreview { format, mapping: columns::guess(&columns), columns, rows })
}

/// The rows found so far. A row may be shorter than there are columns.
#[derive(Debug)]
pub(super) struct FirstRows<'l> {
    pub(super) limits: &'l ReadLimits,
    pub(super) max_rows: usize,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl FirstRows<'_> {
    /// True where no more rows are wanted.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= self.max_rows
    }

    /// Adds an object's fields as a row; a field of a new name is a new column.
    ///
    /// # Errors
    /// Where there are too many columns.
    pub(super) fn push_fields(&mut self, fields: Vec<(String, JsonCell)>) -> Result<(), DatasetError> {
        let mut row = vec![None; self.columns.len()];
        for (name, cell) in fields {
            let index = match self.columns.iter().position(|column| *column == name) {
                Some(index) => index,
                None if self.columns.len() == self.limits.max_columns => return Err(too_many_columns(self.limits)),
                None => {
                    self.columns.push(name);
                    row.push(None);
                    row.len() - 1
                }
            };
            row[index] = shown(&cell);
        }
        self.rows.push(row);
        Ok(())
    }
}

/// A field as it is shown.
pub(super) fn shown(cell: &Cell<'_>) -> Option<String> {
    match cell {
        Cell::Missing | Cell::Null => None,
        Cell::Text(text) => Some(shortened(text)),
        Cell::Number(number) => Some(shortened(number)),
        Cell::Other(kind) => Some(format!("({kind})")),
        Cell::NotUtf8 => Some("(not UTF-8)".to_owned()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
