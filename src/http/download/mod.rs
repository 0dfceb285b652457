//! Files out of a folder: which there are, one of them with ranges, all of them as an archive.

mod archive;
mod file;
mod listing;

pub(super) use archive::{ArchiveFormat, archive};
pub(super) use file::send_file;
pub(super) use listing::{ListedFile, list};
