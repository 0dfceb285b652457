//! The folder that an upload fills. It goes when its guard goes, so that a client that leaves, a bad row or a full disk
//! leaves nothing behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use crate::http::ApiError;

/// Bytes collected before each write.
const BUFFER_BYTES: usize = 1 << 20;

/// A folder that is deleted unless it is kept.
#[derive(Debug)]
pub(crate) struct UploadFolder {
    path: PathBuf,
    kept: bool,
}

impl UploadFolder {
    /// Makes `<name>.tmp` beside the place where the upload will lie, which `<name>` is the name of; a start after a crash
    /// deletes such folders.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let path = target.with_added_extension("tmp");
        fs::create_dir_all(&path)?;
        Ok(Self { path, kept: false })
    }

    /// Where it lies now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a stream to a file of the folder; returns its path and the SHA-256 of its bytes.
    ///
    /// # Errors
    /// The stream's errors, and where the file cannot be written.
    pub(super) async fn save(
        &self,
        name: &str,
        pieces: impl Stream<Item = Result<Bytes, ApiError>>,
    ) -> Result<(PathBuf, String), ApiError> {
        let path = self.path.join(name);
        let file = tokio::fs::File::create(&path).await.map_err(ApiError::io)?;
        let sha256 = copy(pieces, file).await?;
        Ok((path, sha256))
    }

    /// Renames the folder into its place. It is still deleted with its guard.
    ///
    /// # Errors
    /// Where that fails.
    pub(crate) fn publish(&mut self, target: PathBuf) -> io::Result<()> {
        fs::rename(&self.path, &target)?;
        self.path = target;
        self.sync()
    }

    /// Renames a folder within this one into its place, and deletes all else. It is still deleted with its guard.
    ///
    /// # Errors
    /// Where that fails.
    pub(crate) fn publish_part(&mut self, part: &Path, target: PathBuf) -> io::Result<()> {
        fs::rename(part, &target)?;
        fs::remove_dir_all(std::mem::replace(&mut self.path, target))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        // The rename is on disk once the folder above is.
        match self.path.parent() {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Lets the folder stay.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for UploadFolder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a refused upload stays on disk until the next start");
        }
    }
}

async fn copy(
    pieces: impl Stream<Item = Result<Bytes, ApiError>>,
    file: impl AsyncWrite + Unpin,
) -> Result<String, ApiError> {
    let mut pieces = std::pin::pin!(pieces);
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut sha256 = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        sha256.update(&piece);
        file.write_all(&piece).await.map_err(ApiError::io)?;
    }
    // Shutdown waits for the last write, so that a full disk shows here and not later.
    file.shutdown().await.map_err(ApiError::io)?;
    Ok(hex::encode(sha256.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ErrorCode;

    fn folder() -> (tempfile::TempDir, UploadFolder, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("datasets/v1.5");
        (root, UploadFolder::create(&target).unwrap(), target)
    }

    #[tokio::test]
    async fn what_is_saved_is_hashed() {
        let (_root, folder, _) = folder();
        let pieces = [&b"hello "[..], b"world"].map(|piece| Ok(Bytes::from_static(piece)));
        let (path, sha256) = folder.save("file", futures::stream::iter(pieces)).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), b"hello world");
        assert_eq!(sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    }

    #[test]
    fn only_what_is_kept_stays() {
        let (root, mut published, target) = folder();
        published.publish(target.clone()).unwrap();
        assert!(target.is_dir());
        drop(published);
        assert_eq!(fs::read_dir(root.path().join("datasets")).unwrap().count(), 0);
        let (_root, mut published, target) = folder();
        published.publish(target.clone()).unwrap();
        published.keep();
        assert!(target.is_dir());
    }

    #[test]
    fn of_a_published_part_nothing_else_stays() {
        let (root, mut published, target) = folder();
        let part = published.path().join("a/b");
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join("kept"), "").unwrap();
        fs::write(published.path().join("archive"), "").unwrap();
        published.publish_part(&part, target.clone()).unwrap();
        assert_eq!(fs::read_dir(root.path().join("datasets")).unwrap().count(), 1);
        assert!(target.join("kept").exists());
        drop(published);
        assert!(!target.exists());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_told_as_such() {
        let full = tokio::fs::File::options().write(true).open("/dev/full").await.unwrap();
        let error = copy(futures::stream::iter([Ok(Bytes::from_static(b"x"))]), full).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DiskFull);
        assert!(error.message().contains("disk"), "{}", error.message());
    }
}
