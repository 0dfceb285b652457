//! Judges records: the one place that decides what a good row is, for every format.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::data::error::DatasetError;
use crate::domain::{ColumnMapping, Pair, RowError};

use super::ReadLimits;

/// Ids are keys, not texts.
const MAX_ID_CHARS: usize = 256;

/// One field of a record, as its format has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    /// The record does not have the field.
    Missing,
    /// The field is null.
    Null,
    /// A string.
    Text(Cow<'a, str>),
    /// A number, as it is written.
    Number(String),
    /// Anything else, by what it is called (`an array`).
    Other(&'static str),
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl<'a> Cell<'a> {
    /// A cell of bytes that should be UTF-8.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or(Self::NotUtf8, |text| Self::Text(text.into()))
    }
}

/// Collects rows while they are good, and errors once one is not.
#[derive(Debug)]
pub(super) struct Rows<'l> {
    limits: &'l ReadLimits,
    row_id_prefix: &'l str,
    columns: ColumnMapping,
    pairs: Vec<Pair>,
    first_lines: HashMap<String, u64>,
    refuse_empty: bool,
    text_bytes: u64,
    errors: Vec<RowError>,
    bad: u64,
    checked: u64,
}

impl<'l> Rows<'l> {
    /// No rows yet; `row_id_prefix` goes before the numbers of rows without ids.
    pub(super) fn new(limits: &'l ReadLimits, row_id_prefix: &'l str) -> Self {
        Self {
            limits,
            row_id_prefix,
            columns: ColumnMapping::default(),
            pairs: Vec::new(),
            first_lines: HashMap::new(),
            refuse_empty: false,
            text_bytes: 0,
            errors: Vec::new(),
            bad: 0,
            checked: 0,
        }
    }

    /// Makes an empty text an error: where the format has no other way to say that there is none.
    pub(super) fn refuse_empty_texts(&mut self) {
        self.refuse_empty = true;
    }

    /// Says what the columns are called, for errors to name them.
    pub(super) fn set_columns(&mut self, columns: ColumnMapping) {
        self.columns = columns;
    }

    /// Adds the record that starts at `line`; `id` is none where the file has no column of ids.
    ///
    /// # Errors
    /// Only where a limit on the file is exceeded; a bad row is noted and reading goes on.
    pub(super) fn push(
        &mut self,
        line: u64,
        anchor: Cell<'_>,
        positive: Cell<'_>,
        id: Option<Cell<'_>>,
    ) -> Result<(), DatasetError> {
        self.count_row()?;
        let mut errors = Vec::new();
        let mut note = |field: &Option<String>, message| errors.push(RowError { line, field: field.clone(), message });
        let text = |cell| text(cell, self.limits, self.refuse_empty);
        let anchor = text(anchor).map_err(|message| note(&self.columns.anchor, message)).ok();
        let positive = text(positive).map_err(|message| note(&self.columns.positive, message)).ok();
        let id = match id {
            None => Some(format!("{}{}", self.row_id_prefix, self.checked)),
            Some(cell) => id_text(cell)
                .and_then(|id| match self.first_lines.get(&id) {
                    None => {
                        self.first_lines.insert(id.clone(), line);
                        Ok(id)
                    }
                    Some(first) => Err(format!("the id `{id}` occurs before, at line {first}; ids must be unique")),
                })
                .map_err(|message| note(&self.columns.id, message))
                .ok(),
        };
        if let (Some(id), Some(anchor), Some(positive)) = (id, anchor, positive) {
            self.text_bytes += (id.len() + anchor.len() + positive.len()) as u64;
            if self.text_bytes > self.limits.max_decompressed_bytes {
                return Err(DatasetError::TooLarge {
                    what: "the rows' text takes more bytes".into(),
                    limit: self.limits.max_decompressed_bytes,
                });
            }
            // Once one row is bad the file is refused: the others are only checked.
            if self.bad == 0 {
                self.pairs.push(Pair { id, anchor, positive });
            }
        }
        self.note(errors);
        Ok(())
    }

    /// Notes a record that has no fields to judge.
    ///
    /// # Errors
    /// As [`Rows::push`].
    pub(super) fn reject(&mut self, line: u64, message: impl Into<String>) -> Result<(), DatasetError> {
        self.count_row()?;
        self.note(vec![RowError { line, field: None, message: message.into() }]);
        Ok(())
    }

    /// The rows, in order.
    ///
    /// # Errors
    /// [`DatasetError::Rows`] where any was bad, [`DatasetError::Empty`] where there was none.
    pub(super) fn finish(self) -> Result<Vec<Pair>, DatasetError> {
        if self.bad > 0 {
            return Err(DatasetError::Rows { errors: self.errors, total: self.bad, checked: self.checked });
        }
        if self.pairs.is_empty() {
            return Err(DatasetError::Empty);
        }
        Ok(self.pairs)
    }

    fn count_row(&mut self) -> Result<(), DatasetError> {
        self.checked += 1;
        if self.checked > self.limits.max_rows {
            return Err(too_many_rows(self.limits));
        }
        Ok(())
    }

    fn note(&mut self, errors: Vec<RowError>) {
        if errors.is_empty() {
            return;
        }
        self.bad += 1;
        self.pairs = Vec::new();
        let room = self.limits.max_errors.saturating_sub(self.errors.len());
        self.errors.extend(errors.into_iter().take(room));
    }
}

/// The error for a file of more rows than allowed.
pub(super) fn too_many_rows(limits: &ReadLimits) -> DatasetError {
    DatasetError::TooLarge { what: "the file has more rows".into(), limit: limits.max_rows }
}

fn text(cell: Cell<'_>, limits: &ReadLimits, refuse_empty: bool) -> Result<String, String> {
    let text = match cell {
        Cell::Text(text) => text,
        Cell::Missing => return Err("missing; a text is expected".into()),
        Cell::Null => return Err("null; a text is expected".into()),
        Cell::Number(number) => return Err(format!("the number {}; a text is expected", shortened(&number))),
        Cell::Other(kind) => return Err(format!("{kind}; a text is expected")),
        Cell::NotUtf8 => return Err("not valid UTF-8".into()),
    };
    if refuse_empty && text.trim().is_empty() {
        return Err(format!("{}; a text is expected", if text.is_empty() { "empty" } else { "blank" }));
    }
    // A character has at least one byte, so most texts need no counting.
    if text.len() > limits.max_text_chars {
        let chars = text.chars().count();
        if chars > limits.max_text_chars {
            return Err(format!("{chars} characters; at most {} are allowed", limits.max_text_chars));
        }
    }
    Ok(text.into_owned())
}

fn id_text(cell: Cell<'_>) -> Result<String, String> {
    let id = match cell {
        Cell::Text(text) => text.trim().to_owned(),
        Cell::Number(number) => number,
        Cell::Missing => return Err("missing; an id is expected in every row".into()),
        Cell::Null => return Err("null; an id is expected in every row".into()),
        Cell::Other(kind) => return Err(format!("{kind}; an id is a text or a number")),
        Cell::NotUtf8 => return Err("not valid UTF-8".into()),
    };
    if id.is_empty() {
        return Err("empty; an id is expected in every row".into());
    }
    if id.chars().nth(MAX_ID_CHARS).is_some() {
        return Err(format!("longer than the {MAX_ID_CHARS} characters that an id may have"));
    }
    Ok(id)
}

fn shortened(number: &str) -> &str {
    number.get(..40).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Cell<'_> {
        Cell::Text(text.into())
    }

    fn errors(rows: Rows<'_>) -> (Vec<RowError>, u64, u64) {
        match rows.finish() {
            Err(DatasetError::Rows { errors, total, checked }) => (errors, total, checked),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_bad_field_is_told() {
        let limits = ReadLimits { max_text_chars: 5, ..ReadLimits::default() };
        let cases = [
            (Cell::Missing, "missing"),
            (Cell::Null, "null"),
            (good(""), "empty"),
            (good(" \u{a0}\t"), "blank"),
            (Cell::Number("7".into()), "the number 7"),
            (Cell::Other("an array"), "an array"),
            (Cell::NotUtf8, "not valid UTF-8"),
            (good("äöüäöü"), "6 characters; at most 5"),
        ];
        for (cell, expected) in cases {
            for first in [true, false] {
                let mut rows = Rows::new(&limits, "");
                rows.refuse_empty_texts();
                rows.set_columns(ColumnMapping {
                    anchor: Some("q".into()),
                    positive: Some("p".into()),
                    id: Some("key".into()),
                });
                let (a, p) = if first { (cell.clone(), good("p")) } else { (good("a"), cell.clone()) };
                rows.push(9, a, p, Some(good("1"))).unwrap();
                let (errors, total, checked) = errors(rows);
                assert_eq!((total, checked, errors[0].line), (1, 1, 9));
                assert_eq!(errors[0].field.as_deref(), Some(if first { "q" } else { "p" }));
                assert!(errors[0].message.starts_with(expected), "{}", errors[0].message);
            }
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let limits = ReadLimits { max_text_chars: 5, ..ReadLimits::default() };
        let mut rows = Rows::new(&limits, "");
        rows.push(1, good("äöüäö"), good("p"), None).unwrap();
        assert_eq!(rows.finish().unwrap()[0].anchor, "äöüäö");
    }

    #[test]
    fn ids_are_texts_or_numbers_and_unique() {
        let limits = ReadLimits::default();
        let mut rows = Rows::new(&limits, "");
        let long = "x".repeat(MAX_ID_CHARS + 1);
        let ids = [Cell::Number("7".into()), good(" 7 "), Cell::Null, good(""), Cell::Other("a boolean"), good(&long)];
        for (line, id) in (2..).zip(ids) {
            rows.push(line, good("a"), good("p"), Some(id)).unwrap();
        }
        let (errors, total, _) = errors(rows);
        assert_eq!((total, errors[0].line), (5, 3));
        assert!(errors[0].message.contains("at line 2"), "{}", errors[0].message);
    }

    #[test]
    fn rows_without_ids_are_numbered() {
        let limits = ReadLimits::default();
        let mut rows = Rows::new(&limits, "eval-");
        rows.push(2, good("a"), good("p"), None).unwrap();
        rows.push(5, good("b"), good("p"), None).unwrap();
        let ids: Vec<String> = rows.finish().unwrap().into_iter().map(|pair| pair.id).collect();
        assert_eq!(ids, ["eval-1", "eval-2"]);
    }

    #[test]
    fn errors_beyond_the_first_few_are_counted() {
        let limits = ReadLimits { max_errors: 3, ..ReadLimits::default() };
        let mut rows = Rows::new(&limits, "");
        for line in 1..=50 {
            rows.push(line, Cell::Null, Cell::Null, None).unwrap();
        }
        let (errors, total, checked) = errors(rows);
        assert_eq!((errors.len(), errors[2].line, total, checked), (3, 2, 50, 50));
    }

    #[test]
    fn rows_and_their_text_are_bounded() {
        let limits = ReadLimits { max_rows: 2, max_decompressed_bytes: 8, ..ReadLimits::default() };
        let mut rows = Rows::new(&limits, "");
        rows.push(1, good("a"), good("p"), None).unwrap();
        rows.reject(2, "bad").unwrap();
        assert!(matches!(rows.reject(3, "bad"), Err(DatasetError::TooLarge { limit: 2, .. })));
        let mut rows = Rows::new(&limits, "");
        rows.push(1, good("abcd"), good("efg"), None).unwrap();
        assert!(matches!(rows.push(2, good("a"), good("b"), None), Err(DatasetError::TooLarge { limit: 8, .. })));
    }
}
