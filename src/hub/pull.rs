//! Pulls one model's files from the Hub.

use std::path::{Path, PathBuf};

use super::answers::Answers;
use super::download::{Download, bytes_on_disk};
use super::listing::{self, Listing};
use super::staging::{Staging, io_error};
use super::{HubError, HubSettings, client, local_cache};

/// What to pull, and where to.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// `organisation/name`, or `name` alone.
    pub repo: String,
    /// A branch, tag or commit; `main` by default.
    pub revision: Option<String>,
    /// The folder that will hold the files; must not exist yet.
    pub target: PathBuf,
    /// Which Hub, with which token, within which limits.
    pub settings: HubSettings,
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullProgress {
    /// The file under way.
    pub file: String,
    /// Bytes of the whole model on disk by now, what an earlier pull left included.
    pub done_bytes: u64,
    /// Bytes of the whole model.
    pub total_bytes: u64,
}

/// A model's files, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledModel {
    /// The folder that holds them.
    pub folder: PathBuf,
    /// The commit they belong to (40 hexadecimal digits).
    pub commit: String,
    /// The files' paths within the repository.
    pub files: Vec<String>,
    /// Their size together.
    pub size_bytes: u64,
}

/// The branch that a repository without any other has.
const DEFAULT_REVISION: &str = "main";
/// Progress is told each time that so many bytes have come.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Pulls the files that a sentence-transformers or BERT model needs. They appear at `target` all at once; a pull that was
/// interrupted goes on where it stopped. Offline, they are copied from the cache that Python's huggingface_hub keeps.
///
/// # Errors
/// See [`HubError`].
pub async fn pull(
    request: PullRequest,
    mut on_progress: impl FnMut(PullProgress) + Send,
) -> Result<PulledModel, HubError> {
    check_repo(&request.repo)?;
    let revision = request.revision.as_deref().unwrap_or(DEFAULT_REVISION);
    check_revision(revision)?;
    let answers = Answers { settings: &request.settings, repo: &request.repo, revision };
    let limit = request.settings.max_model_bytes;
    if request.settings.offline {
        let Some(cached) = local_cache::find(&request.repo, revision) else {
            return Err(HubError::Offline { what: format!("{} at {revision}", request.repo) });
        };
        check_size(&request.repo, &cached.listing, limit)?;
        return copy(&request, cached, &mut on_progress).await;
    }
    let repository = client::repository(&request.settings, &request.repo).map_err(|error| answers.error(error))?;
    let listing = listing::list(&repository, &answers).await?;
    check_size(&request.repo, &listing, limit)?;

    let staging = Staging::open(&request.target, &listing.commit)?;
    let mut places = Vec::with_capacity(listing.files.len());
    let mut on_disk = Vec::with_capacity(listing.files.len());
    for file in &listing.files {
        let place = staging.place(&file.path)?;
        on_disk.push(bytes_on_disk(&place, file.size).await);
        places.push(place);
    }
    let total_bytes = listing.total_bytes();
    for (index, (file, place)) in listing.files.iter().zip(places).enumerate() {
        let others = on_disk.iter().sum::<u64>() - on_disk[index];
        let mut told = None;
        let mut on_bytes = |bytes: u64| {
            let due = told.is_none_or(|told: u64| bytes < told || bytes - told >= PROGRESS_BYTES) || bytes == file.size;
            if due {
                told = Some(bytes);
                on_progress(PullProgress { file: file.path.clone(), done_bytes: others + bytes, total_bytes });
            }
        };
        let download = Download { repository: &repository, answers, commit: &listing.commit, file, place };
        download.run(&mut on_bytes).await?;
        on_disk[index] = file.size;
    }
    publish(staging, listing)
}

/// Copies a model that is on this machine already.
async fn copy(
    request: &PullRequest,
    cached: local_cache::CachedModel,
    on_progress: &mut (dyn FnMut(PullProgress) + Send),
) -> Result<PulledModel, HubError> {
    let local_cache::CachedModel { snapshot, listing } = cached;
    let staging = Staging::open(&request.target, &listing.commit)?;
    let total_bytes = listing.total_bytes();
    let mut done_bytes = 0;
    for file in &listing.files {
        let (from, to) = (snapshot.join(&file.path), staging.place(&file.path)?);
        copy_file(&from, &to).await.map_err(io_error(&to))?;
        done_bytes += file.size;
        on_progress(PullProgress { file: file.path.clone(), done_bytes, total_bytes });
    }
    publish(staging, listing)
}

async fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    tokio::fs::copy(from, to).await?;
    tokio::fs::File::open(to).await?.sync_all().await
}

fn publish(staging: Staging, listing: Listing) -> Result<PulledModel, HubError> {
    let size_bytes = listing.total_bytes();
    let files: Vec<String> = listing.files.into_iter().map(|file| file.path).collect();
    let folder = staging.publish(&files)?;
    Ok(PulledModel { folder, commit: listing.commit, files, size_bytes })
}

fn check_size(repo: &str, listing: &Listing, limit: u64) -> Result<(), HubError> {
    let bytes = listing.total_bytes();
    if bytes > limit { Err(HubError::TooLarge { what: repo.to_owned(), bytes, limit }) } else { Ok(()) }
}

/// Refuses what cannot be a repository's name, so that nothing else gets into a URL or a path.
///
/// # Errors
/// [`HubError::Invalid`].
pub fn check_repo(repo: &str) -> Result<(), HubError> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !name.contains("..")
            && !name.contains("--")
    };
    let parts: Vec<&str> = repo.split('/').collect();
    if repo.len() <= 96 && parts.len() <= 2 && parts.iter().all(|part| is_name(part)) {
        return Ok(());
    }
    let shown: String = repo.chars().take(100).collect();
    Err(HubError::Invalid(format!(
        "`{}` is not a model's name on the Hub; `organisation/name` or `name` is expected, of letters, digits, `.`, `_` \
         and `-`",
        shown.escape_debug()
    )))
}

/// Refuses what cannot be a branch, tag or commit.
///
/// # Errors
/// [`HubError::Invalid`].
pub fn check_revision(revision: &str) -> Result<(), HubError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+".contains(&byte);
    let is_revision = (1..=200).contains(&revision.len())
        && revision.bytes().all(allowed)
        && !revision.contains("..")
        && !revision.contains("//")
        && !revision.starts_with(['/', '.', '-'])
        && !revision.ends_with('/');
    if is_revision {
        return Ok(());
    }
    let shown: String = revision.chars().take(100).collect();
    Err(HubError::Invalid(format!("`{}` is not a revision; a branch, tag or commit is expected", shown.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_revisions_are_checked() {
        for repo in ["BAAI/bge-base-en-v1.5", "gpt2", "sentence-transformers/all-MiniLM-L6-v2", "_a/b.c_d"] {
            assert!(check_repo(repo).is_ok(), "{repo}");
        }
        for repo in ["", "/", "a/", "/a", "a/b/c", "a/..", "../a", "a b", "a?b", "a%2Fb", "é", "a/b\n", &"a".repeat(97)]
        {
            assert!(matches!(check_repo(repo), Err(HubError::Invalid(_))), "{repo}");
        }
        for revision in ["main", "v1.0", "refs/pr/1", "feature/x", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in ["", "../main", "a..b", "/main", "main/", "a//b", "a b", "a?b=c", "-x", &"a".repeat(201)] {
            assert!(matches!(check_revision(revision), Err(HubError::Invalid(_))), "{revision}");
        }
    }
}
