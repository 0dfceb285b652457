//! Question–passage pairs and what is known of a set of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DatasetId;

/// One question (anchor) and the passage that answers it (positive).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pair {
    /// The row's own id where the file has one, its number in the file otherwise; unique within a dataset.
    pub id: String,
    /// The question.
    pub anchor: String,
    /// The passage that answers it.
    pub positive: String,
}

/// Which columns hold what. A field left out is guessed from the file's header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColumnMapping {
    /// The question's column; guessed from `anchor`, `query`, `question`.
    pub anchor: Option<String>,
    /// The passage's column; guessed from `positive`, `context`, `passage`, `answer`, `document`.
    pub positive: Option<String>,
    /// The id's column; guessed from `id`. Rows are numbered where there is none.
    pub id: Option<String>,
}

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RowError {
    /// The line in the file, from 1, the header counted; the row's number where the format has no lines (Parquet).
    pub line: u64,
    /// The column, as the file names it, where one is to blame.
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
}

/// How a file is laid out, compression apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatasetFormat {
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// An array of objects, or columns of records (`{"anchor": [...], "positive": [...]}`).
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// The part of a dataset that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on; its positives also stand in the evaluation's corpus.
    Train,
    /// Evaluated on: its anchors are the queries.
    Eval,
}

/// Where a dataset's evaluation rows come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SplitSource {
    /// A share of the uploaded rows, drawn by `seed`.
    Fraction {
        /// The share that evaluates, 0 ≤ test_size < 1; 0 leaves no evaluation rows.
        test_size: f64,
        /// Seeds the draw.
        seed: u64,
    },
    /// A separate file uploaded beside the first.
    File,
}

/// A dataset as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    /// Names it.
    pub id: DatasetId,
    /// What its owner calls it.
    pub name: String,
    /// The uploaded file's layout.
    pub format: DatasetFormat,
    /// The columns that were read.
    pub mapping: ColumnMapping,
    /// Columns of the file that nothing reads.
    pub ignored_columns: Vec<String>,
    /// Where the evaluation rows come from.
    pub split: SplitSource,
    /// Rows trained on.
    pub train_rows: u64,
    /// Rows evaluated on.
    pub eval_rows: u64,
    /// Rows whose anchor and positive both occur in an earlier row.
    pub duplicate_rows: u64,
    /// Rows whose positive occurs in an earlier row.
    pub duplicate_positives: u64,
    /// Rows whose anchor or positive is an empty text. They are kept, as sentence-transformers keeps them, and teach
    /// nothing; CSV and TSV files with such rows are refused, since there an empty field means that a value is missing.
    pub empty_rows: u64,
    /// SHA-256 of the bytes as uploaded (hex); of the first file where two were.
    pub sha256: String,
    /// SHA-256 of the evaluation file as uploaded, where one was.
    pub eval_sha256: Option<String>,
    /// The stored rows' size.
    pub size_bytes: u64,
    /// The size of the uploaded file as it came, where it was kept: `/v1/files` keeps it, and gives it back.
    pub original_bytes: Option<u64>,
    /// When it was uploaded (RFC 3339, UTC).
    pub created_at: String,
}
