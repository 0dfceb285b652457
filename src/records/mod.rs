//! Records of a run that other tools read: TensorBoard's event files, `metrics.csv`, and TREC's files of what was found.
//! They are made from what the trainer tells, beside the checkpoints; nothing of ours reads them back.

mod recorder;
mod tensorboard;
pub mod trec;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

pub use recorder::RecordingSink;

/// Writes a file beside its place and renames it there, so that a reader finds the old one or the new one, whole.
///
/// # Errors
/// Where the disk refuses.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = io::BufWriter::new(File::create(&beside)?);
    fill(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, path)
}
