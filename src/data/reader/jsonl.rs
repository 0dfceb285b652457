//! JSON Lines: an object a line; blank lines are passed over.

use std::io::{BufRead, BufReader, Read};

use serde::de::DeserializeSeed;

use crate::data::error::DatasetError;

use super::json_value::RowSeed;
use super::object_rows::ObjectRows;
use super::source::{self, Source};
use super::{ReadContext, Table};

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(source: Source, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let meter = source.meter;
    let mut reader = BufReader::new(source.reader);
    let mut rows = ObjectRows::new(context);
    let mut bytes = Vec::new();
    for line in 1_u64.. {
        meter.start_record();
        bytes.clear();
        // The meter counts what is read ahead; the line itself is held to the limit here.
        let limit = context.limits.max_record_bytes;
        let count = reader
            .by_ref()
            .take(limit + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| source::into_dataset_error(context.path, error))?;
        if count == 0 {
            break;
        }
        if count as u64 > limit {
            return Err(DatasetError::TooLarge { what: format!("line {line} is longer in bytes"), limit });
        }
        let text = bytes.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let Ok(text) = std::str::from_utf8(text) else {
            rows.reject(line, "not valid UTF-8".into())?;
            continue;
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let seed = RowSeed { max_fields: context.limits.max_columns };
        match seed.deserialize(&mut json).and_then(|row| json.end().map(|()| row)) {
            Ok(row) => rows.push(line, row)?,
            Err(error) => rows.reject(line, format!("not a JSON object: {}", without_line(&error)))?,
        }
    }
    rows.finish()
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
