//! What a client says of a model to add, and what becomes of it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::{FieldError, Model, ModelId, ModelSource, ModelStatus, utc_now};
use crate::hub::folder::check_allowed;
use crate::hub::{HubError, check_repo, check_revision};

use super::ApiError;
use super::pulls::inspect;

const DEFAULT_REVISION: &str = "main";
const MAX_NAME_CHARS: usize = 200;
/// What names of fine-tuned models begin with.
const JOB_PREFIX: &str = "job:";

/// Where a model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SourceKind {
    /// The Hugging Face Hub.
    Hub,
    /// A folder below one that the operator allows.
    Folder,
}

/// A model to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"source": "hub", "repo": "sentence-transformers/all-MiniLM-L6-v2"}))]
pub(super) struct ModelRequest {
    /// Where it comes from.
    source: SourceKind,
    /// `organisation/name` on the Hub.
    repo: Option<String>,
    /// A branch, tag or commit on the Hub; `main` by default.
    revision: Option<String>,
    /// The folder's absolute path.
    path: Option<String>,
    /// What to call it as `model`; by default the repository's name (with `@revision` unless that is `main`) or the
    /// folder's.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

impl ModelRequest {
    /// A model of the Hub.
    pub(super) fn hub(repo: Option<String>, revision: Option<String>, name: Option<String>) -> Self {
        Self { source: SourceKind::Hub, repo, revision, path: None, name }
    }

    /// A folder of the server.
    pub(super) fn folder(path: Option<String>, name: Option<String>) -> Self {
        Self { source: SourceKind::Folder, repo: None, revision: None, path, name }
    }

    /// The model to store: one to pull, or a folder that has been looked into and is ready.
    ///
    /// # Errors
    /// 422 with all wrong fields, or with what is not supported about the folder.
    pub(super) async fn check(self, roots: &[PathBuf]) -> Result<Model, ApiError> {
        let Self { source, repo, revision, path, name } = self;
        let mut errors = Vec::new();
        if let Some(error) = name.as_deref().and_then(name_error) {
            errors.push(error);
        }
        let mut not_of_source = |field: &str, given: bool, kind: &str| {
            if given {
                errors.push(FieldError::new(field, format!("it goes with source `{kind}`")));
            }
        };
        let wanted = match source {
            SourceKind::Hub => {
                not_of_source("path", path.is_some(), "folder");
                repo.ok_or_else(|| FieldError::new("repo", "a repository of the Hub is expected, `organisation/name`"))
            }
            SourceKind::Folder => {
                not_of_source("repo", repo.is_some(), "hub");
                not_of_source("revision", revision.is_some(), "hub");
                path.ok_or_else(|| FieldError::new("path", "a folder's absolute path is expected"))
            }
        };
        if let (SourceKind::Hub, Ok(repo)) = (source, &wanted) {
            errors.extend(check_repo(repo).err().map(|error| FieldError::new("repo", error.to_string())));
        }
        if let (SourceKind::Hub, Some(revision)) = (source, &revision) {
            errors.extend(check_revision(revision).err().map(|error| FieldError::new("revision", error.to_string())));
        }
        let wanted = match wanted {
            Ok(wanted) if errors.is_empty() => wanted,
            wanted => {
                errors.extend(wanted.err());
                return Err(ApiError::invalid(errors));
            }
        };
        match source {
            SourceKind::Hub => Ok(to_pull(wanted, revision, name)),
            SourceKind::Folder => registered(PathBuf::from(wanted), roots.to_vec(), name).await,
        }
    }
}

pub(super) fn name_error(name: &str) -> Option<FieldError> {
    let length = name.chars().count();
    let message =
        if !(1..=MAX_NAME_CHARS).contains(&length) || name.trim() != name || name.chars().any(char::is_control) {
            format!("1 to {MAX_NAME_CHARS} printable characters are expected, without spaces around them")
        } else if name.starts_with(JOB_PREFIX) {
            format!("`{JOB_PREFIX}` begins the names of fine-tuned models")
        } else {
            return None;
        };
    Some(FieldError::new("name", message))
}

fn model(name: String, source: ModelSource) -> Model {
    Model {
        id: ModelId::generate(),
        name,
        source,
        status: ModelStatus::Pulling,
        error: None,
        summary: None,
        size_bytes: 0,
        created_at: utc_now(),
    }
}

fn to_pull(repo: String, revision: Option<String>, name: Option<String>) -> Model {
    let revision = revision.unwrap_or_else(|| DEFAULT_REVISION.into());
    let name =
        name.unwrap_or_else(|| if revision == DEFAULT_REVISION { repo.clone() } else { format!("{repo}@{revision}") });
    model(name, ModelSource::Hub { repo, revision })
}

async fn registered(path: PathBuf, roots: Vec<PathBuf>, name: Option<String>) -> Result<Model, ApiError> {
    let look = move || {
        let folder = check_allowed(&path, &roots).map_err(folder_error)?;
        let (summary, size_bytes) = inspect(&folder)?;
        Ok::<_, ApiError>((folder, summary, size_bytes))
    };
    let (folder, summary, size_bytes) = tokio::task::spawn_blocking(look).await.map_err(ApiError::internal)??;
    let path = folder.to_str().ok_or_else(|| ApiError::invalid_field("path", "a path in UTF-8 is expected"))?;
    let name = match name {
        Some(name) => name,
        None => {
            let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if let Some(error) = name_error(&name) {
                return Err(ApiError::invalid_field(
                    "name",
                    format!("the folder's own does not do: {}", error.message),
                ));
            }
            name
        }
    };
    let model = model(name, ModelSource::Folder { path: path.to_owned() });
    Ok(Model { status: ModelStatus::Ready, summary: Some(summary), size_bytes, ..model })
}

/// A folder that is not there or not allowed is a bad value of a field, not a missing resource.
fn folder_error(error: HubError) -> ApiError {
    match error {
        HubError::Invalid(message) | HubError::NotFound(message) | HubError::Forbidden(message) => {
            ApiError::invalid_field("path", message)
        }
        error => error.into(),
    }
}
