//! A file's first rows, before it is read for good.

use std::io::Write;

use matryo::data::error::DatasetError;
use matryo::data::reader::{FilePreview, ReadLimits, ReadOptions, preview_file};
use matryo::domain::{ColumnMapping, DatasetFormat};
use parquet::file::properties::WriterProperties;

use super::{Column, gzip, parquet_file, texts, zstd};

/// Looks at the first three rows.
fn preview(file_name: &str, bytes: impl AsRef<[u8]>) -> Result<FilePreview, DatasetError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    let options = ReadOptions { file_name: Some(file_name.into()), ..ReadOptions::default() };
    preview_file(file.path(), &options, 3)
}

/// The rows, `-` where there is no value.
fn rows(preview: &FilePreview) -> Vec<Vec<&str>> {
    preview.rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect()).collect()
}

fn question_and_answer() -> ColumnMapping {
    ColumnMapping { anchor: Some("question".into()), positive: Some("answer".into()), id: None }
}

#[test]
fn every_layout_shows_its_first_rows() {
    let csv = "question,n,answer\nq1,1,a1\nq2,2,\"a\n2\"\nq3,3,a3\nq4,4,a4\n";
    let jsonl = "{\"question\":\"q1\",\"n\":1,\"answer\":\"a1\"}\n\n{\"question\":\"q2\",\"n\":2,\"answer\":\"a\\n2\"}\nnonsense\n{\"question\":\"q3\",\"n\":3,\"answer\":\"a3\"}\n";
    let json = format!("[{}]", jsonl.replace("nonsense\n", "").replace("\n\n", "\n").trim_end().replace('\n', ","));
    let data = format!("{{\"data\":{json},\"version\":1}}");
    let columns = r#"{"question":["q1","q2","q3","q4"],"n":[1,2,3,4],"answer":["a1","a\n2","a3","a4"]}"#;
    let parquet = parquet_file(
        WriterProperties::builder().build(),
        &[vec![
            ("question", texts(&["q1", "q2", "q3", "q4"])),
            ("n", Column::Integers(vec![1, 2, 3, 4])),
            ("answer", texts(&["a1", "a\n2", "a3", "a4"])),
        ]],
    );
    for (name, format, bytes) in [
        ("a.csv", DatasetFormat::Csv, csv.as_bytes().to_vec()),
        ("a.csv.gz", DatasetFormat::Csv, gzip(csv.as_bytes())),
        ("a.tsv", DatasetFormat::Tsv, csv.replace(',', "\t").into_bytes()),
        ("a.jsonl", DatasetFormat::Jsonl, jsonl.into()),
        ("a.jsonl.zst", DatasetFormat::Jsonl, zstd(jsonl.as_bytes())),
        ("a.json", DatasetFormat::Json, json.clone().into()),
        ("a.json", DatasetFormat::Json, columns.into()),
        ("a.parquet", DatasetFormat::Parquet, parquet.clone()),
        ("a.parquet.gz", DatasetFormat::Parquet, gzip(&parquet)),
    ] {
        let found = preview(name, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.format, format, "{name}");
        assert_eq!(found.columns, ["question", "n", "answer"], "{name}");
        assert_eq!(rows(&found), [["q1", "1", "a1"], ["q2", "2", "a\n2"], ["q3", "3", "a3"]], "{name}");
        assert_eq!(found.mapping, question_and_answer(), "{name}");
    }
    let found = preview("a.json", data).unwrap();
    assert_eq!(found.columns, ["question", "n", "answer"]);
    assert_eq!(rows(&found)[0], ["q1", "1", "a1"]);
}

#[test]
fn what_is_cut_off_shows_what_came_before() {
    let csv: String = (0..5000).fold("query,passage\n".into(), |text, row| text + &format!("q{row},p{row}\n"));
    let packed = gzip((csv.clone() + &"y".repeat(400_000)).as_bytes());
    let jsonl = "{\"query\":\"q0\",\"passage\":\"p0\"}\n{\"query\":\"q1\",\"pass";
    for (name, bytes, expected) in [
        ("a.csv", csv.as_bytes()[..26].to_vec(), 2),
        ("a.csv.gz", packed[..packed.len() - 100].to_vec(), 3),
        ("a.jsonl", jsonl.into(), 1),
        ("a.json", format!("[{}", jsonl.replace('\n', ",")).into(), 1),
        ("a.csv", b"query,passage".to_vec(), 0),
    ] {
        let found = preview(name, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.columns, ["query", "passage"], "{name}");
        assert_eq!(found.rows.len(), expected, "{name}");
        assert!(rows(&found).first().is_none_or(|row| row == &["q0", "p0"]), "{name}: {found:?}");
    }
    let found = preview("a.json", r#"{"query":["q0","q1"],"passage":["p0"#).unwrap();
    assert_eq!((found.columns.len(), rows(&found)[0].clone()), (2, vec!["q0", "-"]));
}

#[test]
fn odd_values_are_shown_as_what_they_are() {
    let long = "x".repeat(1000);
    let jsonl = format!("{{\"a\":null,\"b\":[1],\"c\":true}}\n{{\"c\":1.5,\"d\":\"{long}\"}}\n");
    let found = preview("a.jsonl", jsonl).unwrap();
    assert_eq!(found.columns, ["a", "b", "c", "d"]);
    assert_eq!(rows(&found)[0], ["-", "(an array)", "(a boolean)", "-"]);
    assert_eq!(rows(&found)[1][..3], ["-", "-", "1.5"]);
    assert_eq!(rows(&found)[1][3].chars().count(), 301);
    assert_eq!(found.mapping, ColumnMapping::default());
    let found = preview("a.csv", b"a,b\n\xff,1,too many\nshort\n").unwrap();
    assert_eq!(rows(&found), [["(not UTF-8)", "1"], ["short", "-"]]);
}

#[test]
fn what_has_no_columns_is_refused() {
    for (name, bytes) in
        [("a.csv", &b""[..]), ("a.jsonl", b"1\n2\n"), ("a.json", b"[]"), ("a.parquet", b"PAR1 and no more")]
    {
        assert!(preview(name, bytes).is_err(), "{name}");
    }
    let error = preview("a", b"PK\x03\x04 a workbook").unwrap_err();
    assert!(error.to_string().contains("zip"), "{error}");
}

#[test]
fn columns_are_bounded() {
    let names: Vec<String> = (0..20).map(|column| format!("\"c{column}\":[1]")).collect();
    let object = format!("{{{}}}", names.join(","));
    for (format, text) in [
        (DatasetFormat::Jsonl, object.clone()),
        (DatasetFormat::Json, object.clone()),
        (DatasetFormat::Json, format!("[{object}]")),
        (DatasetFormat::Csv, "a,".repeat(20)),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let limits = ReadLimits { max_columns: 10, ..ReadLimits::default() };
        let options = ReadOptions { format: Some(format), limits, ..ReadOptions::default() };
        match preview_file(file.path(), &options, 3) {
            Ok(preview) => assert!(preview.columns.len() <= 10, "{format:?}"),
            Err(error) => {
                assert!(error.to_string().contains("columns") || error.to_string().contains("fields"), "{error}")
            }
        }
    }
}
