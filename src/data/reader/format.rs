//! Tells a file's layout: from what the sender says, else from its name, else from its content type, else by looking.

use crate::data::error::DatasetError;
use crate::domain::DatasetFormat;

/// Every Parquet file begins and ends with these bytes.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// What the sender says about the layout.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hints<'a> {
    pub(super) format: Option<DatasetFormat>,
    pub(super) file_name: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
}

/// The layout of a content that begins with `head`.
///
/// # Errors
/// [`DatasetError::Format`] where nothing tells, or where the content plainly is another.
pub(super) fn decide(hints: Hints<'_>, head: &[u8]) -> Result<DatasetFormat, DatasetError> {
    let named = hints.file_name.and_then(from_name).or_else(|| hints.content_type.and_then(from_content_type));
    let format = match (hints.format, named) {
        (Some(format), _) => format,
        // Many `.json` files hold one object a line.
        (None, Some(DatasetFormat::Json)) if looks_like_json_lines(head) => DatasetFormat::Jsonl,
        (None, Some(format)) => format,
        (None, None) => sniff(head)?,
    };
    let is_parquet = head.starts_with(PARQUET_MAGIC);
    if (format == DatasetFormat::Parquet) != is_parquet && !head.is_empty() {
        return Err(DatasetError::format(if is_parquet {
            format!("the content is Parquet, not {}; pass format=parquet", word(format))
        } else {
            "the content is not Parquet: it does not begin with PAR1".into()
        }));
    }
    Ok(format)
}

fn word(format: DatasetFormat) -> &'static str {
    match format {
        DatasetFormat::Csv => "csv",
        DatasetFormat::Tsv => "tsv",
        DatasetFormat::Json => "json",
        DatasetFormat::Jsonl => "jsonl",
        DatasetFormat::Parquet => "parquet",
    }
}

fn from_name(name: &str) -> Option<DatasetFormat> {
    let name = name.to_ascii_lowercase();
    let name = [".gz", ".gzip", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "csv" => Some(DatasetFormat::Csv),
        "tsv" | "tab" => Some(DatasetFormat::Tsv),
        "json" => Some(DatasetFormat::Json),
        "jsonl" | "ndjson" => Some(DatasetFormat::Jsonl),
        "parquet" | "pq" => Some(DatasetFormat::Parquet),
        _ => None,
    }
}

fn from_content_type(content_type: &str) -> Option<DatasetFormat> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/csv" | "application/csv" => Some(DatasetFormat::Csv),
        "text/tab-separated-values" => Some(DatasetFormat::Tsv),
        "application/json" => Some(DatasetFormat::Json),
        "application/jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines"
        | "application/x-ndjson"
        | "application/ndjson" => Some(DatasetFormat::Jsonl),
        "application/vnd.apache.parquet" | "application/x-parquet" | "application/parquet" => {
            Some(DatasetFormat::Parquet)
        }
        _ => None,
    }
}

fn sniff(head: &[u8]) -> Result<DatasetFormat, DatasetError> {
    if head.starts_with(PARQUET_MAGIC) {
        return Ok(DatasetFormat::Parquet);
    }
    let start = head.trim_ascii_start();
    match start.first() {
        None => return Err(DatasetError::Empty),
        Some(b'[') => return Ok(DatasetFormat::Json),
        Some(b'{') if looks_like_json_lines(head) => return Ok(DatasetFormat::Jsonl),
        Some(b'{') => return Ok(DatasetFormat::Json),
        Some(_) => {}
    }
    let header = start.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if std::str::from_utf8(header).is_err() || header.contains(&0) {
        return Err(DatasetError::format(
            "the content is not CSV, TSV, JSON, JSON Lines or Parquet: its first line is not UTF-8 text",
        ));
    }
    match (outside_quotes(header, b','), outside_quotes(header, b'\t')) {
        (true, false) => Ok(DatasetFormat::Csv),
        (false, true) => Ok(DatasetFormat::Tsv),
        (both, _) => Err(DatasetError::format(format!(
            "the first line has {} commas {} tabs, so the layout is unclear; pass format=csv, tsv, json, jsonl or parquet",
            if both { "both" } else { "neither" },
            if both { "and" } else { "nor" },
        ))),
    }
}

fn outside_quotes(line: &[u8], separator: u8) -> bool {
    let mut quoted = false;
    line.iter().any(|byte| {
        quoted ^= *byte == b'"';
        !quoted && *byte == separator
    })
}

/// One object, and then another or nothing, where a JSON document would be one object of arrays.
fn looks_like_json_lines(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    if start.first() != Some(&b'{') {
        return false;
    }
    let mut values = serde_json::Deserializer::from_slice(start).into_iter::<serde::de::IgnoredAny>();
    if let Some(Ok(_)) = values.next()
        && start[values.byte_offset()..].trim_ascii_start().first() == Some(&b'{')
    {
        return true;
    }
    !first_value_is_array(start)
}

/// True for `{"…": [`.
fn first_value_is_array(object: &[u8]) -> bool {
    let key = object[1..].trim_ascii_start();
    let mut keys = serde_json::Deserializer::from_slice(key).into_iter::<serde::de::IgnoredAny>();
    let Some(Ok(_)) = keys.next() else { return false };
    let rest = key[keys.byte_offset()..].trim_ascii_start();
    rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().first() == Some(&b'['))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(name: &str, content_type: &str, head: &str) -> Result<DatasetFormat, DatasetError> {
        let hints = Hints {
            format: None,
            file_name: (!name.is_empty()).then_some(name),
            content_type: (!content_type.is_empty()).then_some(content_type),
        };
        decide(hints, head.as_bytes())
    }

    #[test]
    fn the_name_tells_first_then_the_content_type_then_the_content() {
        use DatasetFormat::{Csv, Json, Jsonl, Parquet, Tsv};
        for (name, content_type, head, expected) in [
            ("a.CSV", "application/json", "a\tb", Csv),
            ("a.tsv.gz", "", "a,b", Tsv),
            ("a.ndjson.zst", "", "{}", Jsonl),
            ("a.json", "", "[{}]", Json),
            ("a.json", "", "{\"a\": 1}\n{\"a\": 2}", Jsonl),
            ("a.json", "", "{\"anchor\": [\"x\"", Json),
            ("a.parquet", "", "PAR1", Parquet),
            ("upload", "text/csv; charset=utf-8", "a", Csv),
            ("upload.dat", "application/x-ndjson", "a", Jsonl),
            ("", "application/json", "{\"data\": [", Json),
            ("", "application/octet-stream", "PAR1\x15", Parquet),
            ("", "", " \n[{\"a\"", Json),
            ("", "", "{\"a\": \"b\"}\n", Jsonl),
            ("", "", "{\"tags\": [], \"a\": \"b\"}\n{\"tags\": []}", Jsonl),
            ("", "", "{\"anchor\": [\"b\"], \"positive\": [\"c\"]}\n", Json),
            ("", "", "{\"anchor\": \"cut of", Jsonl),
            ("", "", "anchor,positive\na,b", Csv),
            ("", "", "anchor\tpositive\na,b\t", Tsv),
            ("", "", "\"a,b\"\tpositive\n", Tsv),
        ] {
            let found = guess(name, content_type, head).unwrap_or_else(|error| panic!("{head:?}: {error}"));
            assert_eq!(found, expected, "{name:?} {content_type:?} {head:?}");
        }
    }

    #[test]
    fn an_unclear_layout_is_an_error_that_says_what_to_pass() {
        for head in ["anchor", "anchor,positive\tid", "hello world\n"] {
            let error = guess("", "", head).unwrap_err().to_string();
            assert!(error.contains("format=csv"), "{head:?}: {error}");
        }
        assert!(guess("", "", "\u{1}\0\u{2}").is_err());
        assert!(matches!(guess("", "", " \n"), Err(DatasetError::Empty)));
    }

    #[test]
    fn parquet_under_another_name_is_told() {
        assert!(guess("a.csv", "", "PAR1\x15").unwrap_err().to_string().contains("format=parquet"));
        assert!(guess("a.parquet", "", "a,b").unwrap_err().to_string().contains("PAR1"));
    }
}
