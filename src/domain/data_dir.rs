//! Where things lie below the data directory. Paths only; nothing here touches the disk.

use std::path::{Path, PathBuf};

use super::{Checkpoint, DatasetId, JobId, Model, ModelId, ModelSource, RunFolder};

/// The data directory's layout.
///
/// ```text
/// matryo.db                              facts
/// matryo.lock, matryo.reserve            the worker's: one process at a time, and space for a job's end
/// datasets/<id>/{train,eval}.jsonl       rows, one `Pair` a line, already split; eval.jsonl is there even if empty
/// datasets/<id>/original                 the file as it was uploaded, where `/v1/files` took it
/// models/<id>/                           a base model pulled from the Hub, or uploaded
/// jobs/<id>/checkpoints/epoch-<n>/       checkpoints
/// kernels/                               a GPU's, compiled; may be deleted
/// jobs/<id>/{metrics.csv,tensorboard,trec} records; see [`RunFolder`]
/// ```
///
/// What is still being written stands beside its place with `.tmp` after the name, and may be deleted at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The name of a dataset's file as it was uploaded.
    pub const ORIGINAL: &str = "original";

    /// Names a data directory; an absolute path is wanted.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The SQLite file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("matryo.db")
    }

    /// A GPU's compiled kernels.
    #[must_use]
    pub fn kernels(&self) -> PathBuf {
        self.0.join("kernels")
    }

    /// All datasets.
    #[must_use]
    pub fn datasets(&self) -> PathBuf {
        self.0.join("datasets")
    }

    /// One dataset's folder.
    #[must_use]
    pub fn dataset(&self, id: DatasetId) -> PathBuf {
        self.datasets().join(id.to_string())
    }

    /// A dataset's training rows.
    #[must_use]
    pub fn train_rows(&self, id: DatasetId) -> PathBuf {
        self.dataset(id).join("train.jsonl")
    }

    /// A dataset's evaluation rows.
    #[must_use]
    pub fn eval_rows(&self, id: DatasetId) -> PathBuf {
        self.dataset(id).join("eval.jsonl")
    }

    /// The file that a dataset was uploaded as, where it was kept.
    #[must_use]
    pub fn original(&self, id: DatasetId) -> PathBuf {
        self.dataset(id).join(Self::ORIGINAL)
    }

    /// All base models whose files are ours: pulled from the Hub, or uploaded.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    /// The folder of a base model whose files are ours.
    #[must_use]
    pub fn own_model(&self, id: ModelId) -> PathBuf {
        self.models().join(id.to_string())
    }

    /// The folder that a base model is loaded from, wherever it is.
    #[must_use]
    pub fn model(&self, model: &Model) -> PathBuf {
        match &model.source {
            ModelSource::Hub { .. } | ModelSource::Upload { .. } => self.own_model(model.id),
            ModelSource::Folder { path } => PathBuf::from(path),
        }
    }

    /// All jobs.
    #[must_use]
    pub fn jobs(&self) -> PathBuf {
        self.0.join("jobs")
    }

    /// One job's folder.
    #[must_use]
    pub fn job(&self, id: JobId) -> PathBuf {
        self.jobs().join(id.to_string())
    }

    /// A job's records.
    #[must_use]
    pub fn run_folder(&self, id: JobId) -> RunFolder {
        RunFolder::new(self.job(id))
    }

    /// A job's checkpoints.
    #[must_use]
    pub fn checkpoints(&self, id: JobId) -> PathBuf {
        self.job(id).join("checkpoints")
    }

    /// One checkpoint's folder.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> PathBuf {
        self.0.join(&checkpoint.path)
    }
}
