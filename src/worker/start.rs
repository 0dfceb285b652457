//! Before the first job: one worker a data directory, and nothing left over from a crash.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::domain::{DataDir, DatasetId, JobId};
use crate::store::{Store, StoreError};

use super::WorkerError;

/// Takes the data directory for this process; it is free again when the file is closed, by a crash too.
///
/// # Errors
/// [`WorkerError::InUse`] where another process has it.
pub(super) fn lock(data_dir: &DataDir) -> Result<File, WorkerError> {
    for folder in [data_dir.datasets(), data_dir.models(), data_dir.jobs()] {
        std::fs::create_dir_all(&folder).map_err(|source| WorkerError::Io { path: folder, source })?;
    }
    let path = data_dir.root().join("matryo.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| WorkerError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WorkerError::InUse(data_dir.root().to_owned())),
        Err(TryLockError::Error(source)) => Err(WorkerError::Io { path, source }),
    }
}

/// Deletes the folders of jobs and datasets that no row knows: uploads that a crash cut off, and folders whose row was
/// deleted just before one.
///
/// # Errors
/// Where the store or the disk fails.
pub(super) async fn sweep(store: &Store, data_dir: &DataDir) -> Result<(), WorkerError> {
    for (id, path) in named::<JobId>(&data_dir.jobs())? {
        remove_unknown(store.get_job(id).await.map(drop), path)?;
    }
    for (id, path) in named::<DatasetId>(&data_dir.datasets())? {
        remove_unknown(store.get_dataset(id).await.map(drop), path)?;
    }
    Ok(())
}

/// What is named after an id, `.tmp` or not; anything else is not ours to delete.
fn named<T: FromStr>(folder: &Path) -> Result<Vec<(T, PathBuf)>, WorkerError> {
    let list = || -> std::io::Result<Vec<(T, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.trim_end_matches(".tmp").parse().ok());
            found.extend(id.map(|id| (id, entry.path())));
        }
        Ok(found)
    };
    list().map_err(|source| WorkerError::Io { path: folder.to_owned(), source })
}

fn remove_unknown(known: Result<(), StoreError>, path: PathBuf) -> Result<(), WorkerError> {
    let unfinished = path.extension().is_some_and(|extension| extension == "tmp");
    match known {
        Ok(()) if !unfinished => return Ok(()),
        Ok(()) | Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    tracing::info!(path = %path.display(), "left over from an interrupted upload or deletion; deleted");
    let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    removed.map_err(|source| WorkerError::Io { path, source })
}
