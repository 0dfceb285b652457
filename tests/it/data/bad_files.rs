//! Files refused as a whole say what is wrong and what was expected.

use matryo::data::error::DatasetError;
use matryo::data::reader::ReadOptions;
use matryo::domain::{ColumnMapping, DatasetFormat};
use parquet::file::properties::WriterProperties;

use super::{Column, gzip, parquet_file, read, read_as, texts, zstd};

/// The message of a refusal for the file's layout.
fn refusal(bytes: &[u8], options: &ReadOptions) -> String {
    match read(bytes, options) {
        Err(DatasetError::Format { message }) => message,
        other => panic!("a refusal is expected, found {other:?}"),
    }
}

#[test]
fn utf16_is_refused_by_name() {
    let little: Vec<u8> = "anchor,positive\na,p".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = "anchor,positive\na,p".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in
        [[b"\xff\xfe".to_vec(), little.clone()].concat(), [b"\xfe\xff".to_vec(), big.clone()].concat(), little, big]
    {
        for bytes in [gzip(&bytes), bytes] {
            assert!(refusal(&bytes, &ReadOptions::default()).contains("UTF-16"));
        }
    }
}

#[test]
fn other_packings_are_refused_by_name() {
    for (magic, name) in [
        (&b"PK\x03\x04rest of it"[..], "zip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
    ] {
        let message = refusal(magic, &ReadOptions::default());
        assert!(message.contains(name) && message.contains("gzip"), "{message}");
    }
}

#[test]
fn a_packed_file_cut_short_is_refused() {
    let file = format!("anchor,positive\n{}", "a question,a passage\n".repeat(20_000));
    for (packed, name) in [(gzip(file.as_bytes()), "gzip"), (zstd(file.as_bytes()), "zstd")] {
        for cut in [packed.len() - 1, packed.len() / 2, 12] {
            let options = ReadOptions { format: Some(DatasetFormat::Csv), ..ReadOptions::default() };
            let message = refusal(&packed[..cut], &options);
            assert!(message.contains(name) && message.contains("cut short"), "{message}");
        }
    }
    let mut damaged = gzip(file.as_bytes());
    let last = damaged.len() - 6;
    damaged[last] ^= 0x55;
    assert!(matches!(read_as(DatasetFormat::Csv, damaged), Err(DatasetError::Format { .. })));
}

#[test]
fn columns_that_are_not_there_are_named_with_those_that_are() {
    for (format, file) in [
        (DatasetFormat::Csv, "text,label\na,b\n"),
        (DatasetFormat::Jsonl, "{\"text\": \"a\", \"label\": \"b\"}"),
        (DatasetFormat::Json, "[{\"text\": \"a\", \"label\": \"b\"}]"),
        (DatasetFormat::Json, "{\"text\": [\"a\"], \"label\": [\"b\"]}"),
    ] {
        match read_as(format, file) {
            Err(DatasetError::Columns { field: "anchor", found, tried, .. }) => {
                assert_eq!(found, ["text", "label"]);
                assert_eq!(tried, ["anchor", "query", "question"]);
            }
            other => panic!("{format:?}: {other:?}"),
        }
    }
    let mapping = ColumnMapping { positive: Some("passages".into()), ..ColumnMapping::default() };
    let error = read(b"anchor,positive\na,p\n", &ReadOptions { mapping, ..ReadOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("`passages`") && error.to_string().contains("`positive`"), "{error}");
}

#[test]
fn a_header_that_names_a_column_twice_is_refused() {
    let options = ReadOptions { format: Some(DatasetFormat::Csv), ..ReadOptions::default() };
    assert!(refusal(b"anchor,positive,anchor\na,p,b\n", &options).contains("`anchor` twice"));
    // A column that nothing reads may stand there as often as it likes.
    assert!(read_as(DatasetFormat::Csv, "anchor,positive,x,x\na,p,1,2\n").is_ok());
    assert!(refusal(b"anchor,\xff\na,p\n", &options).contains("header is not valid UTF-8"));
}

#[test]
fn files_without_rows_are_empty() {
    for (format, file) in [
        (DatasetFormat::Csv, ""),
        (DatasetFormat::Csv, "anchor,positive\n"),
        (DatasetFormat::Tsv, "anchor\tpositive"),
        (DatasetFormat::Jsonl, "\n\n"),
        (DatasetFormat::Json, "[]"),
        (DatasetFormat::Json, "{}"),
        (DatasetFormat::Json, "{\"anchor\": [], \"positive\": []}"),
    ] {
        assert!(matches!(read_as(format, file), Err(DatasetError::Empty)), "{format:?} {file:?}");
    }
    let file = parquet_file(WriterProperties::default(), &[vec![("anchor", texts(&[])), ("positive", texts(&[]))]]);
    assert!(matches!(read_as(DatasetFormat::Parquet, file), Err(DatasetError::Empty)));
}

#[test]
fn parquet_of_other_types_is_refused_by_column() {
    let options = ReadOptions::default();
    let file = parquet_file(
        WriterProperties::default(),
        &[vec![("anchor", Column::Integers(vec![1])), ("positive", texts(&["p"]))]],
    );
    let message = refusal(&file, &options);
    assert!(message.contains("`anchor` is INT64") && message.contains("text"), "{message}");
}

#[test]
fn a_damaged_parquet_file_is_refused() {
    let whole = parquet_file(
        WriterProperties::default(),
        &[vec![("anchor", texts(&["a", "b"])), ("positive", texts(&["p", "q"]))]],
    );
    for cut in [4, 8, whole.len() / 2, whole.len() - 1] {
        let message = refusal(&whole[..cut], &ReadOptions::default());
        assert!(message.contains("Parquet"), "{message}");
    }
}
