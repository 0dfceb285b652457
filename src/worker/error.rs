//! Why the worker cannot do its own part; a job's failure is the job's, not an error here.

use std::path::PathBuf;

use crate::store::StoreError;

/// The worker cannot start, or a job's files cannot be handled.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another process works on the same data directory.
    #[error("{} is in use by another matryo process", .0.display())]
    InUse(PathBuf),
    /// A file or the thread could not be made, or a folder not deleted.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
