//! Pulls one model's files from the Hub.

use std::path::PathBuf;

use super::{HubError, HubSettings};

/// What to pull, and where to.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// `organisation/name`, or `name` alone.
    pub repo: String,
    /// A branch, tag or commit; `main` by default.
    pub revision: Option<String>,
    /// The folder that will hold the files; must not exist yet.
    pub target: PathBuf,
    /// Which Hub, with which token, within which limits.
    pub settings: HubSettings,
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The file under way.
    pub file: String,
    /// Bytes of the whole model on disk by now, what an earlier pull left included.
    pub done_bytes: u64,
    /// Bytes of the whole model.
    pub total_bytes: u64,
}

/// A model's files, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledModel {
    /// The folder that holds them.
    pub folder: PathBuf,
    /// The commit they belong to (40 hexadecimal digits).
    pub commit: String,
    /// The files' paths within the repository.
    pub files: Vec<String>,
    /// Their size together.
    pub size_bytes: u64,
}

/// Pulls the files that a sentence-transformers or BERT model needs. They appear at `target` all at once; a pull that was
/// interrupted goes on where it stopped.
///
/// # Errors
/// See [`HubError`].
pub async fn pull(
    _request: PullRequest,
    _on_progress: impl FnMut(PullProgress) + Send,
) -> Result<PulledModel, HubError> {
    todo!("data")
}
