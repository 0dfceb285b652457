//! Reads an uploaded file of any supported format into checked pairs: bytes, perhaps compressed → records → pairs.
//!
//! A reader per format turns bytes into records of cells; `rows` alone judges them, so that every format refuses the
//! same rows with the same words. Nothing here trusts a size that the file claims.

mod csv_records;
mod delimited;
mod format;
mod json;
mod json_preview;
mod json_value;
mod jsonl;
mod object_rows;
mod parquet;
mod parquet_preview;
mod preview;
mod rows;
mod source;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::domain::{ColumnMapping, DatasetFormat, Pair};

use super::error::DatasetError;

pub use preview::{FilePreview, preview_file};
use source::{Compression, Source};

/// What a file may hold at most. The defaults suit a machine with a few GiB of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// Rows.
    pub max_rows: u64,
    /// Characters of one anchor or positive.
    pub max_text_chars: usize,
    /// Bytes after decompression, and bytes of text in all rows together.
    pub max_decompressed_bytes: u64,
    /// Bytes of one record (a CSV row, a JSON object), columns that nothing reads included.
    pub max_record_bytes: u64,
    /// Columns.
    pub max_columns: usize,
    /// Row errors told in full; further ones are counted.
    pub max_errors: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_rows: 2_000_000,
            max_text_chars: 100_000,
            max_decompressed_bytes: 2 << 30,
            max_record_bytes: 16 << 20,
            max_columns: 1000,
            max_errors: 20,
        }
    }
}

/// How to read a file.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The layout; guessed where there is none, from the file's name, then the content type, then the content.
    pub format: Option<DatasetFormat>,
    /// The file's name as uploaded, such as `pairs.csv.gz`.
    pub file_name: Option<String>,
    /// The content type as uploaded, such as `text/csv; charset=utf-8`.
    pub content_type: Option<String>,
    /// Which columns hold what; guessed where it does not say.
    pub mapping: ColumnMapping,
    /// What the file may hold at most.
    pub limits: ReadLimits,
    /// Put before the row's number where the file has no ids, so that a second file's rows differ from the first's.
    pub row_id_prefix: String,
    /// Where compressed Parquet is unpacked, since it is not read front to back; the system's by default.
    pub temporary_folder: Option<PathBuf>,
}

/// A file's rows and what was found on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The rows, in the file's order.
    pub pairs: Vec<Pair>,
    /// The layout.
    pub format: DatasetFormat,
    /// The columns read, as the file names them.
    pub mapping: ColumnMapping,
    /// The columns that nothing read.
    pub ignored_columns: Vec<String>,
    /// Rows whose anchor and positive both occur together in an earlier row.
    pub duplicate_rows: u64,
    /// Rows whose positive occurs in an earlier row.
    pub duplicate_positives: u64,
}

/// What a format's reader needs to know.
struct ReadContext<'a> {
    path: &'a Path,
    mapping: &'a ColumnMapping,
    limits: &'a ReadLimits,
    row_id_prefix: &'a str,
}

impl<'a> ReadContext<'a> {
    fn new(path: &'a Path, options: &'a ReadOptions) -> Self {
        Self { path, mapping: &options.mapping, limits: &options.limits, row_id_prefix: &options.row_id_prefix }
    }
}

/// What a format's reader finds.
struct Table {
    pairs: Vec<Pair>,
    mapping: ColumnMapping,
    ignored_columns: Vec<String>,
}

/// Reads a file of pairs, refusing it whole where any row is bad.
///
/// # Errors
/// See [`DatasetError`]; bad rows are all counted, and the first few told by line and field.
pub fn read_pairs(path: &Path, options: &ReadOptions) -> Result<ReadOutcome, DatasetError> {
    let context = ReadContext::new(path, options);
    let (source, format) = open(path, options)?;
    let table = match format {
        DatasetFormat::Csv => delimited::read(source, b',', &context),
        DatasetFormat::Tsv => delimited::read(source, b'\t', &context),
        DatasetFormat::Json => json::read(source, &context),
        DatasetFormat::Jsonl => jsonl::read(source, &context),
        DatasetFormat::Parquet => parquet::read(seekable(source, &context, options)?, &context),
    }?;
    let (duplicate_rows, duplicate_positives) = count_duplicates(&table.pairs);
    let Table { pairs, mapping, ignored_columns } = table;
    Ok(ReadOutcome { pairs, format, mapping, ignored_columns, duplicate_rows, duplicate_positives })
}

/// Opens a file and tells its layout.
fn open(path: &Path, options: &ReadOptions) -> Result<(Source, DatasetFormat), DatasetError> {
    let source = source::open(path, &options.limits)?;
    let hints = format::Hints {
        format: options.format,
        file_name: options.file_name.as_deref(),
        content_type: options.content_type.as_deref(),
    };
    let format = format::decide(hints, &source.head)?;
    Ok((source, format))
}

/// The file itself, or what it unpacks to, in a temporary file that goes with its handle.
fn seekable(mut source: Source, context: &ReadContext<'_>, options: &ReadOptions) -> Result<File, DatasetError> {
    if source.compression == Compression::None {
        return File::open(context.path).map_err(|error| source::into_dataset_error(context.path, error));
    }
    let folder = options.temporary_folder.clone().unwrap_or_else(std::env::temp_dir);
    let to_error = |source| DatasetError::Io { path: folder.clone(), source };
    let mut file = tempfile::tempfile_in(&folder).map_err(to_error)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        // Parquet has no records here: the limit on the whole holds.
        source.meter.start_record();
        let count = source.reader.read(&mut buffer).map_err(|error| source::into_dataset_error(context.path, error))?;
        if count == 0 {
            return Ok(file);
        }
        file.write_all(&buffer[..count]).map_err(to_error)?;
    }
}

/// Counts (rows whose anchor and positive occur together in an earlier row, rows whose positive occurs in an earlier
/// row); for a dataset of two files, chain them.
pub fn count_duplicates<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> (u64, u64) {
    let (mut seen_rows, mut seen_positives) = (HashSet::new(), HashSet::new());
    let (mut rows, mut positives) = (0, 0);
    for pair in pairs {
        rows += u64::from(!seen_rows.insert((pair.anchor.as_str(), pair.positive.as_str())));
        positives += u64::from(!seen_positives.insert(pair.positive.as_str()));
    }
    (rows, positives)
}

/// Counts rows whose anchor or positive is empty or blank.
pub fn count_empty<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> u64 {
    let is_empty = |pair: &&Pair| pair.anchor.trim().is_empty() || pair.positive.trim().is_empty();
    pairs.into_iter().filter(is_empty).count() as u64
}

fn too_many_columns(limits: &ReadLimits) -> DatasetError {
    DatasetError::TooLarge { what: "the file has more columns".into(), limit: limits.max_columns as u64 }
}
