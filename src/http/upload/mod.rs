//! A dataset's way in, and a model's: bytes from the network to a folder that only its row's insertion makes permanent.
//!
//! `body` bounds what arrives, `receive` takes it apart, `folder` keeps it on disk and deletes it again unless all ends
//! well; `ingest` reads, splits and writes a dataset in the stored form, `model` unpacks a model's archive.

mod body;
mod fields;
mod folder;
mod ingest;
mod model;
mod receive;

pub(super) use fields::{FINE_TUNE, FileForm, ModelForm, UploadFields, UploadForm, UploadKind};
pub(super) use folder::UploadFolder;
pub(super) use ingest::{ingest, look_into};
pub(super) use model::unpack;
pub(super) use receive::{FormTexts, receive};
