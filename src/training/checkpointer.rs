//! Checkpoints on disk: written beside, forced to the disk, renamed into place. A folder `epoch-<n>` is complete, always;
//! what a crash or a full disk leaves lies under another name and is cleared at the next start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::TrainError;
use crate::model::sha256_of;

const PREFIX: &str = "epoch-";
/// Names of folders that are being written or deleted start so.
const UNFINISHED: &str = ".epoch-";

/// A checkpoint as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// Its files' size.
    pub(super) size_bytes: u64,
    /// SHA-256 of model.safetensors (hex).
    pub(super) sha256: String,
}

/// The folder of a run's checkpoints.
#[derive(Debug, Clone)]
pub(super) struct Checkpointer {
    root: PathBuf,
}

impl Checkpointer {
    /// Makes the folder where it is missing, and clears what an interrupted run left unfinished.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn open(root: &Path) -> Result<Self, TrainError> {
        let checkpointer = Self { root: root.to_owned() };
        fs::create_dir_all(root).map_err(|error| checkpoint_error(root, error))?;
        for (name, path) in checkpointer.entries()? {
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(&path).map_err(|error| checkpoint_error(&path, error))?;
            }
        }
        Ok(checkpointer)
    }

    /// An epoch's folder, whether it exists or not.
    #[must_use]
    pub(super) fn folder(&self, epoch: u32) -> PathBuf {
        self.root.join(format!("{PREFIX}{epoch}"))
    }

    /// The epochs whose checkpoints exist, ascending.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(super) fn epochs(&self) -> Result<Vec<u32>, TrainError> {
        let names = self.entries()?.into_iter().map(|(name, _)| name);
        let mut epochs: Vec<u32> =
            names.filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok()).filter(|epoch| *epoch > 0).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    /// Writes an epoch's checkpoint: `fill` puts the files into an empty folder, which gets its name once all of them
    /// are on the disk. A checkpoint that stands there already is replaced.
    ///
    /// # Errors
    /// Where `fill` fails or the disk refuses; nothing then stands under the checkpoint's name that did not before.
    pub(super) fn write(
        &self,
        epoch: u32,
        fill: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Written, TrainError> {
        let folder = self.folder(epoch);
        let beside = self.root.join(format!("{UNFINISHED}{epoch}.tmp"));
        let written = self.write_beside(&beside, &folder, fill);
        if written.is_err() {
            // A full disk is the likely reason, and this gives the space back. If that fails too, the next start tries.
            let _ = fs::remove_dir_all(&beside);
        }
        written.map_err(|message| TrainError::Checkpoint { path: folder, message })
    }

    fn write_beside(
        &self,
        beside: &Path,
        folder: &Path,
        fill: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Written, String> {
        let text = |error: io::Error| error.to_string();
        fs::create_dir(beside).map_err(text)?;
        fill(beside)?;
        let size_bytes = sync_tree(beside).map_err(text)?;
        let sha256 =
            sha256_of(&beside.join("model.safetensors")).map_err(|error| format!("model.safetensors: {error}"))?;
        if folder.exists() {
            self.clear(folder).map_err(text)?;
        }
        fs::rename(beside, folder).map_err(text)?;
        sync(&self.root).map_err(text)?;
        Ok(Written { size_bytes, sha256 })
    }

    /// Deletes an epoch's checkpoint.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn remove(&self, epoch: u32) -> Result<(), TrainError> {
        let folder = self.folder(epoch);
        self.clear(&folder).map_err(|error| checkpoint_error(&folder, error))
    }

    /// Takes the name away first, so that a half-deleted folder never looks complete.
    fn clear(&self, folder: &Path) -> io::Result<()> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.root.join(format!(".{name}.removed"));
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        fs::rename(folder, &aside)?;
        fs::remove_dir_all(&aside)
    }

    fn entries(&self) -> Result<Vec<(String, PathBuf)>, TrainError> {
        let list = || -> io::Result<Vec<(String, PathBuf)>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&self.root)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
                }
            }
            Ok(entries)
        };
        list().map_err(|error| checkpoint_error(&self.root, error))
    }
}

fn checkpoint_error(path: &Path, error: impl ToString) -> TrainError {
    TrainError::Checkpoint { path: path.to_owned(), message: error.to_string() }
}

/// Forces every file and folder to the disk, and adds up the files' sizes.
fn sync_tree(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            size += sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
            size += entry.metadata()?.len();
        }
    }
    sync(folder)?;
    Ok(size)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(folder: &Path, weights: &str) -> Result<(), String> {
        fs::create_dir(folder.join("1_Pooling")).map_err(|error| error.to_string())?;
        fs::write(folder.join("1_Pooling/config.json"), "{}").map_err(|error| error.to_string())?;
        fs::write(folder.join("model.safetensors"), weights).map_err(|error| error.to_string())
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it can be read");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_checkpoint_is_measured_and_found_again() {
        let root = tempfile::tempdir().expect("a folder");
        let checkpointer = Checkpointer::open(&root.path().join("deep/checkpoints")).expect("it is made");
        for epoch in [2, 10, 1] {
            let written = checkpointer.write(epoch, |folder| fill(folder, "abc")).expect("it is written");
            assert_eq!(written.size_bytes, 5);
            // SHA-256 of "abc", from FIPS 180-4's examples.
            assert_eq!(written.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        }
        assert_eq!(checkpointer.epochs().expect("it can be read"), [1, 2, 10]);
        checkpointer.remove(2).expect("it is deleted");
        assert_eq!(names(&checkpointer.root), ["epoch-1", "epoch-10"]);
    }

    #[test]
    fn a_failure_leaves_nothing_under_the_name_and_says_where_and_why() {
        let root = tempfile::tempdir().expect("a folder");
        let checkpointer = Checkpointer::open(root.path()).expect("it is made");
        let full = |folder: &Path| fill(folder, "half").and(Err("no space left on device".to_owned()));
        let error = checkpointer.write(3, full).expect_err("fill fails").to_string();
        assert!(error.contains("epoch-3") && error.contains("no space left on device"), "{error}");
        assert!(names(root.path()).is_empty());

        // Without weights it is no checkpoint.
        checkpointer.write(3, |_| Ok(())).expect_err("there is no model.safetensors");
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_one() {
        let root = tempfile::tempdir().expect("a folder");
        let checkpointer = Checkpointer::open(root.path()).expect("it is made");
        checkpointer.write(1, |folder| fill(folder, "old")).expect("it is written");
        checkpointer.write(1, |_| Err("no".into())).expect_err("fill fails");
        let weights = || fs::read_to_string(root.path().join("epoch-1/model.safetensors")).expect("it stands");
        assert_eq!(weights(), "old");
        checkpointer.write(1, |folder| fill(folder, "new")).expect("it is replaced");
        assert_eq!(weights(), "new");
        assert_eq!(names(root.path()), ["epoch-1"]);
    }

    #[test]
    fn leftovers_are_cleared_at_the_start_and_strangers_are_let_be() {
        let root = tempfile::tempdir().expect("a folder");
        for name in [".epoch-2.tmp/1_Pooling", ".epoch-1.removed", "epoch-1", "epoch-x", "notes"] {
            fs::create_dir_all(root.path().join(name)).expect("it is made");
        }
        let checkpointer = Checkpointer::open(root.path()).expect("it can be read");
        assert_eq!(names(root.path()), ["epoch-1", "epoch-x", "notes"]);
        assert_eq!(checkpointer.epochs().expect("it can be read"), [1]);
    }
}
