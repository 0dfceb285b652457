//! What a file may hold is bounded, whatever it is packed into.

use matryo::data::error::DatasetError;
use matryo::data::reader::{ReadLimits, ReadOptions};
use matryo::domain::DatasetFormat;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{gzip, parquet_file, read, row_errors, texts, zstd};

fn options(format: DatasetFormat, limits: ReadLimits) -> ReadOptions {
    ReadOptions { format: Some(format), limits, ..ReadOptions::default() }
}

fn limit_exceeded(bytes: &[u8], options: &ReadOptions) -> (String, u64) {
    match read(bytes, options) {
        Err(DatasetError::TooLarge { what, limit }) => (what, limit),
        other => panic!("a limit should be exceeded, found {other:?}"),
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let limits = ReadLimits { max_decompressed_bytes: 1 << 20, ..ReadLimits::default() };
    let rows = format!("anchor,positive\n{}", "a,p\n".repeat(2 << 20));
    assert_eq!(rows.len(), (8 << 20) + 16);
    for packed in [gzip(rows.as_bytes()), zstd(rows.as_bytes())] {
        assert!(packed.len() < 64 << 10, "{} bytes are no bomb", packed.len());
        let (what, limit) = limit_exceeded(&packed, &options(DatasetFormat::Csv, limits.clone()));
        assert_eq!(limit, 1 << 20);
        assert!(what.contains("bytes"), "{what}");
    }
}

#[test]
fn parquet_is_bounded_packed_and_unpacked() {
    // One long text, which a dictionary stores once however many rows have it.
    let long = "x".repeat(10_000);
    let rows = 2000;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = parquet_file(
        properties,
        &[vec![("anchor", texts(&vec![long.as_str(); rows])), ("positive", texts(&vec!["p"; rows]))]],
    );
    assert!(file.len() < 32 << 10, "{} bytes are no bomb", file.len());
    let limits = ReadLimits { max_decompressed_bytes: 1 << 20, ..ReadLimits::default() };
    let options = options(DatasetFormat::Parquet, limits);
    assert_eq!(limit_exceeded(&file, &options).1, 1 << 20);
    assert_eq!(limit_exceeded(&gzip(&file), &options).1, 1 << 20);
    let zeros = [b"PAR1".to_vec(), vec![0; 4 << 20]].concat();
    assert_eq!(limit_exceeded(&zstd(&zeros), &options).1, 1 << 20);
}

#[test]
fn rows_are_bounded_in_every_layout() {
    let limits = ReadLimits { max_rows: 3, ..ReadLimits::default() };
    let row = r#"{"anchor":"a","positive":"p"}"#;
    let parquet = parquet_file(
        WriterProperties::default(),
        &[vec![("anchor", texts(&["a"; 4])), ("positive", texts(&["p"; 4]))]],
    );
    let files = [
        (DatasetFormat::Csv, "anchor,positive\na,p\na,p\na,p\na,p\n".into()),
        (DatasetFormat::Jsonl, [row; 4].join("\n").into()),
        (DatasetFormat::Json, format!("[{}]", [row; 4].join(",")).into()),
        (DatasetFormat::Json, br#"{"anchor":["a","a","a","a"]}"#.to_vec()),
        (DatasetFormat::Parquet, parquet),
    ];
    for (format, file) in files {
        assert_eq!(limit_exceeded(&file, &options(format, limits.clone())).1, 3, "{format:?}");
    }
}

#[test]
fn a_quote_left_open_does_not_swallow_the_file() {
    let limits = ReadLimits { max_record_bytes: 64 << 10, ..ReadLimits::default() };
    let csv = format!("anchor,positive\n\"a,p\n{}", "a,p\n".repeat(100_000));
    let (what, _) = limit_exceeded(csv.as_bytes(), &options(DatasetFormat::Csv, limits.clone()));
    assert!(what.contains("quote"), "{what}");
    let line = format!("{{\"anchor\":\"{}", "a".repeat(200_000));
    limit_exceeded(line.as_bytes(), &options(DatasetFormat::Jsonl, limits.clone()));
    limit_exceeded(format!("[{line}").as_bytes(), &options(DatasetFormat::Json, limits.clone()));
    // Many records together may well take more than one may.
    let long = format!("anchor,positive\n{}", "a,p\n".repeat(100_000));
    assert_eq!(read(long.as_bytes(), &options(DatasetFormat::Csv, limits)).unwrap().pairs.len(), 100_000);
}

#[test]
fn columns_are_bounded() {
    let limits = ReadLimits { max_columns: 3, ..ReadLimits::default() };
    let csv = options(DatasetFormat::Csv, limits.clone());
    limit_exceeded(b"anchor,positive,x,y\na,p,1,2\n", &csv);
    let lines = "{\"anchor\":\"a\",\"positive\":\"p\",\"x\":1}\n{\"y\":1}\n";
    limit_exceeded(lines.as_bytes(), &options(DatasetFormat::Jsonl, limits.clone()));
    let line = "{\"anchor\":\"a\",\"positive\":\"p\",\"x\":1}\n{\"a\":1,\"a\":1,\"a\":1,\"a\":1}\n";
    let errors = row_errors(read(line.as_bytes(), &options(DatasetFormat::Jsonl, limits)));
    assert!(errors[0].contains("more than 3 fields"), "{errors:?}");
}

#[test]
fn long_texts_are_bad_rows() {
    let limits = ReadLimits { max_text_chars: 3, ..ReadLimits::default() };
    let errors = row_errors(read("anchor,positive\näöü,ä\na,äöüx\n".as_bytes(), &options(DatasetFormat::Csv, limits)));
    assert_eq!(errors, ["3 positive: 4 characters; at most 3 are allowed"]);
}
