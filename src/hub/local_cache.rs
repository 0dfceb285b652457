//! What Python's huggingface_hub has already put on this machine; used where downloads are switched off.

use std::fs;
use std::path::{Path, PathBuf};

use super::listing::{self, Listing, RemoteFile};

/// A model in the cache, complete as far as can be told.
#[derive(Debug)]
pub(super) struct CachedModel {
    /// The folder that holds its files, as links.
    pub(super) snapshot: PathBuf,
    /// Its files.
    pub(super) listing: Listing,
}

/// Looks into `HF_HUB_CACHE`, or `hub` below `HF_HOME`.
pub(super) fn find(repo: &str, revision: &str) -> Option<CachedModel> {
    find_in(&hf_hub::resolve_cache_dir(), repo, revision)
}

fn find_in(cache: &Path, repo: &str, revision: &str) -> Option<CachedModel> {
    let folder = cache.join(format!("models--{}", repo.replace('/', "--")));
    let commit = fs::read_to_string(folder.join("refs").join(revision)).ok();
    let commit = commit.map_or_else(|| revision.to_owned(), |commit| commit.trim().to_owned());
    if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let snapshot = folder.join("snapshots").join(&commit);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&snapshot).ok()?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.path().is_dir() {
            let inner = fs::read_dir(entry.path()).ok()?.flatten();
            paths.extend(inner.filter_map(|inner| Some(format!("{name}/{}", inner.file_name().to_str()?))));
        } else {
            paths.push(name);
        }
    }
    let names = listing::wanted(paths.iter().map(String::as_str));
    if listing::missing(&names).is_some() {
        return None;
    }
    let files = names.into_iter().map(|path| {
        // A link whose target was never downloaded has no size, and its model is not complete.
        let size = fs::metadata(snapshot.join(&path)).ok()?.len();
        Some(RemoteFile { path, size, sha256: None })
    });
    let files = files.collect::<Option<Vec<_>>>()?;
    Some(CachedModel { listing: Listing { commit, files }, snapshot })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_complete_snapshot_is_found_by_branch_and_by_commit() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--org--name");
        let snapshot = folder.join("snapshots").join(COMMIT);
        for path in [folder.join("refs"), folder.join("blobs"), snapshot.join("1_Pooling")] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(folder.join("refs/main"), COMMIT).unwrap();
        fs::write(folder.join("blobs/weights"), "12345").unwrap();
        fs::write(snapshot.join("config.json"), "{}").unwrap();
        fs::write(snapshot.join("1_Pooling/config.json"), "{}").unwrap();
        assert!(find_in(cache.path(), "org/name", "main").is_none(), "weights are missing");

        symlink("../../blobs/weights", snapshot.join("model.safetensors")).unwrap();
        for revision in ["main", COMMIT] {
            let found = find_in(cache.path(), "org/name", revision).expect("it is complete");
            assert_eq!(found.listing.commit, COMMIT);
            assert_eq!(found.listing.total_bytes(), 5 + 2 + 2);
        }
        assert!(find_in(cache.path(), "org/name", "other").is_none());
        assert!(find_in(cache.path(), "org/other", "main").is_none());

        fs::remove_file(folder.join("blobs/weights")).unwrap();
        assert!(find_in(cache.path(), "org/name", "main").is_none(), "the link leads nowhere");
    }
}
