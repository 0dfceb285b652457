//! Every layout, plain and packed, gives the same pairs.

use std::fmt::Write;

use matryo::data::reader::{ReadOptions, count_empty};
use matryo::domain::{ColumnMapping, DatasetFormat, Pair};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{Column, gzip, pair, parquet_file, read, read_as, texts, zstd};

/// Texts that break careless readers: separators, quotes, line breaks, other scripts, control characters.
fn expected() -> Vec<Pair> {
    vec![
        pair("7", "What is \"goodwill\", net?", "First line,\nsecond\tline"),
        pair("9", "Größe – 数字 🦀?", "plain"),
        pair("x-1", " kept spaces ", "{\"not\": [\"json\"]}"),
    ]
}

fn delimited(separator: char, line_end: &str) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut file = ["id", "note", "Question", "answer"].join(&separator.to_string()) + line_end;
    for row in expected() {
        let fields = [row.id.clone(), "n".into(), quote(&row.anchor), quote(&row.positive)];
        file += &(fields.join(&separator.to_string()) + line_end);
    }
    file
}

fn objects() -> Vec<String> {
    let object = |row: Pair| {
        serde_json::json!({"id": row.id, "note": [1], "Question": row.anchor, "answer": row.positive}).to_string()
    };
    expected().into_iter().map(object).collect()
}

fn parquet(compression: Compression, rows_per_group: usize) -> Vec<u8> {
    let groups: Vec<Vec<(&str, Column)>> = expected()
        .chunks(rows_per_group)
        .map(|rows| {
            let column = |text: fn(&Pair) -> &str| texts(&rows.iter().map(text).collect::<Vec<_>>());
            vec![
                ("id", column(|row| &row.id)),
                ("note", Column::Integers(vec![1; rows.len()])),
                ("Question", column(|row| &row.anchor)),
                ("answer", column(|row| &row.positive)),
            ]
        })
        .collect();
    parquet_file(WriterProperties::builder().set_compression(compression).build(), &groups)
}

#[test]
fn every_layout_plain_and_packed_gives_the_same_pairs() {
    let cases: Vec<(&str, DatasetFormat, Vec<u8>)> = vec![
        ("csv", DatasetFormat::Csv, delimited(',', "\n").into()),
        ("csv", DatasetFormat::Csv, delimited(',', "\r\n").into()),
        ("tsv", DatasetFormat::Tsv, delimited('\t', "\n").into()),
        ("json", DatasetFormat::Json, format!("[\n{}\n]", objects().join(",\n")).into()),
        ("jsonl", DatasetFormat::Jsonl, objects().join("\n").into()),
        ("ndjson", DatasetFormat::Jsonl, (objects().join("\r\n\r\n") + "\r\n").into()),
        ("parquet", DatasetFormat::Parquet, parquet(Compression::UNCOMPRESSED, 3)),
        ("parquet", DatasetFormat::Parquet, parquet(Compression::SNAPPY, 2)),
        ("parquet", DatasetFormat::Parquet, parquet(Compression::ZSTD(Default::default()), 1)),
    ];
    for (extension, format, plain) in cases {
        for (packed, suffix) in [(plain.clone(), ""), (gzip(&plain), ".gz"), (zstd(&plain), ".zst")] {
            let named = ReadOptions { file_name: Some(format!("a.b.{extension}{suffix}")), ..ReadOptions::default() };
            let said = ReadOptions { format: Some(format), ..ReadOptions::default() };
            for options in [named, said, ReadOptions::default()] {
                let outcome = read(&packed, &options).unwrap_or_else(|error| panic!("{extension}{suffix}: {error}"));
                assert_eq!(outcome.pairs, expected(), "{extension}{suffix}");
                assert_eq!(outcome.format, format);
                assert_eq!(outcome.mapping.anchor.as_deref(), Some("Question"));
                assert_eq!(outcome.ignored_columns, ["note"]);
            }
        }
    }
}

#[test]
fn packing_is_told_by_the_bytes_not_the_name() {
    let file = delimited(',', "\n");
    let options = ReadOptions { file_name: Some("pairs.csv.zst".into()), ..ReadOptions::default() };
    assert_eq!(read(&gzip(file.as_bytes()), &options).unwrap().pairs, expected());
    assert_eq!(read(file.as_bytes(), &options).unwrap().pairs, expected());
}

#[test]
fn files_of_several_members_are_read_to_the_end() {
    let file = delimited(',', "\n");
    let (start, end) = file.as_bytes().split_at(40);
    for packed in [[gzip(start), gzip(end)].concat(), [zstd(start), zstd(end)].concat()] {
        assert_eq!(read_as(DatasetFormat::Csv, packed).unwrap().pairs, expected());
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let mark = "\u{feff}";
    for (format, file) in [
        (DatasetFormat::Csv, delimited(',', "\n")),
        (DatasetFormat::Json, format!("[{}]", objects().join(","))),
        (DatasetFormat::Jsonl, objects().join("\n")),
    ] {
        let outcome = read_as(format, format!("{mark}{file}")).unwrap();
        assert_eq!(outcome.pairs, expected());
        assert_eq!(outcome.mapping.id.as_deref(), Some("id"));
    }
}

#[test]
fn the_mapping_names_columns() {
    let mapping = ColumnMapping { anchor: Some("b".into()), positive: Some("A".into()), id: None };
    let options = ReadOptions { mapping, ..ReadOptions::default() };
    for (name, file) in [
        ("f.csv", "a,b\nx,y\n"),
        ("f.tsv", "a\tb\nx\ty\n"),
        ("f.jsonl", "{\"a\": \"x\", \"b\": \"y\"}"),
        ("f.json", "{\"a\": [\"x\"], \"b\": [\"y\"]}"),
    ] {
        let outcome = read(file.as_bytes(), &ReadOptions { file_name: Some(name.into()), ..options.clone() }).unwrap();
        assert_eq!(outcome.pairs, [pair("1", "y", "x")], "{name}");
    }
}

#[test]
fn ids_may_be_integers_and_rows_without_are_numbered() {
    let file = parquet_file(
        WriterProperties::default(),
        &[vec![("id", Column::Integers(vec![40, -2])), ("query", texts(&["a", "b"])), ("passage", texts(&["c", "d"]))]],
    );
    assert_eq!(read_as(DatasetFormat::Parquet, file).unwrap().pairs, [pair("40", "a", "c"), pair("-2", "b", "d")]);
    let options = ReadOptions { row_id_prefix: "eval-".into(), ..ReadOptions::default() };
    let outcome = read(b"query,passage\na,c\n\nb,d", &options).unwrap();
    assert_eq!(outcome.pairs, [pair("eval-1", "a", "c"), pair("eval-2", "b", "d")]);
}

/// The recipe's own data has such rows, and sentence-transformers trains on them.
#[test]
fn empty_texts_are_kept_where_the_format_can_say_null() {
    let file = "{\"anchor\": \"\", \"positive\": \"p\"}\n{\"anchor\": \"a\", \"positive\": \" \"}\n{\"anchor\": \"a\", \"positive\": \"p\"}";
    let pairs = read_as(DatasetFormat::Jsonl, file).unwrap().pairs;
    assert_eq!(pairs, [pair("1", "", "p"), pair("2", "a", " "), pair("3", "a", "p")]);
    assert_eq!(count_empty(&pairs), 2);
}

#[test]
fn duplicates_are_counted() {
    let outcome = read_as(DatasetFormat::Csv, "anchor,positive\na,p\nb,p\na,p\na,q\na,p\n").unwrap();
    assert_eq!((outcome.duplicate_rows, outcome.duplicate_positives), (2, 3));
}

#[test]
fn a_larger_file_streams_through() {
    const ROWS: usize = 60_000;
    let mut csv = String::from("anchor,positive\n");
    let mut lines = String::new();
    let mut array = String::from("[");
    for row in 0..ROWS {
        writeln!(csv, "question {row},\"passage {row}, in\nits fullness\"").unwrap();
        let object = format!("{{\"anchor\":\"question {row}\",\"positive\":\"passage {row}, in\\nits fullness\"}}");
        writeln!(lines, "{object}").unwrap();
        write!(array, "{}{object}", if row == 0 { "" } else { ",\n" }).unwrap();
    }
    array.push(']');
    for (format, file) in [(DatasetFormat::Csv, csv), (DatasetFormat::Jsonl, lines), (DatasetFormat::Json, array)] {
        let outcome = read_as(format, gzip(file.as_bytes())).unwrap();
        assert_eq!(outcome.pairs.len(), ROWS);
        let last = ROWS - 1;
        assert_eq!(
            outcome.pairs[last],
            pair(&ROWS.to_string(), &format!("question {last}"), &format!("passage {last}, in\nits fullness"))
        );
    }
}
