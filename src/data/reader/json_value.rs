//! Reads JSON values without building them: a row needs its strings, and of the rest only what it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::rows::Cell;

/// A field's value.
pub(super) type JsonCell = Cell<'static>;

/// One row: an object's fields in order, or something else.
#[derive(Debug)]
pub(super) enum JsonRow {
    Fields(Vec<(String, JsonCell)>),
    Other(JsonCell),
}

impl JsonRow {
    /// The row as the value of a field.
    pub(super) fn into_cell(self) -> JsonCell {
        match self {
            Self::Fields(_) => Cell::Other("an object"),
            Self::Other(cell) => cell,
        }
    }
}

/// What a value is called in a message.
pub(super) fn kind(cell: &JsonCell) -> &'static str {
    match cell {
        Cell::Text(_) => "a text",
        Cell::Number(_) => "a number",
        Cell::Null => "null",
        Cell::Other(kind) => kind,
        Cell::Missing | Cell::NotUtf8 => "nothing",
    }
}

/// Reads a [`JsonRow`] of at most this many fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowSeed {
    pub(super) max_fields: usize,
}

/// Reads a [`JsonCell`].
#[derive(Debug, Clone, Copy)]
struct CellSeed;

impl<'de> DeserializeSeed<'de> for RowSeed {
    type Value = JsonRow;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonRow, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = JsonCell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonCell, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The scalar half of a visitor, the same for cells and rows but for the wrapping.
macro_rules! visit_scalars {
    ($wrap:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Other("a boolean")))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Number(number.to_string())))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Number(number.to_string())))
        }

        fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Number(number.to_string())))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Null))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Text(text.to_owned().into())))
        }

        fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
            Ok($wrap(Cell::Text(text.into())))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok($wrap(Cell::Other("an array")))
        }
    };
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = JsonCell;

    visit_scalars!(std::convert::identity);

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonCell, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object"))
    }
}

impl<'de> Visitor<'de> for RowSeed {
    type Value = JsonRow;

    visit_scalars!(JsonRow::Other);

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonRow, A::Error> {
        let mut row = Vec::new();
        while let Some(name) = fields.next_key::<String>()? {
            if row.len() == self.max_fields {
                return Err(A::Error::custom(format!("an object of more than {} fields", self.max_fields)));
            }
            row.push((name, fields.next_value_seed(CellSeed)?));
        }
        Ok(JsonRow::Fields(row))
    }
}
