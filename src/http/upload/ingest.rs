//! From received files to a dataset's stored form.

use crate::data::dataset_files::write_stored;
use crate::data::error::DatasetError;
use crate::data::reader::{
    FilePreview, ReadOptions, ReadOutcome, count_duplicates, count_empty, preview_file, read_pairs,
};
use crate::data::split::{separate_ids, split_pairs};
use crate::domain::{DataDir, Dataset, DatasetId, SplitSource, utc_now};
use crate::http::ApiError;

use super::UploadFolder;
use super::fields::{UploadFields, UploadKind};
use super::receive::{ReceivedFile, Upload};

/// Reads what was received, splits it, and writes it in its stored form into the same folder. Takes seconds for large
/// files, and the memory for all rows.
///
/// # Errors
/// 413 and 422 for what is wrong with the files, 507 where the disk is full.
pub(crate) fn ingest(folder: &UploadFolder, id: DatasetId, upload: &Upload) -> Result<Dataset, ApiError> {
    let Upload { kind, fields, file, eval_file } = upload;
    let main = read(folder, fields, file, "").map_err(|error| ApiError::dataset(error, "file"))?;
    let ReadOutcome { pairs, format, mapping, ignored_columns, mut duplicate_rows, mut duplicate_positives } = main;
    let (train, eval, split) = match eval_file {
        None => {
            let (test_size, seed) = (fields.test_size(), fields.seed());
            let (train, eval) = split_pairs(pairs, test_size, seed)?;
            (train, eval, SplitSource::Fraction { test_size, seed })
        }
        Some(eval_file) => {
            let eval = read(folder, fields, eval_file, "eval-");
            let mut eval = eval.map_err(|error| ApiError::dataset(error, "eval_file"))?.pairs;
            separate_ids(&pairs, &mut eval);
            (duplicate_rows, duplicate_positives) = count_duplicates(pairs.iter().chain(&eval));
            (pairs, eval, SplitSource::File)
        }
    };
    let original_bytes = match kind {
        UploadKind::File => Some(keep_original(folder, file).map_err(ApiError::io)?),
        // Before the stored form is written, so that the disk never holds both.
        UploadKind::Dataset | UploadKind::Page | UploadKind::Model => {
            std::fs::remove_file(&file.path).map(|()| None).map_err(ApiError::io)?
        }
    };
    if let Some(eval_file) = eval_file {
        std::fs::remove_file(&eval_file.path).map_err(ApiError::io)?;
    }
    let size_bytes = write_stored(folder.path(), &train, &eval)?;
    Ok(Dataset {
        id,
        name: fields.dataset_name(file.name.as_deref(), id),
        format,
        mapping,
        ignored_columns,
        split,
        train_rows: train.len() as u64,
        eval_rows: eval.len() as u64,
        duplicate_rows,
        duplicate_positives,
        empty_rows: count_empty(train.iter().chain(&eval)),
        sha256: file.sha256.clone(),
        eval_sha256: eval_file.as_ref().map(|file| file.sha256.clone()),
        size_bytes,
        original_bytes,
        created_at: utc_now(),
    })
}

/// Looks at the first rows of what was received.
///
/// # Errors
/// 413 and 422 for what is wrong with the file, 507 where the disk is full.
pub(crate) fn look_into(folder: &UploadFolder, upload: &Upload, max_rows: usize) -> Result<FilePreview, ApiError> {
    let options = options(folder, &upload.fields, &upload.file);
    preview_file(&upload.file.path, &options, max_rows).map_err(|error| ApiError::dataset(error, "file"))
}

/// Lets the received file stay, under its final name and forced to the disk; returns its size.
fn keep_original(folder: &UploadFolder, file: &ReceivedFile) -> std::io::Result<u64> {
    let path = folder.path().join(DataDir::ORIGINAL);
    std::fs::rename(&file.path, &path)?;
    let original = std::fs::File::open(&path)?;
    original.sync_all()?;
    Ok(original.metadata()?.len())
}

fn read(
    folder: &UploadFolder,
    fields: &UploadFields,
    file: &ReceivedFile,
    row_id_prefix: &str,
) -> Result<ReadOutcome, DatasetError> {
    read_pairs(&file.path, &ReadOptions { row_id_prefix: row_id_prefix.to_owned(), ..options(folder, fields, file) })
}

fn options(folder: &UploadFolder, fields: &UploadFields, file: &ReceivedFile) -> ReadOptions {
    ReadOptions {
        format: fields.format,
        file_name: file.name.clone(),
        content_type: file.content_type.clone(),
        mapping: fields.mapping(),
        temporary_folder: Some(folder.path().to_owned()),
        ..ReadOptions::default()
    }
}
