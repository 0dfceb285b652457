//! The files of a folder. Whatever a client may download stands in this list, and nothing that does not: a path is looked
//! up here, never joined to the folder unseen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder is never this deep; the limit is against loops.
const MAX_DEPTH: usize = 8;

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct ListedFile {
    /// Its path within the folder, with `/` between the names.
    pub(in crate::http) name: String,
    /// Where it lies.
    pub(in crate::http) path: PathBuf,
    /// Its size.
    pub(in crate::http) size_bytes: u64,
}

/// Every regular file below `folder`, sorted by name. Symbolic links are left out, since they may lead anywhere.
///
/// # Errors
/// Where the folder cannot be read.
pub(in crate::http) fn list(folder: &Path) -> io::Result<Vec<ListedFile>> {
    let mut files = Vec::new();
    collect(folder, "", MAX_DEPTH, &mut files)?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<ListedFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{prefix}{name}");
        // Of the entry itself: a link is neither a folder nor a file here.
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 1 {
            collect(&entry.path(), &format!("{name}/"), depth - 1, files)?;
        } else if kind.is_file() {
            files.push(ListedFile { name, path: entry.path(), size_bytes: entry.metadata()?.len() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_and_links_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("1_Pooling")).expect("it is made");
        for name in ["modules.json", "1_Pooling/config.json", "README.md"] {
            fs::write(at(name), name).expect("it is written");
        }
        std::os::unix::fs::symlink("/etc/hostname", at("link.json")).expect("it is made");
        std::os::unix::fs::symlink("/etc", at("etc")).expect("it is made");
        let names: Vec<(String, u64)> =
            list(folder.path()).expect("it is read").into_iter().map(|file| (file.name, file.size_bytes)).collect();
        let expected = [("1_Pooling/config.json", 21), ("README.md", 9), ("modules.json", 12)];
        assert_eq!(names, expected.map(|(name, size)| (name.to_owned(), size)));
    }
}
