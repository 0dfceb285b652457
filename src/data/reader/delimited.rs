//! CSV and TSV: a header, then a record a line, fields quoted with `"` where they hold the separator or a line break
//! (in TSV too, as pandas and spreadsheets write it).

use crate::data::columns::ColumnIndices;
use crate::data::error::DatasetError;

use super::csv_records::{Record, Records};
use super::preview::{FirstRows, shown};
use super::rows::{Cell, Rows};
use super::source::{self, Source};
use super::{ReadContext, Table};

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(source: Source, delimiter: u8, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let meter = source.meter;
    let mut reader = Records::new(source.reader, delimiter);
    let mut record = Record::default();
    let mut next = |record: &mut Record| {
        meter.start_record();
        reader.read(record).map_err(|error| source::into_dataset_error(context.path, error))
    };
    if !next(&mut record)? {
        return Err(DatasetError::Empty);
    }
    let header = header(&record, context)?;
    let columns = ColumnIndices::find(context.mapping, &header)?;
    refuse_twins(&columns, &header)?;
    let mut rows = Rows::new(context.limits, context.row_id_prefix);
    rows.set_columns(columns.mapping(&header));
    // A field with nothing in it is how these formats write that there is no value.
    rows.refuse_empty_texts();
    while next(&mut record)? {
        let line = record.line;
        if record.len() != header.len() {
            rows.reject(line, format!("{} fields; the header has {}", record.len(), header.len()))?;
            continue;
        }
        let cell = |index: usize| record.get(index).map_or(Cell::Missing, Cell::from_bytes);
        rows.push(line, cell(columns.anchor), cell(columns.positive), columns.id.map(cell))?;
    }
    Ok(Table { pairs: rows.finish()?, mapping: columns.mapping(&header), ignored_columns: columns.ignored(&header) })
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
    let meter = source.meter;
    let mut reader = Records::new(source.reader, delimiter);
    let mut record = Record::default();
    let mut next = |record: &mut Record| {
        meter.start_record();
        reader.read(record).map_err(|error| source::into_dataset_error(context.path, error))
    };
    if !next(&mut record)? {
        return Err(DatasetError::Empty);
    }
    first.columns = header(&record, context)?;
    while !first.is_full() && next(&mut record)? {
        let cells = record.iter().take(first.columns.len());
        first.rows.push(cells.map(|bytes| shown(&Cell::from_bytes(bytes))).collect());
    }
    Ok(())
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
