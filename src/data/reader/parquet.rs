//! Apache Parquet, column chunk by column chunk in step; only the columns read are decoded.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::Type as PhysicalType;
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use crate::data::columns::ColumnIndices;
use crate::data::error::DatasetError;

use super::rows::{Cell, Rows, too_many_rows};
use super::{ReadContext, Table, too_many_columns};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1024;

/// The columns read, as numbers among the leaves of the schema.
#[derive(Debug, Clone, Copy)]
struct Leaves {
    anchor: usize,
    positive: usize,
    id: Option<usize>,
}

/// Reads the whole file.
///
/// # Errors
/// See [`DatasetError`].
pub(super) fn read(file: File, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    // The parquet crate trusts the file's own numbers in places and panics where they lie: that is the file's fault and
    // must not take a request down. Nothing that the closure touches is looked at afterwards.
    catch_unwind(AssertUnwindSafe(|| read_file(file, context)))
        .unwrap_or_else(|_| Err(DatasetError::format("the Parquet file is damaged")))
}

fn read_file(file: File, context: &ReadContext<'_>) -> Result<Table, DatasetError> {
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let (header, leaves) = flat_columns(schema, context)?;
    let columns = ColumnIndices::find(context.mapping, &header)?;
    let leaf = |index: usize, numbers_too| check_type(schema, leaves[index], &header[index], numbers_too);
    let leaves = Leaves {
        anchor: leaf(columns.anchor, false)?,
        positive: leaf(columns.positive, false)?,
        id: columns.id.map(|id| leaf(id, true)).transpose()?,
    };
    let rows_claimed = metadata.file_metadata().num_rows();
    if u64::try_from(rows_claimed).map_err(|_| DatasetError::format("the Parquet file is damaged"))?
        > context.limits.max_rows
    {
        return Err(too_many_rows(context.limits));
    }
    check_sizes(&reader, leaves, context)?;
    let mut rows = Rows::new(context.limits, context.row_id_prefix);
    rows.set_columns(columns.mapping(&header));
    let mut line = 0;
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(damaged)?;
        read_group(group.as_ref(), leaves, &mut line, &mut rows)?;
    }
    Ok(Table { pairs: rows.finish()?, mapping: columns.mapping(&header), ignored_columns: columns.ignored(&header) })
}

fn read_group(
    group: &dyn RowGroupReader,
    leaves: Leaves,
    line: &mut u64,
    rows: &mut Rows<'_>,
) -> Result<(), DatasetError> {
    let open = |leaf| Column::open(group, leaf);
    let mut anchor = open(leaves.anchor)?;
    let mut positive = open(leaves.positive)?;
    let mut id = leaves.id.map(open).transpose()?;
    loop {
        let anchors = anchor.next_batch()?;
        let positives = positive.next_batch()?;
        let ids = id.as_mut().map(Column::next_batch).transpose()?;
        let same_length = anchors.len() == positives.len() && ids.as_ref().is_none_or(|ids| ids.len() == anchors.len());
        if !same_length {
            return Err(DatasetError::format("the Parquet file is damaged: its columns differ in length"));
        }
        if anchors.is_empty() {
            return Ok(());
        }
        let mut ids = ids.map(Vec::into_iter);
        for (anchor, positive) in anchors.into_iter().zip(positives) {
            *line += 1;
            rows.push(*line, anchor, positive, ids.as_mut().map(|ids| ids.next().unwrap_or(Cell::Missing)))?;
        }
    }
}

/// One column chunk under way.
struct Column {
    reader: ColumnReader,
    nullable: bool,
}

impl Column {
    fn open(group: &dyn RowGroupReader, leaf: usize) -> Result<Self, DatasetError> {
        let nullable = group.metadata().column(leaf).column_descr().max_def_level() > 0;
        Ok(Self { reader: group.get_column_reader(leaf).map_err(damaged)?, nullable })
    }

    /// The next rows' cells; none at the end.
    fn next_batch(&mut self) -> Result<Vec<Cell<'static>>, DatasetError> {
        let mut levels = Vec::new();
        let to_text = |value: parquet::data_type::ByteArray| match std::str::from_utf8(value.data()) {
            Ok(text) => Cell::Text(text.to_owned().into()),
            Err(_) => Cell::NotUtf8,
        };
        let values: Vec<Cell<'static>> = match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                let mut values = Vec::new();
                reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values).map_err(damaged)?;
                values.into_iter().map(to_text).collect()
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let mut values = Vec::new();
                reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values).map_err(damaged)?;
                values.into_iter().map(|number| Cell::Number(number.to_string())).collect()
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let mut values = Vec::new();
                reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values).map_err(damaged)?;
                values.into_iter().map(|number| Cell::Number(number.to_string())).collect()
            }
            _ => return Err(DatasetError::format("the Parquet file is damaged: a column chunk has another type")),
        };
        if !self.nullable {
            return Ok(values);
        }
        let mut values = values.into_iter();
        let cell = |level| if level == 0 { Cell::Null } else { values.next().unwrap_or(Cell::Missing) };
        Ok(levels.into_iter().map(cell).collect())
    }
}

/// The names of all top-level columns, and the leaf of each; a nested column has none that could be read.
fn flat_columns(
    schema: &SchemaDescriptor,
    context: &ReadContext<'_>,
) -> Result<(Vec<String>, Vec<Option<usize>>), DatasetError> {
    let fields = schema.root_schema().get_fields();
    if fields.len() > context.limits.max_columns {
        return Err(too_many_columns(context.limits));
    }
    let leaf = |field: &str| {
        let is_flat = |column: &ColumnDescriptor| {
            column.path().parts() == [field] && column.max_rep_level() == 0 && column.max_def_level() <= 1
        };
        schema.columns().iter().position(|column| is_flat(column))
    };
    let header: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
    let leaves = header.iter().map(|name| leaf(name)).collect();
    Ok((header, leaves))
}

fn check_type(
    schema: &SchemaDescriptor,
    leaf: Option<usize>,
    name: &str,
    numbers_too: bool,
) -> Result<usize, DatasetError> {
    let physical = leaf.map(|leaf| (leaf, schema.column(leaf).physical_type()));
    match physical {
        Some((leaf, PhysicalType::BYTE_ARRAY)) => Ok(leaf),
        Some((leaf, PhysicalType::INT32 | PhysicalType::INT64)) if numbers_too => Ok(leaf),
        _ => {
            let found = physical.map_or("nested or repeated".to_owned(), |(_, physical)| physical.to_string());
            let expected = if numbers_too { "text or integers" } else { "text" };
            Err(DatasetError::format(format!("column `{name}` is {found}; {expected} (BYTE_ARRAY) is expected")))
        }
    }
}

/// Refuses by the sizes that the file claims, before memory is set aside for them.
fn check_sizes(
    reader: &SerializedFileReader<File>,
    leaves: Leaves,
    context: &ReadContext<'_>,
) -> Result<(), DatasetError> {
    let limit = context.limits.max_decompressed_bytes;
    let groups = reader.metadata().row_groups().iter();
    let leaves = [Some(leaves.anchor), Some(leaves.positive), leaves.id];
    let sizes =
        groups.flat_map(|group| leaves.into_iter().flatten().map(|leaf| group.column(leaf).uncompressed_size()));
    let total: u64 = sizes.map(|size| u64::try_from(size).unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
    if total > limit {
        return Err(DatasetError::TooLarge { what: "the columns unpack to more bytes".into(), limit });
    }
    Ok(())
}

pub(super) fn damaged(error: ParquetError) -> DatasetError {
    DatasetError::format(format!("the Parquet file cannot be read: {error}"))
}
