//! Where a run's records lie, beside its checkpoints. Paths only; nothing here touches the disk.

use std::path::{Path, PathBuf};

/// A run's folder: a job's in the data directory, or the one that `matryo train` was given.
///
/// ```text
/// metrics.csv                       a row an epoch, as `/v1/jobs/{id}/metrics` answers it as CSV
/// tensorboard/events.out.tfevents…  what TensorBoard reads; a file for each part of an interrupted run
/// trec/qrels.txt                    which documents answer which questions
/// trec/epoch-<n>/dim-<d>.txt        what the model found at each dimension; epoch 0 is the untrained one
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Names a run's folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The table of metrics.
    #[must_use]
    pub fn metrics_csv(&self) -> PathBuf {
        self.0.join("metrics.csv")
    }

    /// The folder that TensorBoard is pointed to.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.0.join("tensorboard")
    }

    /// The folder of what trec_eval reads.
    #[must_use]
    pub fn trec(&self) -> PathBuf {
        self.0.join("trec")
    }

    /// Which documents answer which questions.
    #[must_use]
    pub fn qrels(&self) -> PathBuf {
        self.trec().join("qrels.txt")
    }

    /// What was found after an epoch, a file for each dimension.
    #[must_use]
    pub fn trec_epoch(&self, epoch: u32) -> PathBuf {
        self.trec().join(format!("epoch-{epoch}"))
    }

    /// What was found after an epoch at a dimension.
    #[must_use]
    pub fn trec_run(&self, epoch: u32, dim: usize) -> PathBuf {
        self.trec_epoch(epoch).join(Self::trec_run_name(dim))
    }

    /// The name of the file of what was found at a dimension.
    #[must_use]
    pub fn trec_run_name(dim: usize) -> String {
        format!("dim-{dim}.txt")
    }
}
