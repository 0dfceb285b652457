//! Ids of OpenAI's shape. Each is ours behind a prefix, so the two can be made of each other and nothing is stored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{DatasetId, JobId};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident($($field:ident: $inner:ty),+), $kind:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::http) struct $name($(pub(in crate::http) $inner),+);

        impl $name {
            fn unknown(text: &str) -> String {
                let shown: String = text.chars().take(80).collect();
                format!("`{shown}` is not the id of a {}", $kind)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).build().into()
            }
        }

        impl ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A file: a dataset.
    FileName(dataset: DatasetId), "file", "^file-[0-9a-f]{32}$"
);
name!(
    /// A fine-tuning job: a job.
    FineTuningJobName(job: JobId), "fine-tuning job", "^ftjob-[0-9a-f]{32}$"
);
name!(
    /// An event of a fine-tuning job, by its number.
    EventName(event: u64), "fine-tuning job's event", "^ftevent-[0-9]+$"
);
name!(
    /// A checkpoint of a fine-tuning job, by its epoch.
    CheckpointName(job: JobId, epoch: u32), "fine-tuning job's checkpoint", "^ftckpt-[0-9a-f]{32}-[0-9]+$"
);

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file-{}", self.0.digits())
    }
}

impl FromStr for FileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_prefix("file-").and_then(DatasetId::from_digits);
        id.map(Self).ok_or_else(|| Self::unknown(text))
    }
}

impl fmt::Display for FineTuningJobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ftjob-{}", self.0.digits())
    }
}

impl FromStr for FineTuningJobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.strip_prefix("ftjob-").and_then(JobId::from_digits);
        id.map(Self).ok_or_else(|| Self::unknown(text))
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ftevent-{}", self.0)
    }
}

impl FromStr for EventName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("ftevent-").and_then(|number| number.parse().ok());
        number.map(Self).ok_or_else(|| Self::unknown(text))
    }
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ftckpt-{}-{}", self.0.digits(), self.1)
    }
}

impl FromStr for CheckpointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.strip_prefix("ftckpt-").and_then(|rest| rest.split_once('-'));
        let read = |(job, epoch): (&str, &str)| Some(Self(JobId::from_digits(job)?, epoch.parse().ok()?));
        parts.and_then(read).ok_or_else(|| Self::unknown(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_are_of_their_kind_alone() {
        let (file, job) = (FileName(DatasetId::generate()), FineTuningJobName(JobId::generate()));
        let (event, checkpoint) = (EventName(7), CheckpointName(job.0, 2));
        assert_eq!(file.to_string().parse(), Ok(file));
        assert_eq!(job.to_string().parse(), Ok(job));
        assert_eq!(event.to_string().parse(), Ok(event));
        assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
        assert!(job.to_string().parse::<FileName>().is_err());
        assert!(file.0.to_string().parse::<FileName>().is_err(), "a dataset's own id is not a file's");
        for text in ["", "ftevent-", "ftevent-x", "7", "ftevent--1"] {
            assert!(text.parse::<EventName>().is_err(), "{text}");
        }
        for text in ["", "ftckpt-7-1", &format!("ftckpt-{}", job.0.digits()), &format!("{checkpoint}-1")] {
            assert!(text.parse::<CheckpointName>().is_err(), "{text}");
        }
    }
}
