//! Reading a model folder's files, each no larger than its kind can be.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::super::ModelError;

/// The most that a small JSON file may hold.
pub(super) const SMALL_FILE: u64 = 1 << 20;
/// The most that tokenizer.json or a vocabulary may hold.
pub(super) const TOKENIZER_FILE: u64 = 64 << 20;

/// A file's bytes; none where there is no such file.
///
/// # Errors
/// Where it cannot be read or is larger than `limit`.
pub(super) fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ModelError> {
    let failed = |source| ModelError::File { path: path.into(), source };
    // Looked at before it is opened, since opening a pipe would wait for a writer.
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(malformed(path, "a file is expected")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(malformed(path, format!("at most {limit} bytes are expected")));
    }
    Ok(Some(bytes))
}

/// As [`read_optional`], of a file that must be there.
///
/// # Errors
/// Also where there is no such file.
pub(super) fn read_required(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "the model folder lacks this file");
    read_optional(path, limit)?.ok_or_else(|| ModelError::File { path: path.into(), source: missing() })
}

/// A small JSON file's content; none where there is no such file.
///
/// # Errors
/// Where it cannot be read, or is not what `T` expects.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    let Some(bytes) = read_optional(path, SMALL_FILE)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| malformed(path, error.to_string()))
}

/// The error of a file that does not hold what it should.
pub(super) fn malformed(path: &Path, message: impl Into<String>) -> ModelError {
    ModelError::Malformed { path: path.into(), message: message.into() }
}
