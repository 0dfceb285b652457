//! What the routes that embed have in common: how texts are written, which model is meant, what can go wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, KnownFormat, Schema, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Response, Type};
use utoipa::{IntoResponses, PartialSchema, ToResponse, ToSchema};

use crate::data::tokenization::CutEnd;
use crate::domain::FieldError;
use crate::http::openapi::{
    Conflict, Empty, Invalid, ModelFailed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::{ApiError, AppState, ErrorCode};
use crate::serving::{EmbedError, EmbedInput, Embeddings};

/// A list is given up on beyond this, before it is compared with the limit that the operator sets.
const MOST_INPUTS: usize = 1 << 17;

/// One text or many, each a string or token ids.
#[derive(Debug, PartialEq)]
pub(super) struct Inputs(pub(super) Vec<EmbedInput>);

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of token ids, or a list of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs(vec![EmbedInput::Text(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
        // The first item tells one text's token ids from a list of texts.
        match list.next_element::<Item>()? {
            None => Ok(Inputs(Vec::new())),
            Some(Item::Id(first)) => {
                let mut ids = vec![first];
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Inputs(vec![EmbedInput::TokenIds(ids)]))
            }
            Some(Item::Input(first)) => {
                let mut inputs = vec![first];
                while let Some(item) = list.next_element::<Item>()? {
                    let Item::Input(input) = item else {
                        return Err(Error::custom("a string or a list of token ids is expected beside the others"));
                    };
                    if inputs.len() == MOST_INPUTS {
                        return Err(Error::custom(format!("at most {MOST_INPUTS} texts are read")));
                    }
                    inputs.push(input);
                }
                Ok(Inputs(inputs))
            }
        }
    }
}

/// An item of the outer list.
enum Item {
    Id(u32),
    Input(EmbedInput),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Item, E> {
        u32::try_from(id).map(Item::Id).map_err(|_| E::custom(format!("{id} is not a token id")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Input(EmbedInput::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(Item::Input(EmbedInput::TokenIds(ids)))
    }
}

impl PartialSchema for Inputs {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let id = || {
            let id = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX));
            id.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        };
        let ids = || ArrayBuilder::new().items(id()).min_items(Some(1)).description(Some("Token ids."));
        let either = AnyOfBuilder::new().item(text()).item(ids());
        let list = ArrayBuilder::new().items(either).min_items(Some(1)).description(Some("Many texts."));
        let any = AnyOfBuilder::new().item(text().description(Some("One text."))).item(ids()).item(list);
        Schema::from(any.examples([serde_json::json!("What was the revenue of 2023?")]).build()).into()
    }
}

impl ToSchema for Inputs {
    fn name() -> Cow<'static, str> {
        "Inputs".into()
    }
}

/// Which end of a text that is too long is cut off.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TruncationDirection {
    /// The beginning.
    #[serde(alias = "Left")]
    Left,
    /// The end.
    #[default]
    #[serde(alias = "Right")]
    Right,
}

impl From<TruncationDirection> for CutEnd {
    fn from(direction: TruncationDirection) -> Self {
        match direction {
            TruncationDirection::Left => Self::Left,
            TruncationDirection::Right => Self::Right,
        }
    }
}

/// Refuses what TEI refuses, in its words: no inputs, an empty one, and more than one request may bring. `are_empty` says
/// of each whether it is empty, `field` is what the client calls them.
pub(super) fn check_inputs(
    state: &AppState,
    field: &str,
    mut are_empty: impl ExactSizeIterator<Item = bool>,
) -> Result<(), ApiError> {
    let (count, limit) = (are_empty.len(), state.limits.max_client_batch_size);
    if count > limit {
        let message = format!("batch size {count} > maximum allowed batch size {limit}; send several requests");
        return Err(ApiError::invalid_field(field, message));
    }
    let name = match are_empty.position(|is_empty| is_empty) {
        None if count > 0 => return Ok(()),
        Some(index) if count > 1 => format!("{field}[{index}]"),
        None | Some(_) => field.to_owned(),
    };
    Err(ApiError::new(ErrorCode::Empty, format!("`{name}` cannot be empty")))
}

/// True where there is nothing in it.
pub(super) fn is_empty(input: &EmbedInput) -> bool {
    match input {
        EmbedInput::Text(text) => text.is_empty(),
        EmbedInput::TokenIds(ids) => ids.is_empty(),
    }
}

/// Characters of the texts; of token ids, their number. So TEI counts.
pub(super) fn characters(inputs: &[EmbedInput]) -> usize {
    let of_one = |input: &EmbedInput| match input {
        EmbedInput::Text(text) => text.chars().count(),
        EmbedInput::TokenIds(ids) => ids.len(),
    };
    inputs.iter().map(of_one).sum()
}

/// What to say where embeddings are cut to a length at which the model was not trained, as far as it says.
pub(super) fn dimension_warning(embeddings: &Embeddings) -> Option<String> {
    let Embeddings { dimension, full_dimension, matryoshka_dims, .. } = embeddings;
    let trained = matryoshka_dims.as_ref()?;
    if dimension == full_dimension || trained.contains(dimension) {
        return None;
    }
    let trained = trained.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(format!("the model was not trained at dimension {dimension}, so retrieval may be worse; it was at {trained}"))
}

/// Gives the fields of an error the names that this route's clients know: `name` turns a text's index into a field.
pub(super) fn rename_inputs(error: EmbedError, name: impl Fn(Option<usize>) -> String) -> EmbedError {
    let (fields, with): (_, fn(Vec<FieldError>) -> EmbedError) = match error {
        EmbedError::Invalid(fields) => (fields, EmbedError::Invalid),
        EmbedError::BadTokens(fields) => (fields, EmbedError::BadTokens),
        other => return other,
    };
    let renamed = fields.into_iter().map(|FieldError { field, message }| match field.strip_prefix("inputs") {
        Some(index) => {
            let index = index.strip_prefix('[').and_then(|index| index.strip_suffix(']'));
            FieldError::new(name(index.and_then(|index| index.parse().ok())), message)
        }
        None => FieldError { field, message },
    });
    with(renamed.collect())
}

/// The errors of every route that embeds.
pub(super) struct EmbedErrors;

impl IntoResponses for EmbedErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let names = [
            ("400", Empty::response().0),
            ("404", NotFound::response().0),
            ("408", Timeout::response().0),
            ("409", Conflict::response().0),
            ("413", TooLarge::response().0),
            ("415", UnsupportedMediaType::response().0),
            ("422", Invalid::response().0),
            ("424", ModelFailed::response().0),
            ("429", TooManyRequests::response().0),
        ];
        names.into_iter().map(|(status, name)| (status.into(), Ref::from_response_name(name).into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Inputs, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn one_text_or_many_each_a_string_or_token_ids() {
        let text = |text: &str| EmbedInput::Text(text.into());
        let ids = |ids: &[u32]| EmbedInput::TokenIds(ids.into());
        for (json, inputs) in [
            (r#""a""#, vec![text("a")]),
            (r#""""#, vec![text("")]),
            ("[]", vec![]),
            (r#"["a", "b\n"]"#, vec![text("a"), text("b\n")]),
            ("[101, 7, 102]", vec![ids(&[101, 7, 102])]),
            ("[[101, 102], [0]]", vec![ids(&[101, 102]), ids(&[0])]),
            (r#"["a", [1]]"#, vec![text("a"), ids(&[1])]),
            ("[[]]", vec![ids(&[])]),
        ] {
            assert_eq!(read(json), Ok(Inputs(inputs)), "{json}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_is_expected() {
        for json in [
            "7",
            "null",
            "{}",
            "true",
            "[null]",
            "[-1]",
            "[1.5]",
            "[4294967296]",
            "[1, \"a\"]",
            "[\"a\", 1]",
            "[[\"a\"]]",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
        let message = read("7").unwrap_err();
        assert!(message.contains("a string, a list of token ids, or a list of these"), "{message}");
    }
}
