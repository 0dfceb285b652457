//! JSON documents: an array of objects, the same under `data`, or an object of columns. Read in one pass; only pairs are
//! held (and, of an object of columns, the columns that may be read).

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::data::columns::{self, ColumnIndices};
use crate::data::error::DatasetError;

use super::json_value::{JsonCell, JsonRow, RowSeed};
use super::object_rows::ObjectRows;
use super::rows::{Cell, Rows, too_many_rows};
use super::source::{self, Meter, Source};
use super::{ReadContext, Table, too_many_columns};

/// The key under which many tools put the rows.
pub(super) const ROWS_KEY: &str = "data";

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(source: Source, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let meter = source.meter;
    let mut json = serde_json::Deserializer::from_reader(source.reader);
    let mut document = Document { context, meter: &meter, rows: None, columns: Vec::new(), failure: None };
    let read = (&mut document).deserialize(&mut json);
    // A refusal of ours passes through serde as an error without its type.
    if let Some(failure) = document.failure {
        return Err(failure);
    }
    read.map_err(|error| into_dataset_error(context, error))?;
    json.end().map_err(|error| match error.classify() {
        Category::Io => into_dataset_error(context, error),
        _ => DatasetError::format(format!(
            "something follows the JSON document at line {}; for one object a line pass format=jsonl",
            meter.line()
        )),
    })?;
    match document.rows {
        Some(rows) => rows.finish(),
        None => from_columns(document.columns, context),
    }
}

/// A value with its line.
type Located = (u64, JsonCell);

/// One column of an object of columns.
struct Column {
    name: String,
    /// Kept only where the column may be read.
    cells: Vec<Located>,
    /// What stands there where it is no array.
    other: Option<&'static str>,
}

/// The document as it is read.
struct Document<'a> {
    context: &'a ReadContext<'a>,
    meter: &'a Meter,
    rows: Option<ObjectRows<'a>>,
    columns: Vec<Column>,
    failure: Option<DatasetError>,
}

impl Document<'_> {
    fn fail<E: Error>(&mut self, error: DatasetError) -> E {
        self.failure = Some(error);
        E::custom("refused")
    }

    /// Reads the rest of an array as rows, after `first`.
    fn read_rows<'de, A: SeqAccess<'de>>(&mut self, first: (u64, JsonRow), items: &mut A) -> Result<(), A::Error> {
        let mut rows = ObjectRows::new(self.context);
        let mut next = Some(first);
        while let Some((line, row)) = next {
            rows.push(line, row).map_err(|error| self.fail(error))?;
            next = items.next_element_seed(self.row_seed())?;
        }
        self.rows = Some(rows);
        Ok(())
    }

    fn row_seed(&self) -> LocatedSeed<'_> {
        LocatedSeed { meter: self.meter, seed: RowSeed { max_fields: self.context.limits.max_columns } }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects, `{\"data\": [...]}` or an object of columns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        match items.next_element_seed(self.row_seed())? {
            Some(first) => self.read_rows(first, &mut items),
            None => Err(self.fail(DatasetError::Empty)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if self.columns.len() == self.context.limits.max_columns {
                let error = too_many_columns(self.context.limits);
                return Err(self.fail(error));
            }
            if self.columns.iter().any(|column| column.name == name) {
                return Err(self.fail(DatasetError::format(format!("the key `{name}` occurs twice"))));
            }
            fields.next_value_seed(ColumnSeed { document: self, name })?;
        }
        Ok(())
    }
}

/// Reads the value of one key of the document.
struct ColumnSeed<'d, 'a> {
    document: &'d mut Document<'a>,
    name: String,
}

impl ColumnSeed<'_, '_> {
    fn other<E>(self, other: &'static str) -> Result<(), E> {
        self.document.columns.push(Column { name: self.name, cells: Vec::new(), other: Some(other) });
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ColumnSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.document.meter.start_record();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ColumnSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other("a boolean")
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.other("null")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.other("a text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.other("an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { document, name } = self;
        let is_rows_key = name == ROWS_KEY;
        let wanted = is_rows_key || columns::may_be_read(document.context.mapping, &name);
        let mut cells: Vec<Located> = Vec::new();
        let mut count = 0;
        while let Some((line, row)) = items.next_element_seed(document.row_seed())? {
            count += 1;
            if is_rows_key && count == 1 && matches!(row, JsonRow::Fields(_)) {
                return document.read_rows((line, row), &mut items);
            }
            if count > document.context.limits.max_rows {
                let error = too_many_rows(document.context.limits);
                return Err(document.fail(error));
            }
            if wanted {
                cells.push((line, row.into_cell()));
            }
        }
        document.columns.push(Column { name, cells, other: None });
        Ok(())
    }
}

/// Reads a row and notes where it begins.
pub(super) struct LocatedSeed<'a> {
    pub(super) meter: &'a Meter,
    pub(super) seed: RowSeed,
}

impl<'de> DeserializeSeed<'de> for LocatedSeed<'_> {
    type Value = (u64, JsonRow);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // serde_json has read as far as the value's first byte by now.
        self.meter.start_record();
        let line = self.meter.line();
        Ok((line, self.seed.deserialize(deserializer)?))
    }
}

fn from_columns(mut columns: Vec<Column>, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    if columns.is_empty() {
        return Err(DatasetError::Empty);
    }
    let header: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let indices = ColumnIndices::find(context.mapping, &header)?;
    let used = [Some(indices.anchor), Some(indices.positive), indices.id];
    for column in used.into_iter().flatten().map(|index| &columns[index]) {
        if let Some(other) = column.other {
            return Err(DatasetError::format(format!(
                "the value of `{}` is {other}; an array is expected (for one object a line pass format=jsonl)",
                column.name
            )));
        }
    }
    let rows_expected = columns[indices.anchor].cells.len();
    for column in used.into_iter().flatten().map(|index| &columns[index]) {
        if column.cells.len() != rows_expected {
            return Err(DatasetError::format(format!(
                "`{}` has {rows_expected} values and `{}` {}; as many are expected",
                header[indices.anchor],
                column.name,
                column.cells.len()
            )));
        }
    }
    let mut take = |index: usize| std::mem::take(&mut columns[index].cells).into_iter();
    let (anchors, positives, mut ids) = (take(indices.anchor), take(indices.positive), indices.id.map(take));
    let mut rows = Rows::new(context.limits, context.row_id_prefix);
    rows.set_columns(indices.mapping(&header));
    for ((line, anchor), (_, positive)) in anchors.zip(positives) {
        let id = ids.as_mut().map(|ids| ids.next().map_or(Cell::Missing, |(_, cell)| cell));
        rows.push(line, anchor, positive, id)?;
    }
    Ok(Table { pairs: rows.finish()?, mapping: indices.mapping(&header), ignored_columns: indices.ignored(&header) })
}

pub(super) fn into_dataset_error(context: &ReadContext<'_>, error: serde_json::Error) -> DatasetError {
    match error.classify() {
        Category::Io => source::into_dataset_error(context.path, io::Error::from(error)),
        Category::Eof => DatasetError::format(format!("the JSON document is cut short: {error}")),
        Category::Syntax | Category::Data => DatasetError::format(format!("not a valid JSON document: {error}")),
    }
}
