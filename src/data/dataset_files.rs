//! The stored form of a dataset: `train.jsonl` and `eval.jsonl`, one [`Pair`] a line, whatever was uploaded.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use crate::domain::Pair;

use super::error::DatasetError;

/// The file of the rows trained on.
pub const TRAIN_FILE: &str = "train.jsonl";
/// The file of the rows evaluated on.
pub const EVAL_FILE: &str = "eval.jsonl";

/// Writes both files into an existing folder and syncs them to disk; returns their size together in bytes. Where it
/// fails, neither file stays.
///
/// # Errors
/// [`DatasetError::Io`] where a file cannot be written, such as on a full disk.
pub fn write_stored(folder: &Path, train: &[Pair], eval: &[Pair]) -> Result<u64, DatasetError> {
    let write_both = || {
        let size = write_file(&folder.join(TRAIN_FILE), train)? + write_file(&folder.join(EVAL_FILE), eval)?;
        // The names are on disk once the folder is.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error(folder, error))?;
        Ok(size)
    };
    write_both().inspect_err(|_| {
        for name in [TRAIN_FILE, EVAL_FILE] {
            let path = folder.join(name);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a file of a refused dataset stays behind");
            }
        }
    })
}

/// Reads one of the files whole.
///
/// # Errors
/// [`DatasetError::Io`] where it cannot be read, [`DatasetError::Format`] where it is damaged.
pub fn read_stored(path: &Path) -> Result<Vec<Pair>, DatasetError> {
    read_range(path, 0, usize::MAX)
}

/// Reads `limit` rows of one of the files from row `offset` (from 0) on, holding no others in memory.
///
/// # Errors
/// As [`read_stored`].
pub fn preview(path: &Path, offset: u64, limit: usize) -> Result<Vec<Pair>, DatasetError> {
    read_range(path, offset, limit)
}

fn write_file(path: &Path, pairs: &[Pair]) -> Result<u64, DatasetError> {
    let write = || {
        let mut writer = BufWriter::new(File::create(path)?);
        for pair in pairs {
            serde_json::to_writer(&mut writer, pair)?;
            writer.write_all(b"\n")?;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    write().map_err(|error| io_error(path, error))
}

fn read_range(path: &Path, offset: u64, limit: usize) -> Result<Vec<Pair>, DatasetError> {
    let mut reader = BufReader::new(File::open(path).map_err(|error| io_error(path, error))?);
    let mut pairs = Vec::new();
    let mut line = Vec::new();
    let mut row = 0_u64;
    while pairs.len() < limit {
        let found = if row < offset {
            reader.skip_until(b'\n')
        } else {
            line.clear();
            reader.read_until(b'\n', &mut line)
        };
        if found.map_err(|error| io_error(path, error))? == 0 {
            break;
        }
        row += 1;
        if row > offset {
            let pair = serde_json::from_slice(&line)
                .map_err(|error| DatasetError::format(format!("{}: row {row} is damaged: {error}", path.display())))?;
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn io_error(path: &Path, source: io::Error) -> DatasetError {
    DatasetError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(id: &str, anchor: &str, positive: &str) -> Pair {
        Pair { id: id.into(), anchor: anchor.into(), positive: positive.into() }
    }

    #[test]
    fn preview_reads_the_rows_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let train: Vec<Pair> = (0..10).map(|id| pair(&id.to_string(), "a", "p")).collect();
        write_stored(folder.path(), &train, &[]).unwrap();
        let path = folder.path().join(TRAIN_FILE);
        let ids =
            |offset, limit| preview(&path, offset, limit).unwrap().into_iter().map(|pair| pair.id).collect::<Vec<_>>();
        assert_eq!(ids(0, 2), ["0", "1"]);
        assert_eq!(ids(8, 5), ["8", "9"]);
        assert_eq!(ids(10, 5), [""; 0]);
        assert_eq!(ids(0, 0), [""; 0]);
        assert_eq!(ids(u64::MAX, 5), [""; 0]);
        assert!(read_stored(&folder.path().join(EVAL_FILE)).unwrap().is_empty());
    }

    #[test]
    fn a_failure_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        // The second file cannot be made where a folder of its name stands.
        fs::create_dir(folder.path().join(EVAL_FILE)).unwrap();
        let error = write_stored(folder.path(), &[pair("1", "a", "p")], &[]).unwrap_err();
        assert!(error.to_string().contains(EVAL_FILE), "{error}");
        assert!(!folder.path().join(TRAIN_FILE).exists());
    }

    #[test]
    fn damage_is_told_by_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TRAIN_FILE);
        fs::write(&path, "{\"id\":\"1\",\"anchor\":\"a\",\"positive\":\"p\"}\n{\"id\":").unwrap();
        assert!(read_stored(&path).unwrap_err().to_string().contains("row 2"));
        assert_eq!(preview(&path, 0, 1).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in prop::collection::vec((".*", any::<String>(), any::<String>()), 0..20)) {
            let folder = tempfile::tempdir().unwrap();
            let train: Vec<Pair> = texts.iter().map(|(id, anchor, positive)| pair(id, anchor, positive)).collect();
            let eval: Vec<Pair> = train.iter().rev().cloned().collect();
            let size = write_stored(folder.path(), &train, &eval).unwrap();
            let (train_path, eval_path) = (folder.path().join(TRAIN_FILE), folder.path().join(EVAL_FILE));
            let on_disk = fs::metadata(&train_path).unwrap().len() + fs::metadata(&eval_path).unwrap().len();
            prop_assert_eq!(size, on_disk);
            prop_assert_eq!(read_stored(&train_path).unwrap(), train);
            prop_assert_eq!(read_stored(&eval_path).unwrap(), eval);
        }
    }
}
