//! The first rows of a Parquet file as they stand.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::data::error::DatasetError;

use super::parquet::damaged;
use super::preview::{FirstRows, shown};
use super::rows::Cell;
use super::too_many_columns;

/// Reads the first rows as they stand.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn preview(file: File, first: &mut FirstRows<'_>) -> Result<(), DatasetError> {
    // As in `parquet`: where the file's numbers lie the crate panics, which is the file's fault.
    catch_unwind(AssertUnwindSafe(|| read(file, first)))
        .unwrap_or_else(|_| Err(DatasetError::format("the Parquet file is damaged")))
}

fn read(file: File, first: &mut FirstRows<'_>) -> Result<(), DatasetError> {
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata();
    let fields = metadata.file_metadata().schema_descr().root_schema().get_fields();
    if fields.len() > first.limits.max_columns {
        return Err(too_many_columns(first.limits));
    }
    first.columns = fields.iter().map(|field| field.name().to_owned()).collect();
    // Of the groups that hold the first rows, by the sizes that they claim.
    let mut rows = 0;
    let groups = metadata.row_groups().iter().take_while(|group| {
        let is_wanted = rows < first.max_rows as i64;
        rows = group.num_rows().saturating_add(rows);
        is_wanted
    });
    let sizes = groups.map(|group| u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX));
    let limit = first.limits.max_decompressed_bytes;
    if sizes.fold(0, u64::saturating_add) > limit {
        return Err(DatasetError::TooLarge { what: "the columns unpack to more bytes".into(), limit });
    }
    for row in reader.get_row_iter(None).map_err(damaged)?.take(first.max_rows) {
        let row = row.map_err(damaged)?;
        first.rows.push(row.get_column_iter().map(|(_, field)| shown(&cell(field))).collect());
    }
    Ok(())
}

fn cell(field: &Field) -> Cell<'_> {
    match field {
        Field::Null => Cell::Null,
        Field::Str(text) => Cell::Text(text.into()),
        Field::Bytes(bytes) => Cell::from_bytes(bytes.data()),
        Field::Group(_) => Cell::Other("an object"),
        Field::ListInternal(_) | Field::MapInternal(_) => Cell::Other("an array"),
        // Numbers, dates and truth values, as they are written.
        scalar => Cell::Number(scalar.to_string()),
    }
}
