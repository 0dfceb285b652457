//! A folder as one file, made while it is sent: a thread reads and compresses into a bounded channel, which the client
//! empties at its own pace. The same folder gives the same bytes.

use std::fs::File;
use std::io::{self, BufWriter, Read, Take, Write};
use std::time::UNIX_EPOCH;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::ListedFile;

/// Weights are close to random: a higher level takes many times as long to save a few percent.
const LEVEL: u32 = 1;
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks that may wait for the client.
const CHUNKS: usize = 8;

/// How an archive is laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub(in crate::http) enum ArchiveFormat {
    /// A tar file, compressed by gzip.
    #[default]
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A ZIP file.
    #[serde(rename = "zip")]
    Zip,
}

impl ArchiveFormat {
    /// What a file of this layout is called at its end.
    #[must_use]
    pub(in crate::http) fn extension(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }

    /// The media type.
    #[must_use]
    pub(in crate::http) fn content_type(self) -> &'static str {
        match self {
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }
}

/// An archive of `files` in the order given, all below one folder `root`. An error on the way breaks the body off, so that
/// no client takes half an archive for a whole one.
///
/// # Errors
/// Where one of the files cannot be opened. Once all are open, deleting them does no harm.
pub(in crate::http) async fn archive(root: String, files: Vec<ListedFile>, format: ArchiveFormat) -> io::Result<Body> {
    let open = move || files.into_iter().map(|file| Entry::open(&root, &file)).collect::<io::Result<Vec<_>>>();
    let entries = tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let writer = BufWriter::with_capacity(CHUNK_BYTES, ChannelWriter(sender.clone()));
        let written = match format {
            ArchiveFormat::TarGz => write_tar_gz(entries, writer),
            ArchiveFormat::Zip => write_zip(entries, writer),
        };
        if let Err(error) = written {
            // Nobody hears it where the client has gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(Body::from_stream(ReceiverStream::new(receiver)))
}

/// A file that is open already. Reads as many bytes as the file had then, or fails: the archive's headers promise them.
struct Entry {
    name: String,
    file: Take<File>,
    size_bytes: u64,
    /// Seconds since 1970.
    modified: u64,
}

impl Entry {
    fn open(root: &str, listed: &ListedFile) -> io::Result<Self> {
        let file = File::open(&listed.path)?;
        let metadata = file.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let size_bytes = metadata.len();
        Ok(Self { name: format!("{root}/{}", listed.name), file: file.take(size_bytes), size_bytes, modified })
    }
}

impl Read for Entry {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer)? {
            0 if self.file.limit() > 0 && !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

fn write_tar_gz(entries: Vec<Entry>, writer: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(writer, Compression::new(LEVEL)));
    for mut entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(entry.size_bytes);
        header.set_mode(0o644);
        header.set_mtime(entry.modified);
        let name = std::mem::take(&mut entry.name);
        tar.append_data(&mut header, name, entry)?;
    }
    tar.into_inner()?.finish()?.flush()
}

fn write_zip(entries: Vec<Entry>, writer: impl Write) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(writer);
    for mut entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(LEVEL)))
            .last_modified_time(DateTime::DEFAULT)
            .large_file(entry.size_bytes >= u64::from(u32::MAX))
            .unix_permissions(0o644);
        zip.start_file(entry.name.as_str(), options)?;
        io::copy(&mut entry, &mut zip)?;
    }
    zip.finish()?.into_inner().flush()
}

/// Sends what is written; fails once nobody receives, which ends the writing.
struct ChannelWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use http_body_util::BodyExt;

    use super::super::list;
    use super::*;

    /// Larger than all chunks that may wait, and not to be compressed.
    fn noise() -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..(3 * CHUNKS * CHUNK_BYTES / 8)).flat_map(|_| next()).collect()
    }

    async fn collect(format: ArchiveFormat, folder: &std::path::Path) -> Bytes {
        let files = list(folder).expect("it is read");
        let body = archive("epoch-1".into(), files, format).await.expect("the files open");
        body.collect().await.expect("no error on the way").to_bytes()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("1_Pooling")).expect("it is made");
        fs::write(folder.path().join("1_Pooling/config.json"), "{}").expect("it is written");
        fs::write(folder.path().join("model.safetensors"), noise()).expect("it is written");
        folder
    }

    const NAMES: [&str; 2] = ["epoch-1/1_Pooling/config.json", "epoch-1/model.safetensors"];

    #[tokio::test]
    async fn a_tar_gz_unpacks_to_the_same_files_and_is_the_same_each_time() {
        let folder = folder();
        let bytes = collect(ArchiveFormat::TarGz, folder.path()).await;
        assert_eq!(bytes, collect(ArchiveFormat::TarGz, folder.path()).await);
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut files = Vec::new();
        for entry in tar.entries().expect("it is a tar file") {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("it is whole");
            files.push((entry.path().expect("a path").to_string_lossy().into_owned(), content));
        }
        assert_eq!(files, [(NAMES[0].to_owned(), b"{}".to_vec()), (NAMES[1].to_owned(), noise())]);
    }

    #[tokio::test]
    async fn a_zip_unpacks_to_the_same_files_and_is_the_same_each_time() {
        let folder = folder();
        let bytes = collect(ArchiveFormat::Zip, folder.path()).await;
        assert_eq!(bytes, collect(ArchiveFormat::Zip, folder.path()).await);
        let mut zip = zip::ZipArchive::new(io::Cursor::new(&bytes[..])).expect("it is a zip file");
        assert_eq!(zip.len(), NAMES.len());
        for (name, expected) in NAMES.iter().zip([b"{}".to_vec(), noise()]) {
            let mut content = Vec::new();
            zip.by_name(name).expect("it is listed").read_to_end(&mut content).expect("its checksum is right");
            assert_eq!(content, expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_shrinks_on_the_way_breaks_the_archive_off() {
        for format in [ArchiveFormat::TarGz, ArchiveFormat::Zip] {
            let folder = folder();
            let files = list(folder.path()).expect("it is read");
            let body = archive("epoch-1".into(), files, format).await.expect("the files open");
            // The channel is full long before the end of the file, so the rest is still unread.
            let mut body = body.into_data_stream();
            let first = futures::StreamExt::next(&mut body).await.expect("a chunk").expect("no error yet");
            assert!(!first.is_empty());
            File::options()
                .write(true)
                .open(folder.path().join("model.safetensors"))
                .expect("it opens")
                .set_len(9)
                .expect("cut");
            let rest: Vec<_> = futures::StreamExt::collect(body).await;
            assert!(rest.last().expect("an end").is_err(), "half an archive looks whole");
        }
    }
}
