//! A file's bytes: decompressed, counted, and cut off at a limit.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use crate::data::error::DatasetError;

use super::ReadLimits;

/// How much of the content is looked at to tell its layout.
const HEAD_BYTES: u64 = 64 << 10;

/// How a file is packed. The bytes tell, never the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What a reader has been given so far.
#[derive(Debug, Default)]
pub(super) struct Meter {
    total: Cell<u64>,
    record: Cell<u64>,
    newlines: Cell<u64>,
}

impl Meter {
    /// The line of the last byte given out, from 1. Right to the byte for a reader that asks byte by byte.
    pub(super) fn line(&self) -> u64 {
        self.newlines.get() + 1
    }

    /// Another record begins, with a full allowance of bytes.
    pub(super) fn start_record(&self) {
        self.record.set(0);
    }
}

/// A file opened for reading.
pub(super) struct Source {
    /// The content's first bytes, without a byte-order mark.
    pub(super) head: Vec<u8>,
    /// How it is packed.
    pub(super) compression: Compression,
    /// The content from its start, without a byte-order mark.
    pub(super) reader: Metered,
    /// What `reader` has given out.
    pub(super) meter: Rc<Meter>,
}

/// Opens a file and sees through its compression.
///
/// # Errors
/// Where it cannot be read, is packed in another way, or is UTF-16.
pub(super) fn open(path: &Path, limits: &ReadLimits) -> Result<Source, DatasetError> {
    let to_error = |source| DatasetError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(to_error)?;
    let mut magic = Vec::new();
    (&mut file).take(8).read_to_end(&mut magic).map_err(to_error)?;
    let compression = compression_of(&magic)?;
    let whole: Box<dyn Read> = Box::new(Cursor::new(magic).chain(file));
    let mut content: Box<dyn Read> = match compression {
        Compression::None => whole,
        Compression::Gzip => {
            Box::new(Unpacked { inner: flate2::read::MultiGzDecoder::new(BufReader::new(whole)), name: "gzip" })
        }
        Compression::Zstd => Box::new(Unpacked { inner: zstd::Decoder::new(whole).map_err(to_error)?, name: "zstd" }),
    };
    let mut head = Vec::new();
    content.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| into_dataset_error(path, error))?;
    refuse_utf16(&head)?;
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    let meter = Rc::new(Meter::default());
    let reader = Metered {
        inner: BufReader::with_capacity(64 << 10, Box::new(Cursor::new(head.clone()).chain(content))),
        meter: Rc::clone(&meter),
        max_total: limits.max_decompressed_bytes,
        max_record: limits.max_record_bytes,
    };
    Ok(Source { head, compression, reader, meter })
}

fn compression_of(magic: &[u8]) -> Result<Compression, DatasetError> {
    let refused = |name: &str| {
        Err(DatasetError::format(format!(
            "the file is packed with {name}; plain, gzip and zstd files of CSV, TSV, JSON, JSON Lines or Parquet are read"
        )))
    };
    match magic {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A zstd file may open with a frame to be skipped.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [b'P', b'K', 3, 4, ..] => refused("zip (an Excel workbook is such a file too)"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => refused("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refused("xz"),
        [b'7', b'z', 0xbc, 0xaf, ..] => refused("7z"),
        _ => Ok(Compression::None),
    }
}

fn refuse_utf16(head: &[u8]) -> Result<(), DatasetError> {
    // Without its mark, UTF-16 shows by the zero half of its first, ASCII, character.
    if matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..]) {
        return Err(DatasetError::format("the file looks like UTF-16; UTF-8 is expected"));
    }
    Ok(())
}

/// Counts what it gives out and stops at the limits.
pub(super) struct Metered {
    inner: BufReader<Box<dyn Read>>,
    meter: Rc<Meter>,
    max_total: u64,
    max_record: u64,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let total = self.meter.total.get() + count as u64;
        let record = self.meter.record.get() + count as u64;
        self.meter.total.set(total);
        self.meter.record.set(record);
        let newlines = buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        self.meter.newlines.set(self.meter.newlines.get() + newlines as u64);
        if total > self.max_total {
            return Err(io::Error::other(ContentError::TooLong {
                what: "the content is longer",
                limit: self.max_total,
            }));
        }
        if record > self.max_record {
            return Err(io::Error::other(ContentError::TooLong {
                what: "a record is longer (a quote left open?)",
                limit: self.max_record,
            }));
        }
        Ok(count)
    }
}

/// A decompressor whose complaints about the content are told from failures to read the file.
struct Unpacked<R> {
    inner: R,
    name: &'static str,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            io::Error::other(ContentError::Damaged { name: self.name, reason: error.to_string() })
        })
    }
}

/// What is wrong with the content, on its way through `io::Error`.
#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error("{what} than {limit} bytes")]
    TooLong { what: &'static str, limit: u64 },
    #[error("the {name} stream is damaged or cut short: {reason}")]
    Damaged { name: &'static str, reason: String },
}

/// Tells what is wrong with the content from what is wrong with the disk.
pub(super) fn into_dataset_error(path: &Path, error: io::Error) -> DatasetError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ContentError>()) {
        Some(ContentError::TooLong { what, limit }) => {
            DatasetError::TooLarge { what: format!("{what} in bytes"), limit: *limit }
        }
        Some(damaged) => DatasetError::format(damaged.to_string()),
        None => DatasetError::Io { path: path.to_owned(), source: error },
    }
}
