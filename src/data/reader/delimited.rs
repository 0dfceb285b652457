//! CSV and TSV: a header, then a record a line, fields quoted with `"` where they hold the separator or a line break
//! (in TSV too, as pandas and spreadsheets write it).

use std::rc::Rc;

use crate::data::columns::ColumnIndices;
use crate::data::error::DatasetError;

use super::csv_records::{Record, Records};
use super::preview::{FirstRows, shown};
use super::rows::{Cell, Rows};
use super::source::{self, Meter, Metered, Source};
use super::{ReadContext, Table};

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(source: Source, delimiter: u8, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let mut file = Delimited::open(source, delimiter, context)?;
    let columns = ColumnIndices::find(context.mapping, &file.header)?;
    refuse_twins(&columns, &file.header)?;
    let mut rows = Rows::new(context.limits, context.row_id_prefix);
    rows.set_columns(columns.mapping(&file.header));
    // A field with nothing in it is how these formats write that there is no value.
    rows.refuse_empty_texts();
    let width = file.header.len();
    while let Some(record) = file.next()? {
        let line = record.line;
        if record.len() != width {
            rows.reject(line, format!("{} fields; the header has {width}", record.len()))?;
            continue;
        }
        let cell = |index: usize| record.get(index).map_or(Cell::Missing, Cell::from_bytes);
        rows.push(line, cell(columns.anchor), cell(columns.positive), columns.id.map(cell))?;
    }
    let (mapping, ignored_columns) = (columns.mapping(&file.header), columns.ignored(&file.header));
    Ok(Table { pairs: rows.finish()?, mapping, ignored_columns })
}

/// Reads the first rows as they stand.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn preview(
    source: Source,
    delimiter: u8,
    context: &ReadContext<'_>,
    first: &mut FirstRows<'_>,
) -> Result<(), DatasetError> {
    let mut file = Delimited::open(source, delimiter, context)?;
    first.columns = file.header.clone();
    while !first.is_full()
        && let Some(record) = file.next()?
    {
        let cells = record.iter().take(first.columns.len());
        first.rows.push(cells.map(|bytes| shown(&Cell::from_bytes(bytes))).collect());
    }
    Ok(())
}

/// A file whose header has been read.
struct Delimited<'a> {
    records: Records<Metered>,
    meter: Rc<Meter>,
    record: Record,
    context: &'a ReadContext<'a>,
    header: Vec<String>,
}

impl<'a> Delimited<'a> {
    fn open(source: Source, delimiter: u8, context: &'a ReadContext<'a>) -> Result<Self, DatasetError> {
        let records = Records::new(source.reader, delimiter);
        let (meter, record) = (source.meter, Record::default());
        let mut file = Self { records, meter, record, context, header: Vec::new() };
        let first = file.next()?.ok_or(DatasetError::Empty)?;
        file.header = header(first, context)?;
        Ok(file)
    }

    /// The next record, where there is one more.
    fn next(&mut self) -> Result<Option<&Record>, DatasetError> {
        self.meter.start_record();
        let read = self.records.read(&mut self.record);
        let read = read.map_err(|error| source::into_dataset_error(self.context.path, error))?;
        Ok(read.then_some(&self.record))
    }
}

fn header(record: &Record, context: &ReadContext<'_>) -> Result<Vec<String>, DatasetError> {
    if record.len() > context.limits.max_columns {
        return Err(super::too_many_columns(context.limits));
    }
    let name = |bytes: &[u8]| {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DatasetError::format("the header is not valid UTF-8"))
    };
    record.iter().map(name).collect()
}

fn refuse_twins(columns: &ColumnIndices, header: &[String]) -> Result<(), DatasetError> {
    for index in [Some(columns.anchor), Some(columns.positive), columns.id].into_iter().flatten() {
        if header.iter().filter(|name| **name == header[index]).count() > 1 {
            return Err(DatasetError::format(format!("the header names column `{}` twice", header[index])));
        }
    }
    Ok(())
}
