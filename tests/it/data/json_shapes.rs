//! The shapes that a JSON document may have, and those it may not.

use matryo::data::error::DatasetError;
use matryo::domain::DatasetFormat;

use super::{pair, read_as};

#[test]
fn rows_may_stand_in_an_array_under_data_or_as_columns() {
    for file in [
        r#"[{"anchor": "a", "positive": "p"}, {"positive": "q", "anchor": "b"}]"#,
        r#"{"data": [{"anchor": "a", "positive": "p"}, {"anchor": "b", "positive": "q"}]}"#,
        r#"{"version": "1", "splits": ["x"], "data": [{"anchor": "a", "positive": "p"}, {"anchor": "b", "positive": "q"}], "n": 2}"#,
        r#"{"anchor": ["a", "b"], "positive": ["p", "q"]}"#,
        r#"{"extra": [1, [2], {"x": 3}], "positive": ["p", "q"], "meta": {"a": 1}, "Anchor": ["a", "b"]}"#,
    ] {
        let outcome = read_as(DatasetFormat::Json, file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(outcome.pairs, [pair("1", "a", "p"), pair("2", "b", "q")], "{file}");
    }
}

#[test]
fn a_column_may_be_called_data() {
    let outcome = read_as(DatasetFormat::Json, r#"{"data": ["x", "y"], "anchor": ["a", "b"], "positive": ["p", "q"]}"#);
    assert_eq!(outcome.unwrap().ignored_columns, ["data"]);
}

#[test]
fn objects_without_fields_have_no_columns() {
    for (format, file) in [(DatasetFormat::Jsonl, "{}\n{}"), (DatasetFormat::Json, "[{}]")] {
        match read_as(format, file) {
            Err(DatasetError::Columns { field: "anchor", found, .. }) => assert!(found.is_empty()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn escapes_are_undone() {
    let outcome = read_as(DatasetFormat::Json, r#"[{"anchor": "\u00e4\n\"\ud83e\udd80", "positive": "\/"}]"#).unwrap();
    assert_eq!(outcome.pairs, [pair("1", "ä\n\"🦀", "/")]);
}

#[test]
fn what_has_another_shape_is_refused_with_what_was_expected() {
    for (file, expected) in [
        (r#"{"anchor": "a", "positive": "p"}"#, "format=jsonl"),
        ("{\"anchor\": [\"a\"], \"positive\": [\"p\"]}\n{\"anchor\": [\"b\"], \"positive\": [\"q\"]}", "format=jsonl"),
        (r#"{"anchor": ["a", "b"], "positive": ["p"]}"#, "`positive` 1"),
        (r#"{"anchor": ["a"], "anchor": ["b"], "positive": ["p"]}"#, "twice"),
        (r#"[{"anchor": "a", "positive": "p"}"#, "cut short"),
        (r#"[{"anchor": "a", "positive": "p"}"#, "line 1"),
        (r#"[{"anchor": "a", "positive": "p"},]"#, "not a valid JSON document"),
        (r#"[{"anchor": "\ud800", "positive": "p"}]"#, "not a valid JSON document"),
        (r#""just a text""#, "expected an array of objects"),
        ("7", "expected an array of objects"),
    ] {
        match read_as(DatasetFormat::Json, file) {
            Err(DatasetError::Format { message }) => assert!(message.contains(expected), "{file}: {message}"),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = "[".repeat(100_000);
    for file in [deep.clone(), format!("[{{\"x\": {deep}"), format!("{{\"x\": {deep}")] {
        assert!(matches!(read_as(DatasetFormat::Json, file), Err(DatasetError::Format { .. })));
    }
    assert!(matches!(read_as(DatasetFormat::Jsonl, format!("{{\"x\": {deep}")), Err(DatasetError::Rows { .. })));
}
