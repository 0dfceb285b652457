//! The first rows of a JSON document as they stand, in any of the shapes that `json` reads.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::data::error::DatasetError;

use super::json::{LocatedSeed, ROWS_KEY, into_dataset_error};
use super::json_value::{JsonRow, RowSeed};
use super::preview::{FirstRows, shown};
use super::source::{Meter, Source};
use super::{ReadContext, too_many_columns};

/// Reads the first rows as they stand.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn preview(
    source: Source,
    context: &ReadContext<'_>,
    first: &mut FirstRows<'_>,
) -> Result<(), DatasetError> {
    let meter = source.meter;
    let mut json = serde_json::Deserializer::from_reader(source.reader);
    let mut document = Document { meter: &meter, first, is_done: false, failure: None };
    let read = (&mut document).deserialize(&mut json);
    match document.failure {
        Some(failure) => Err(failure),
        None if document.is_done => Ok(()),
        None => read.map_err(|error| into_dataset_error(context, error)),
    }
}

/// The document as it is read.
struct Document<'d, 'l> {
    meter: &'d Meter,
    first: &'d mut FirstRows<'l>,
    /// True once there are rows enough: the error that then ends the reading is none.
    is_done: bool,
    failure: Option<DatasetError>,
}

impl Document<'_, '_> {
    fn seed(&self) -> LocatedSeed<'_> {
        LocatedSeed { meter: self.meter, seed: RowSeed { max_fields: self.first.limits.max_columns } }
    }

    fn fail<E: Error>(&mut self, error: DatasetError) -> E {
        self.failure = Some(error);
        E::custom("refused")
    }

    /// Adds a row; an error once there are enough.
    fn push<E: Error>(&mut self, row: JsonRow) -> Result<(), E> {
        if let JsonRow::Fields(fields) = row {
            self.first.push_fields(fields).map_err(|error| self.fail(error))?;
        }
        self.is_done = self.first.is_full();
        if self.is_done { Err(E::custom("enough")) } else { Ok(()) }
    }

    /// Adds a column, with what stands in its first rows.
    fn push_column<E: Error>(&mut self, name: String, cells: Vec<Option<String>>) -> Result<(), E> {
        if self.first.columns.len() == self.first.limits.max_columns {
            return Err(self.fail(too_many_columns(self.first.limits)));
        }
        let index = self.first.columns.len();
        self.first.columns.push(name);
        for (number, cell) in cells.into_iter().enumerate() {
            if self.first.rows.len() == number {
                self.first.rows.push(Vec::new());
            }
            self.first.rows[number].resize(index, None);
            self.first.rows[number].push(cell);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects, `{\"data\": [...]}` or an object of columns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some((_, row)) = items.next_element_seed(self.seed())? {
            self.push(row)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(ColumnSeed { document: self, name })?;
        }
        Ok(())
    }
}

/// Reads the value of one key of the document: rows, or a column. What is neither is refused when the file is read for
/// good, and shown as a column without values here.
struct ColumnSeed<'c, 'd, 'l> {
    document: &'c mut Document<'d, 'l>,
    name: String,
}

impl ColumnSeed<'_, '_, '_> {
    fn no_array<E: Error>(self) -> Result<(), E> {
        self.document.push_column(self.name, Vec::new())
    }
}

impl<'de> DeserializeSeed<'de> for ColumnSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.document.meter.start_record();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ColumnSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.no_array()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.no_array()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.no_array()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.no_array()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.no_array()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.no_array()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.no_array()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { document, name } = self;
        let mut cells = Vec::new();
        let mut are_rows = false;
        // A document that is cut off within a column shows the column all the same.
        let read = loop {
            match items.next_element_seed(document.seed()) {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
                Ok(Some((_, row))) => {
                    are_rows |= name == ROWS_KEY && cells.is_empty() && matches!(row, JsonRow::Fields(_));
                    if are_rows {
                        document.push(row)?;
                    } else if cells.len() < document.first.max_rows {
                        cells.push(shown(&row.into_cell()));
                    }
                }
            }
        };
        if are_rows {
            return read;
        }
        document.push_column(name, cells).and(read)
    }
}
