//! Identifiers: UUID version 7, so that they sort by the time they were made.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id (a UUID is expected)")]
pub struct ParseIdError {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new identifier from the clock and random bits.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Its 32 hexadecimal digits without dashes, of which ids of OpenAI's shape are made.
            #[must_use]
            pub fn digits(&self) -> String {
                self.0.simple().to_string()
            }

            /// The identifier of these digits, as [`Self::digits`] writes them and in no other form.
            #[must_use]
            pub fn from_digits(text: &str) -> Option<Self> {
                let id = Self(Uuid::try_parse(text).ok()?);
                (id.digits() == text).then_some(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // By way of `FromStr`, so that JSON, paths and query strings accept the same form.
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // The length check keeps out the braced and URN forms, which would give one thing two names.
                match Uuid::parse_str(text) {
                    Ok(id) if text.len() == 36 => Ok(Self(id)),
                    _ => Err(ParseIdError { kind: $kind, text: text.chars().take(80).collect() }),
                }
            }
        }
    };
}

id!(
    /// Names a dataset.
    DatasetId,
    "dataset"
);
id!(
    /// Names a job.
    JobId,
    "job"
);
id!(
    /// Names a base model.
    ModelId,
    "model"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        for text in ["", "7", "../etc", &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        let digits = id.digits();
        assert_eq!((digits.len(), JobId::from_digits(&digits)), (32, Some(id)));
        for text in ["", "7", &id.to_string(), &digits.to_uppercase(), &format!("{{{id}}}")] {
            assert_eq!(JobId::from_digits(text), None, "{text}");
        }
    }
}
