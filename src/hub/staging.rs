//! The folder beside the target that a pull fills: locked, kept over an interruption, and renamed into place at the end.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::HubError;

/// The record of what a staging folder is for.
const RECORD: &str = ".pull";

/// A folder being filled; nobody else fills it meanwhile.
#[derive(Debug)]
pub(super) struct Staging {
    target: PathBuf,
    folder: PathBuf,
    lock_path: PathBuf,
    /// Unlocked when it is closed, by a crash too.
    _lock: File,
}

impl Staging {
    /// Takes the folder beside `target`. What lies in it is kept where it was begun for the same `origin` (commit).
    ///
    /// # Errors
    /// [`HubError::Busy`] where another pull fills it, [`HubError::Invalid`] where the target is there already.
    pub(super) fn open(target: &Path, origin: &str) -> Result<Self, HubError> {
        let beside = |suffix: &str| {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(suffix);
            target.with_file_name(name)
        };
        let (folder, lock_path) = (beside(".tmp"), beside(".lock"));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(io_error(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HubError::Busy(target.to_owned())),
            Err(TryLockError::Error(source)) => return Err(HubError::Io { path: lock_path, source }),
        }
        if target.exists() {
            return Err(HubError::Invalid(format!("{} is there already", target.display())));
        }
        let record = folder.join(RECORD);
        if fs::read_to_string(&record).ok().as_deref() != Some(origin) {
            remove_folder(&folder)?;
            fs::create_dir(&folder).map_err(io_error(&folder))?;
            fs::write(&record, origin).map_err(io_error(&record))?;
        }
        Ok(Self { target: target.to_owned(), folder, lock_path, _lock: lock })
    }

    /// Where a file goes; its folder is made.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, HubError> {
        let place = self.folder.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        Ok(place)
    }

    /// Puts the folder, which must hold the given files and may hold nothing else, in its place.
    pub(super) fn publish(self, files: &[String]) -> Result<PathBuf, HubError> {
        let record = self.folder.join(RECORD);
        fs::remove_file(&record).map_err(io_error(&record))?;
        let mut folders: Vec<PathBuf> =
            files.iter().filter_map(|path| Some(self.folder.join(path).parent()?.to_owned())).collect();
        folders.push(self.folder.clone());
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            sync_folder(&folder)?;
        }
        fs::rename(&self.folder, &self.target).map_err(io_error(&self.target))?;
        if let Some(parent) = self.target.parent() {
            sync_folder(parent)?;
        }
        // Whoever waits with the old file open finds the target there once the lock is free.
        if let Err(error) = fs::remove_file(&self.lock_path) {
            tracing::debug!(path = %self.lock_path.display(), %error, "the lock file stays behind");
        }
        Ok(self.target)
    }
}

/// Makes a folder's list of names outlive a power cut.
fn sync_folder(folder: &Path) -> Result<(), HubError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

fn remove_folder(folder: &Path) -> Result<(), HubError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(folder)(error)),
        _ => Ok(()),
    }
}

/// Names the file that an error is about.
pub(super) fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> HubError + use<> {
    let path = path.to_owned();
    move |source| HubError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_kept_for_the_same_commit_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("models/m");
        let begin = |origin: &str| Staging::open(&target, origin).unwrap();
        fs::write(begin("a").place("x/part").unwrap(), "1").unwrap();
        assert!(begin("a").place("x/part").unwrap().exists());
        assert!(!begin("b").place("x/part").unwrap().exists());
    }

    #[test]
    fn two_pulls_do_not_meet_and_the_folder_appears_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("m");
        let staging = Staging::open(&target, "a").unwrap();
        assert!(matches!(Staging::open(&target, "a"), Err(HubError::Busy(_))));
        fs::write(staging.place("1_Pooling/config.json").unwrap(), "{}").unwrap();
        assert!(!target.exists());
        staging.publish(&["1_Pooling/config.json".into()]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left beside the target");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "something else is in the target");
        assert!(matches!(Staging::open(&target, "a"), Err(HubError::Invalid(_))));
    }
}
