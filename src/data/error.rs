//! What can be wrong with a dataset.

use std::path::PathBuf;

use crate::domain::RowError;

/// A dataset cannot be read, split or stored. Every variant but [`DatasetError::Io`] is the sender's to mend.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file of ours could not be read or written: the machine's fault, not the file's.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file as a whole is not what it should be.
    #[error("{message}")]
    Format {
        /// What is wrong and what was expected.
        message: String,
    },
    /// The columns do not tell which is which.
    #[error("{problem}; columns found: {}", list(found))]
    Columns {
        /// The field of the mapping that found no column: `anchor`, `positive` or `id`.
        field: &'static str,
        /// What is wrong and what was expected.
        problem: String,
        /// The file's columns.
        found: Vec<String>,
        /// The names that were looked for.
        tried: Vec<String>,
    },
    /// Rows are bad.
    #[error("{total} of {checked} rows are bad, the first at line {}", errors.first().map_or(0, |error| error.line))]
    Rows {
        /// The first few errors, in the order of the file.
        errors: Vec<RowError>,
        /// Rows with at least one error.
        total: u64,
        /// Rows read.
        checked: u64,
    },
    /// Something exceeds a limit.
    #[error("{what}, and the limit is {limit}")]
    TooLarge {
        /// What is too large, such as `the file has more rows`.
        what: String,
        /// The limit that it exceeds.
        limit: u64,
    },
    /// The file holds no row.
    #[error("the file holds no rows")]
    Empty,
    /// The rows cannot be split as asked.
    #[error("{message}")]
    TestSize {
        /// What is wrong and what was expected.
        message: String,
    },
}

impl DatasetError {
    pub(crate) fn format(message: impl Into<String>) -> Self {
        Self::Format { message: message.into() }
    }
}

fn list(names: &[String]) -> String {
    // A file may have hundreds of columns; the first ones show what kind of file it is.
    const SHOWN: usize = 20;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "none".into(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
