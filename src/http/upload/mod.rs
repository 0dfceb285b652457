//! A dataset's way in: bytes from the network to a folder that only its row's insertion makes permanent.
//!
//! `body` bounds what arrives, `receive` takes it apart, `folder` keeps it on disk and deletes it again unless all ends
//! well, `ingest` reads, splits and writes it in the stored form.

mod body;
mod fields;
mod folder;
mod ingest;
mod receive;

pub(super) use fields::{FINE_TUNE, FileForm, UploadFields, UploadForm, UploadKind};
pub(super) use folder::UploadFolder;
pub(super) use ingest::ingest;
pub(super) use receive::receive;
