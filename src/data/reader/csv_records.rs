//! Splits CSV into records, each with the line that it begins at.
//!
//! The csv crate's own reader tells where it went on parsing, which with `\r\n` and blank lines is a line or more before
//! the record. So its parser (csv-core) is driven from here, and what lies between records is passed over and counted
//! before each.

use std::io::{self, BufRead, BufReader, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// A record's fields, reused from one to the next.
#[derive(Debug, Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    /// Where each field ends in `bytes`; only the first `fields` are this record's.
    ends: Vec<usize>,
    fields: usize,
    /// The line that it begins at, from 1.
    pub(super) line: u64,
}

impl Record {
    /// The number of fields.
    pub(super) fn len(&self) -> usize {
        self.fields
    }

    /// A field's bytes, quoting undone.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends[..self.fields].get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// All fields' bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.fields).filter_map(|index| self.get(index))
    }
}

/// Reads records one after another.
pub(super) struct Records<R> {
    input: BufReader<R>,
    parser: Reader,
    lines: LineCounter,
}

impl<R: Read> Records<R> {
    pub(super) fn new(input: R, delimiter: u8) -> Self {
        Self {
            input: BufReader::new(input),
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            lines: LineCounter::default(),
        }
    }

    /// Reads the next record, blank lines passed over; false at the end.
    pub(super) fn read(&mut self, record: &mut Record) -> io::Result<bool> {
        self.skip_line_breaks()?;
        record.line = self.lines.line();
        record.fields = 0;
        let mut written = 0;
        loop {
            let input = self.input.fill_buf()?;
            let (result, read, wrote, ended) =
                self.parser.read_record(input, &mut record.bytes[written..], &mut record.ends[record.fields..]);
            self.lines.count(&input[..read]);
            self.input.consume(read);
            written += wrote;
            record.fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => record.bytes.resize((record.bytes.len() * 2).max(1024), 0),
                ReadRecordResult::OutputEndsFull => record.ends.resize((record.ends.len() * 2).max(16), 0),
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn skip_line_breaks(&mut self) -> io::Result<()> {
        loop {
            let input = self.input.fill_buf()?;
            let breaks = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let more = breaks > 0 && breaks == input.len();
            self.lines.count(&input[..breaks]);
            self.input.consume(breaks);
            if !more {
                return Ok(());
            }
        }
    }
}

/// Counts lines ended by `\n`, `\r\n` or `\r`.
#[derive(Debug, Default)]
struct LineCounter {
    breaks: u64,
    after_return: bool,
}

impl LineCounter {
    /// The line that the next byte stands on, from 1.
    fn line(&self) -> u64 {
        self.breaks + 1
    }

    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.breaks += 1,
                _ => {}
            }
            self.after_return = *byte == b'\r';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<(u64, Vec<String>)> {
        // One byte at a time, so that every boundary of a buffer is met.
        struct Bytewise<'a>(&'a [u8]);
        impl Read for Bytewise<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = buffer.len().min(1);
                self.0.read(&mut buffer[..count])
            }
        }
        let mut all = Vec::new();
        let mut record = Record::default();
        let mut reader = Records::new(Bytewise(text.as_bytes()), b',');
        while reader.read(&mut record).unwrap() {
            let fields = record.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
            all.push((record.line, fields));
        }
        all
    }

    #[test]
    fn records_are_told_by_the_line_they_begin_at() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["", "a,b", "", "", "\"c", "d\",", "", "e"].join(end) + end;
            let within = format!("c{end}d");
            let expected = [(2, vec!["a", "b"]), (5, vec![within.as_str(), ""]), (8, vec!["e"])];
            let found = records(&text);
            let found: Vec<(u64, Vec<&str>)> =
                found.iter().map(|(line, fields)| (*line, fields.iter().map(String::as_str).collect())).collect();
            assert_eq!(found, expected, "{end:?}");
        }
    }

    #[test]
    fn quotes_are_undone() {
        assert_eq!(records("\"a\"\"b\",\"c,d\",e\"f"), [(1, vec!["a\"b".into(), "c,d".into(), "e\"f".into()])]);
        assert_eq!(records(""), []);
        assert_eq!(records("\n\r\n"), []);
    }
}
