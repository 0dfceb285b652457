//! Files of pairs as users send them, read through the library's public face.

mod bad_files;
mod bad_rows;
mod formats;
mod fuzz;
mod json_shapes;
mod limits;
mod preview;

use std::fs;
use std::io::Write;
use std::sync::Arc;

use matryo::data::error::DatasetError;
use matryo::data::reader::{ReadOptions, ReadOutcome, read_pairs};
use matryo::domain::{DatasetFormat, Pair, RowError};
use parquet::basic::{ConvertedType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

/// Reads bytes as a file.
fn read(bytes: &[u8], options: &ReadOptions) -> Result<ReadOutcome, DatasetError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read_pairs(file.path(), options)
}

/// Reads bytes as a file of one layout.
fn read_as(format: DatasetFormat, bytes: impl AsRef<[u8]>) -> Result<ReadOutcome, DatasetError> {
    read(bytes.as_ref(), &ReadOptions { format: Some(format), ..ReadOptions::default() })
}

/// The errors of a file whose rows are bad, as `line field: message`.
fn row_errors(result: Result<ReadOutcome, DatasetError>) -> Vec<String> {
    match result {
        Err(DatasetError::Rows { errors, .. }) => errors
            .into_iter()
            .map(|RowError { line, field, message }| format!("{line} {}: {message}", field.unwrap_or_default()))
            .collect(),
        other => panic!("row errors expected, found {other:?}"),
    }
}

fn pair(id: &str, anchor: &str, positive: &str) -> Pair {
    Pair { id: id.into(), anchor: anchor.into(), positive: positive.into() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A column of a Parquet file.
enum Column {
    Text(Vec<Option<Vec<u8>>>),
    Integers(Vec<i64>),
}

fn texts(values: &[&str]) -> Column {
    Column::Text(values.iter().map(|value| Some(value.as_bytes().to_vec())).collect())
}

/// A Parquet file of row groups, each with the same columns.
fn parquet_file(properties: WriterProperties, groups: &[Vec<(&str, Column)>]) -> Vec<u8> {
    let fields = groups[0].iter().map(|(name, column)| {
        let field = match column {
            Column::Text(_) => Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
                .with_converted_type(ConvertedType::UTF8)
                .with_repetition(Repetition::OPTIONAL),
            Column::Integers(_) => {
                Type::primitive_type_builder(name, PhysicalType::INT64).with_repetition(Repetition::REQUIRED)
            }
        };
        Arc::new(field.build().unwrap())
    });
    let schema = Type::group_type_builder("schema").with_fields(fields.collect()).build().unwrap();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties)).unwrap();
    for group in groups {
        let mut group_writer = writer.next_row_group().unwrap();
        for (_, column) in group {
            let mut column_writer = group_writer.next_column().unwrap().unwrap();
            match column {
                Column::Text(values) => {
                    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                    let present: Vec<ByteArray> = values.iter().flatten().cloned().map(ByteArray::from).collect();
                    column_writer.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None).unwrap();
                }
                Column::Integers(values) => {
                    column_writer.typed::<Int64Type>().write_batch(values, None, None).unwrap();
                }
            }
            column_writer.close().unwrap();
        }
        group_writer.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn a_file_that_is_not_there_is_told_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone.csv");
    let error = read_pairs(&path, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Io { .. }) && error.to_string().contains("gone.csv"), "{error}");
    fs::write(&path, "").unwrap();
    assert!(matches!(read_pairs(&path, &ReadOptions::default()), Err(DatasetError::Empty)));
}
