//! The stored form of a dataset: `train.jsonl` and `eval.jsonl`, one [`Pair`] a line, whatever was uploaded.

use std::path::Path;

use crate::domain::Pair;

use super::error::DatasetError;

/// The file of the rows trained on.
pub const TRAIN_FILE: &str = "train.jsonl";
/// The file of the rows evaluated on.
pub const EVAL_FILE: &str = "eval.jsonl";

/// Writes both files into an existing folder and syncs them to disk; returns their size together in bytes. Where it
/// fails, neither file stays.
///
/// # Errors
/// [`DatasetError::Io`] where a file cannot be written, such as on a full disk.
pub fn write_stored(_folder: &Path, _train: &[Pair], _eval: &[Pair]) -> Result<u64, DatasetError> {
    todo!("data")
}

/// Reads one of the files whole.
///
/// # Errors
/// [`DatasetError::Io`] where it cannot be read, [`DatasetError::Format`] where it is damaged.
pub fn read_stored(_path: &Path) -> Result<Vec<Pair>, DatasetError> {
    todo!("data")
}

/// Reads `limit` rows of one of the files from row `offset` (from 0) on, holding no others in memory.
///
/// # Errors
/// As [`read_stored`].
pub fn preview(_path: &Path, _offset: u64, _limit: usize) -> Result<Vec<Pair>, DatasetError> {
    todo!("data")
}
