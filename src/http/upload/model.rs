//! From a received archive to a model folder.

use std::path::PathBuf;

use crate::domain::{Model, ModelId, ModelSource, ModelStatus, utc_now};
use crate::http::model_request::name_error;
use crate::http::pulls::inspect;
use crate::http::{ApiError, ErrorCode};
use crate::hub::{HubError, unpack_model};

use super::UploadFolder;
use super::receive::Upload;

/// What archives' names end with.
const ENDINGS: [&str; 6] = [".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tar", ".zip"];

/// Unpacks what was received within the same folder, looks into it, and gives the model with the folder that holds it.
///
/// # Errors
/// 422 for what is wrong with the archive, its name or the model in it, 507 where the disk is full.
pub(crate) fn unpack(
    folder: &UploadFolder,
    id: ModelId,
    upload: &Upload,
    max_bytes: u64,
) -> Result<(Model, PathBuf), ApiError> {
    let Upload { fields, file, .. } = upload;
    let name = fields.name.clone().or_else(|| of_file(file.name.as_deref()?));
    let name = name.ok_or_else(|| ApiError::invalid_field("name", "what to call the model is expected"))?;
    if let Some(error) = name_error(&name) {
        return Err(ApiError::invalid(vec![error]));
    }
    let unpacked = folder.path().join("unpacked");
    std::fs::create_dir(&unpacked).map_err(ApiError::io)?;
    let found = unpack_model(&file.path, &unpacked, max_bytes).map_err(|error| match error {
        HubError::Invalid(message) => ApiError::invalid_field("file", message),
        error => error.into(),
    })?;
    let (summary, size_bytes) = inspect(&found).map_err(|error| {
        let error = ApiError::from(error);
        // Where the server keeps it meanwhile is nobody's business.
        let message = error.message().replace(&format!("{}/", found.display()), "");
        match error.code() {
            ErrorCode::UnsupportedModel => ApiError::invalid_field("file", message),
            _ => error.with_message(message),
        }
    })?;
    let source = ModelSource::Upload { file_name: file.name.clone(), sha256: file.sha256.clone() };
    let model = Model {
        id,
        name,
        source,
        status: ModelStatus::Ready,
        error: None,
        summary: Some(summary),
        size_bytes,
        created_at: utc_now(),
    };
    Ok((model, found))
}

/// An archive's name without what tells that it is one.
fn of_file(name: &str) -> Option<String> {
    let bare = ENDINGS.iter().find_map(|ending| {
        let begin = name.len().checked_sub(ending.len())?;
        name.get(begin..)?.eq_ignore_ascii_case(ending).then(|| &name[..begin])
    });
    let bare = bare.unwrap_or(name).trim();
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_its_archive() {
        for (file, name) in
            [("mine.tar.gz", Some("mine")), ("v1.5.ZIP", Some("v1.5")), ("é", Some("é")), (".zip", None)]
        {
            assert_eq!(of_file(file).as_deref(), name, "{file}");
        }
    }
}
