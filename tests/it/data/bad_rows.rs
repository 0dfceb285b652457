//! Every bad row is told by line and field.

use matryo::data::error::DatasetError;
use matryo::domain::DatasetFormat;
use parquet::file::properties::WriterProperties;

use super::{Column, parquet_file, read_as, row_errors, texts};

#[test]
fn csv_rows_are_told_by_the_line_they_begin_at() {
    let file = "id,question,answer\r\n\
                1,ok,\"two\r\nlines\"\r\n\
                2,,p\r\n\
                \r\n\
                3,\"  \",p\r\n\
                4,a\r\n\
                5,a,p,extra\r\n\
                1,a,p\r\n\
                ,a,p\r\n";
    assert_eq!(
        row_errors(read_as(DatasetFormat::Csv, file)),
        [
            "4 question: empty; a text is expected",
            "6 question: blank; a text is expected",
            "7 : 2 fields; the header has 3",
            "8 : 4 fields; the header has 3",
            "9 id: the id `1` occurs before, at line 2; ids must be unique",
            "10 id: empty; an id is expected in every row",
        ]
    );
}

#[test]
fn csv_lines_are_right_whatever_ends_them() {
    for end in ["\n", "\r\n", "\r"] {
        let file = ["anchor,positive", "", "\"a\nb\",p", "", ",p", "c,"].join(end);
        assert_eq!(
            row_errors(read_as(DatasetFormat::Csv, &file)),
            ["6 anchor: empty; a text is expected", "7 positive: empty; a text is expected"],
            "{end:?}"
        );
    }
}

#[test]
fn bytes_that_are_not_utf8_are_told_by_field() {
    let file = b"anchor\tpositive\na\tp\nb\t\xff\xfe\n\xc3\t\xc3\n";
    assert_eq!(
        row_errors(read_as(DatasetFormat::Tsv, file)),
        ["3 positive: not valid UTF-8", "4 anchor: not valid UTF-8", "4 positive: not valid UTF-8"]
    );
    let file = b"{\"anchor\": \"a\", \"positive\": \"p\"}\n{\"anchor\": \"\xff\", \"positive\": \"p\"}\n";
    assert_eq!(row_errors(read_as(DatasetFormat::Jsonl, file)), ["2 : not valid UTF-8"]);
}

#[test]
fn json_lines_are_told_by_line() {
    let file = concat!(
        "\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"id\": 1}\n",
        "{\"anchor\": 5, \"positive\": null, \"id\": 2}\n",
        "\n",
        "{\"anchor\": \"a\", \"id\": 3}\n",
        "{\"anchor\": [\"a\"], \"positive\": {\"p\": 1}, \"id\": true}\n",
        "{\"anchor\": \"a\", \"anchor\": \"b\", \"positive\": \"p\", \"id\": 4}\n",
        "[\"a\", \"p\"]\n",
        "{\"anchor\": \"a\" \"positive\"}\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"id\": 6} {}\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"id\": 1}",
    );
    assert_eq!(
        row_errors(read_as(DatasetFormat::Jsonl, file)),
        [
            "3 anchor: the number 5; a text is expected",
            "3 positive: null; a text is expected",
            "5 positive: missing; a text is expected",
            "6 anchor: an array; a text is expected",
            "6 positive: an object; a text is expected",
            "6 id: a boolean; an id is a text or a number",
            "7 : the field `anchor` occurs twice",
            "8 : an array; an object is expected",
            "9 : not a JSON object: expected `,` or `}` at column 16",
            "10 : not a JSON object: trailing characters at column 43",
            "11 id: the id `1` occurs before, at line 2; ids must be unique",
        ]
    );
}

#[test]
fn json_rows_are_told_by_the_line_they_begin_at() {
    let file = "[\n  {\"anchor\": \"a\", \"positive\": \"p\"}, {\"anchor\": null, \"positive\": \"p\"},\n\n  {\n    \
                \"anchor\": \"a\",\n    \"positive\": 7\n  }, 3,\n  {\"positive\": \"p\"}\n]";
    let expected = [
        "2 anchor: null; a text is expected",
        "4 positive: the number 7; a text is expected",
        "7 : a number; an object is expected",
        "8 anchor: missing; a text is expected",
    ];
    assert_eq!(row_errors(read_as(DatasetFormat::Json, file)), expected);
    let nested = format!("{{\"version\": 2, \"data\": {file}}}");
    assert_eq!(row_errors(read_as(DatasetFormat::Json, nested)), expected);
}

#[test]
fn json_columns_are_told_by_the_line_of_their_value() {
    let file = "{\"question\": [\"a\",\n null,\n \"c\"],\n\"answer\": [\"p\", \"q\",\n {}]}";
    assert_eq!(
        row_errors(read_as(DatasetFormat::Json, file)),
        ["2 question: null; a text is expected", "3 answer: an object; a text is expected"]
    );
}

#[test]
fn parquet_rows_are_told_by_number() {
    let group = |values: Vec<Option<Vec<u8>>>| {
        let rows = values.len();
        vec![("anchor", Column::Text(values)), ("positive", texts(&vec!["p"; rows]))]
    };
    let file = parquet_file(
        WriterProperties::default(),
        &[group(vec![Some(b"a".to_vec()), None]), group(vec![Some(b"\xff".to_vec()), Some(b"b".to_vec())])],
    );
    assert_eq!(
        row_errors(read_as(DatasetFormat::Parquet, file)),
        ["2 anchor: null; a text is expected", "3 anchor: not valid UTF-8"]
    );
}

#[test]
fn twenty_errors_are_told_and_all_are_counted() {
    let mut file = String::from("anchor,positive\n");
    for row in 0..100 {
        file += if row % 2 == 0 { "a,\n" } else { "a,p\n" };
    }
    let Err(DatasetError::Rows { errors, total, checked }) = read_as(DatasetFormat::Csv, file) else {
        panic!("row errors expected")
    };
    assert_eq!((errors.len(), total, checked), (20, 50, 100));
    assert_eq!((errors[0].line, errors[19].line), (2, 40));
}

#[test]
fn a_first_row_that_lacks_a_field_does_not_hide_the_column() {
    let file = "{\"anchor\": \"a\"}\n{\"anchor\": \"b\", \"positive\": \"p\"}\n";
    assert_eq!(row_errors(read_as(DatasetFormat::Jsonl, file)), ["1 positive: missing; a text is expected"]);
}

#[test]
fn a_file_of_nothing_but_broken_lines_reports_them() {
    let file = "nonsense\n".repeat(300);
    let Err(DatasetError::Rows { errors, total, .. }) = read_as(DatasetFormat::Jsonl, file) else {
        panic!("row errors expected")
    };
    assert_eq!((errors.len(), errors[0].line, total), (20, 1, 300));
}
