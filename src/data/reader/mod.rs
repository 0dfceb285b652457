//! Reads an uploaded file of any supported format into checked pairs: bytes, perhaps compressed → records → pairs.
//!
//! A reader per format turns bytes into records of cells; `rows` alone judges them, so that every format refuses the
//! same rows with the same words. Nothing here trusts a size that the file claims.

use std::path::{Path, PathBuf};

use crate::domain::{ColumnMapping, DatasetFormat, Pair};

use super::error::DatasetError;

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

/// Reads a file of pairs, refusing it whole where any row is bad.
///
/// # Errors
/// See [`DatasetError`]; bad rows are all counted, and the first few told by line and field.
pub fn read_pairs(_path: &Path, _options: &ReadOptions) -> Result<ReadOutcome, DatasetError> {
    todo!("data")
}
