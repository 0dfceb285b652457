//! JSON Lines: an object a line; blank lines are passed over.

use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

use serde::de::DeserializeSeed;

use crate::data::error::DatasetError;

use super::json_value::{JsonRow, RowSeed, kind};
use super::object_rows::ObjectRows;
use super::preview::FirstRows;
use super::source::{self, Meter, Metered, Source};
use super::{ReadContext, Table};

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(source: Source, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let mut rows = ObjectRows::new(context);
    let mut lines = Lines::new(source, context);
    while let Some((line, row)) = lines.next()? {
        match row {
            Ok(row) => rows.push(line, row)?,
            Err(message) => rows.reject(line, message)?,
        }
    }
    rows.finish()
}

/// Reads the first rows as they stand; lines that are none are passed over, unless none is one.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn preview(
    source: Source,
    context: &ReadContext<'_>,
    first: &mut FirstRows<'_>,
) -> Result<(), DatasetError> {
    let mut lines = Lines::new(source, context);
    let mut problem = None;
    while !first.is_full()
        && let Some((line, row)) = lines.next()?
    {
        match row {
            Ok(JsonRow::Fields(fields)) => first.push_fields(fields)?,
            Ok(JsonRow::Other(cell)) => {
                problem.get_or_insert_with(|| (line, format!("{}; an object is expected", kind(&cell))));
            }
            Err(message) => {
                problem.get_or_insert((line, message));
            }
        }
    }
    match problem {
        Some((line, message)) if first.columns.is_empty() => {
            Err(DatasetError::format(format!("no line is a row; line {line}: {message}")))
        }
        _ => Ok(()),
    }
}

/// The lines that are not blank, one after another.
struct Lines<'c> {
    context: &'c ReadContext<'c>,
    meter: Rc<Meter>,
    reader: BufReader<Metered>,
    bytes: Vec<u8>,
    line: u64,
}

impl<'c> Lines<'c> {
    fn new(source: Source, context: &'c ReadContext<'c>) -> Self {
        Self { context, meter: source.meter, reader: BufReader::new(source.reader), bytes: Vec::new(), line: 0 }
    }

    /// The next line's number and its value, or what is wrong with it; none at the end.
    #[allow(clippy::type_complexity, reason = "a line, its number, and why it is none")]
    fn next(&mut self) -> Result<Option<(u64, Result<JsonRow, String>)>, DatasetError> {
        let Self { context, meter, reader, bytes, line } = self;
        loop {
            *line += 1;
            meter.start_record();
            bytes.clear();
            // The meter counts what is read ahead; the line itself is held to the limit here.
            let limit = context.limits.max_record_bytes;
            let count = reader
                .by_ref()
                .take(limit + 1)
                .read_until(b'\n', bytes)
                .map_err(|error| source::into_dataset_error(context.path, error))?;
            if count == 0 {
                return Ok(None);
            }
            if count as u64 > limit {
                return Err(DatasetError::TooLarge { what: format!("line {line} is longer in bytes"), limit });
            }
            let text = bytes.trim_ascii();
            if !text.is_empty() {
                return Ok(Some((*line, row(text, context.limits.max_columns))));
            }
        }
    }
}

/// A line's value, or what is wrong with it.
fn row(text: &[u8], max_fields: usize) -> Result<JsonRow, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not valid UTF-8")?;
    let mut json = serde_json::Deserializer::from_str(text);
    let row = RowSeed { max_fields }.deserialize(&mut json).and_then(|row| json.end().map(|()| row));
    row.map_err(|error| format!("not a JSON object: {}", without_line(&error)))
}

/// serde_json counts lines within the text that it is given, which here is always one.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&end) {
        Some(message) => format!("{message} at column {}", error.column()),
        None => message,
    }
}
