//! A model folder that comes packed: tar (plain, gzip or zstd) or ZIP. Nothing that the archive claims is trusted: not its
//! sizes, not its names, not its links.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::HubError;
use super::staging::io_error;

/// Files in one archive.
const MAX_FILES: usize = 1000;
/// Folders above a file.
const MAX_DEPTH: usize = 16;
/// What a model folder holds at its top, one or the other.
const MARKS: [&str; 2] = ["modules.json", "config.json"];

/// Unpacks an archive into the folder `target`, which is there and empty; returns the folder in it that holds the model.
///
/// # Errors
/// [`HubError::Invalid`] where it is no archive, is damaged, holds something else than files and folders, unpacks to more
/// than `max_bytes`, or holds no model; [`HubError::Io`] where a file cannot be written.
pub fn unpack_model(archive: &Path, target: &Path, max_bytes: u64) -> Result<PathBuf, HubError> {
    let mut unpacker = Unpacker { target, max_bytes, left: max_bytes, files: BTreeSet::new() };
    let open = || File::open(archive).map_err(io_error(archive));
    let mut head = Vec::new();
    open()?.take(512).read_to_end(&mut head).map_err(io_error(archive))?;
    let file = BufReader::with_capacity(1 << 20, open()?);
    match head.as_slice() {
        [0x1f, 0x8b, ..] => unpacker.tar(flate2::read::MultiGzDecoder::new(file))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpacker.tar(zstd::Decoder::with_buffer(file).map_err(damaged)?)?,
        [b'P', b'K', ..] => unpacker.zip(file)?,
        _ if head.get(257..262) == Some(b"ustar") => unpacker.tar(file)?,
        _ => return Err(invalid("a tar file (plain, or packed by gzip or zstd) or a ZIP file is expected")),
    }
    unpacker.model()
}

/// What has been unpacked so far.
struct Unpacker<'a> {
    target: &'a Path,
    max_bytes: u64,
    left: u64,
    /// The files' paths below the target.
    files: BTreeSet<PathBuf>,
}

impl Unpacker<'_> {
    fn tar(&mut self, content: impl Read) -> Result<(), HubError> {
        let mut archive = tar::Archive::new(content);
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let path = entry.path().map_err(damaged)?.into_owned();
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(&path, &mut entry)?,
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => {}
                _ => return Err(no_file(&path)),
            }
        }
        Ok(())
    }

    fn zip(&mut self, content: BufReader<File>) -> Result<(), HubError> {
        let to_error = |error: ZipError| match error {
            ZipError::Io(error) => damaged(error),
            other => invalid(format!("the archive cannot be read: {other}")),
        };
        let mut archive = ZipArchive::new(content).map_err(to_error)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(to_error)?;
            let path = PathBuf::from(entry.name().map_err(to_error)?.into_owned());
            if entry.is_symlink() {
                return Err(no_file(&path));
            }
            if !entry.is_dir() {
                self.file(&path, &mut entry)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, content: &mut dyn Read) -> Result<(), HubError> {
        let path = inside(path)?;
        // What macOS puts beside files.
        let is_junk = |part: Component<'_>| {
            part.as_os_str() == "__MACOSX" || part.as_os_str().as_encoded_bytes().starts_with(b"._")
        };
        if path.components().any(is_junk) {
            return Ok(());
        }
        let place = self.target.join(&path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(io_error(parent))?;
        }
        let mut file = File::create_new(&place).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => invalid(format!("the archive holds `{}` twice", path.display())),
            _ => io_error(&place)(error),
        })?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(damaged(error)),
            };
            self.left = self
                .left
                .checked_sub(count as u64)
                .ok_or_else(|| invalid(format!("the archive unpacks to more than {} bytes", self.max_bytes)))?;
            file.write_all(&buffer[..count]).map_err(io_error(&place))?;
        }
        file.sync_all().map_err(io_error(&place))?;
        self.files.insert(path);
        if self.files.len() > MAX_FILES {
            return Err(invalid(format!("the archive holds more than {MAX_FILES} files")));
        }
        Ok(())
    }

    /// The topmost folder that looks like a model.
    fn model(&self) -> Result<PathBuf, HubError> {
        let marked = self.files.iter().filter(|path| MARKS.iter().any(|mark| path.ends_with(mark)));
        let top = marked.filter_map(|path| path.parent()).min_by_key(|folder| folder.components().count());
        top.map(|folder| self.target.join(folder))
            .ok_or_else(|| invalid(format!("the archive holds no model: {} is expected", MARKS.join(" or "))))
    }
}

/// A path of the archive, where it leads to nowhere else.
fn inside(path: &Path) -> Result<PathBuf, HubError> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(invalid(format!("the archive's `{}` leads out of it", path.display())));
            }
        }
    }
    if !(1..=MAX_DEPTH).contains(&inside.components().count()) {
        return Err(invalid(format!("the archive's `{}` lies too deep", path.display())));
    }
    Ok(inside)
}

fn no_file(path: &Path) -> HubError {
    invalid(format!(
        "the archive's `{}` is neither a file nor a folder; pack what links lead to (tar -h)",
        path.display()
    ))
}

fn damaged(error: io::Error) -> HubError {
    invalid(format!("the archive is damaged or cut short: {error}"))
}

fn invalid(message: impl Into<String>) -> HubError {
    HubError::Invalid(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar file of these entries: a path, its kind, and what it holds or links to.
    fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            // Not by the crate's own setter, which refuses what a hostile archive may hold.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if *kind == tar::EntryType::Symlink {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content);
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, *content).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn file<'a>(path: &'a str, content: &'a [u8]) -> (&'a str, tar::EntryType, &'a [u8]) {
        (path, tar::EntryType::Regular, content)
    }

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (path, content) in entries {
            writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks; the model's folder below the target, and what its `config.json` holds.
    fn unpack(bytes: &[u8], max_bytes: u64) -> Result<(String, String), String> {
        let folder = tempfile::tempdir().unwrap();
        let (archive, target) = (folder.path().join("archive"), folder.path().join("target"));
        fs::write(&archive, bytes).unwrap();
        fs::create_dir(&target).unwrap();
        let model = unpack_model(&archive, &target, max_bytes);
        let outside: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside.len(), 2, "something was written outside: {outside:?}");
        let model = model.map_err(|error| error.to_string())?;
        let config = fs::read_to_string(model.join("config.json")).unwrap();
        Ok((model.strip_prefix(&target).unwrap().display().to_string(), config))
    }

    #[test]
    fn every_kind_of_archive_is_unpacked_and_the_model_found() {
        let entries =
            [file("./m/1_Pooling/config.json", b"{}"), file("./m/config.json", b"c"), file("__MACOSX/x", b"")];
        let tar = tar_of(&entries);
        let zip = zip_of(&[("m/1_Pooling/config.json", b"{}"), ("m/config.json", b"c"), ("m/._config.json", b"")]);
        for bytes in [tar.clone(), gzip(&tar), zstd::encode_all(tar.as_slice(), 1).unwrap(), zip] {
            assert_eq!(unpack(&bytes, 1000), Ok(("m".into(), "c".into())));
        }
        assert_eq!(unpack(&tar_of(&[file("config.json", b"c")]), 1000), Ok((String::new(), "c".into())));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let link = ("config.json", tar::EntryType::Symlink, &b"/etc/passwd"[..]);
        for (entries, part) in [
            (vec![file("../config.json", b"c")], "leads out"),
            (vec![file("m/../../config.json", b"c")], "leads out"),
            (vec![file("/tmp/config.json", b"c")], "leads out"),
            (vec![link], "neither a file"),
            (vec![("m", tar::EntryType::Symlink, &b"/tmp"[..]), file("m/config.json", b"c")], "neither a file"),
            (vec![file("config.json", b"c"), file("config.json", b"d")], "twice"),
            (vec![file("a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/config.json", b"c")], "too deep"),
            (vec![file("readme.txt", b"c")], "no model"),
        ] {
            let error = unpack(&tar_of(&entries), 1000).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = unpack(&zip_of(&[("../config.json", b"c")]), 1000).unwrap_err();
        assert!(error.contains("leads out"), "{error}");
    }

    #[test]
    fn what_is_too_large_or_damaged_is_refused() {
        let zeros = vec![0; 100_000];
        for bytes in [gzip(&tar_of(&[file("config.json", &zeros)])), zip_of(&[("config.json", &zeros)])] {
            assert!(unpack(&bytes, 99_999).unwrap_err().contains("more than 99999 bytes"));
            assert!(unpack(&bytes, 100_000).is_ok());
            assert!(unpack(&bytes[..bytes.len() / 2], 100_000).is_err());
        }
        let names: Vec<String> = (0..=MAX_FILES).map(|number| format!("{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| file(name, b"")).collect();
        assert!(unpack(&tar_of(&many), 1000).unwrap_err().contains("more than 1000 files"));
        assert!(unpack(b"no archive", 1000).unwrap_err().contains("tar file"));
        assert!(unpack(b"", 1000).is_err());
    }
}
