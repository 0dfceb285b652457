//! Space kept back on the data directory's disk: where a job fills it, the job's end can still be written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::domain::DataDir;

/// Many times what the database's log takes for one change of a status.
const BYTES: usize = 1 << 20;

/// A file that takes space until the space is needed.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn new(data_dir: &DataDir) -> Self {
        Self(data_dir.root().join("matryo.reserve"))
    }

    /// Takes the space, unless it is taken already. A disk without room for it is logged, and no reason not to work.
    pub(super) fn hold(&self) {
        if fs::metadata(&self.0).is_ok_and(|metadata| metadata.len() == BYTES as u64) {
            return;
        }
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.0.display(), %error, "no space can be kept back for the ends of jobs");
            self.release();
        }
    }

    /// Gives the space back; true where there was some.
    pub(super) fn release(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let mut file = File::create(&self.0)?;
        file.write_all(&vec![0; BYTES])?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_held_until_it_is_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::new(&DataDir::new(folder.path()));
        assert!(!reserve.release());
        for _ in 0..2 {
            reserve.hold();
            assert_eq!(fs::metadata(&reserve.0).expect("it is held").len(), BYTES as u64);
        }
        assert!(reserve.release());
        assert!(!reserve.0.exists());
    }
}
