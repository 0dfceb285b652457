//! What the store can answer instead of what was asked for.

use crate::domain::JobStatus;

/// A row could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// What was looked for: `dataset`, `model`, `job`, `checkpoint`.
        kind: &'static str,
        /// The name or id it was looked for by.
        id: String,
    },
    /// It is there, but in a state that forbids what was asked.
    #[error("{message}")]
    Conflict {
        /// Why not, and what to do about it.
        message: String,
    },
    /// It is not what the caller takes it for.
    #[error("{message}")]
    Changed {
        /// What it is.
        message: String,
    },
    /// The disk is full, or the database has reached its largest size.
    #[error("the disk of the data directory is full; free some space and try again")]
    Full(#[source] sqlx::Error),
    /// The database failed in some other way.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// SQLite's primary code for a full disk; it also stands for a write that failed with ENOSPC.
const SQLITE_FULL: i32 = 13;
/// The write-ahead log's index could not grow, which on a sound disk means a full one.
const SQLITE_IOERR_SHMSIZE: i32 = 4874;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let full = match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().and_then(|code| code.parse::<i32>().ok());
                code.is_some_and(|code| code & 0xff == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE)
            }
            sqlx::Error::Io(io) => io.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        };
        if full { Self::Full(error) } else { Self::Database(error) }
    }
}

impl StoreError {
    /// There is no such thing.
    #[must_use]
    pub fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict { message: message.into() }
    }

    /// Refuses to delete what an alias means.
    pub(super) fn aliased(alias: &str) -> Self {
        Self::conflict(format!("the alias `{alias}` means it; move or delete the alias first"))
    }

    pub(super) fn wrong_status(status: JobStatus, wanted: &str) -> Self {
        Self::conflict(format!("the job is {}; {wanted}", status.as_str()))
    }
}
