//! How a server says no, and what that is on the command line.

use reqwest::StatusCode;
use serde::Deserialize;

use crate::cli::error::{CliError, flag_of};
use crate::domain::{FieldError, RowError};

/// A request did not get what it asked for.
#[derive(Debug)]
pub(in crate::cli) enum ClientError {
    /// No connection, or one that broke off.
    Unreachable(String),
    /// The server refuses.
    Refused(Refusal),
    /// What answers does not answer as a server of ours does.
    Odd(String),
}

/// An error answer.
#[derive(Debug)]
pub(in crate::cli) struct Refusal {
    pub(in crate::cli) status: StatusCode,
    pub(super) message: String,
    /// Fields that are wrong.
    pub(super) fields: Vec<FieldError>,
    /// Rows of an upload that are wrong, the first ones, and how many there are.
    pub(super) rows: (Vec<RowError>, u64),
}

#[derive(Debug, Deserialize)]
struct Body {
    error: BodyError,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum BodyError {
    Ours {
        message: String,
        #[serde(default)]
        details: Option<Details>,
    },
    /// Routes that come from text-embeddings-inference write errors as it does.
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    fields: Vec<FieldError>,
    rows: Vec<RowError>,
    total: u64,
}

impl Refusal {
    /// Reads an error answer's body; none where it is none of a server of ours.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Option<Self> {
        Some(match serde_json::from_slice::<Body>(body).ok()?.error {
            BodyError::Ours { message, details } => {
                let Details { fields, rows, total } = details.unwrap_or_default();
                Self { status, message, fields, rows: (rows, total) }
            }
            BodyError::Text(message) => Self { status, message, fields: Vec::new(), rows: (Vec::new(), 0) },
        })
    }

    /// True where the same request may be answered later.
    pub(super) fn is_temporary(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The same on the command line, where fields are flags.
    pub(super) fn with_flags(self, flag: impl Fn(&str) -> String) -> CliError {
        let Self { status, message, fields, rows: (rows, total) } = self;
        if !rows.is_empty() {
            return CliError::Failed(format!("{message}{}", crate::cli::pairs::bad_rows(&rows, total)));
        }
        if !fields.is_empty() {
            return CliError::bad_arguments(&fields, flag);
        }
        match status {
            StatusCode::NOT_FOUND => CliError::NotFound(message),
            StatusCode::UNAUTHORIZED => CliError::Failed(
                "the server wants another API key than the one given, or one at all; give it by --api-key or \
                 MATRYO_API_KEY"
                    .into(),
            ),
            _ => CliError::Failed(message),
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(message) => Self::Unreachable(message),
            ClientError::Refused(refusal) => refusal.with_flags(flag_of),
            ClientError::Odd(message) => Self::Failed(message),
        }
    }
}

impl ClientError {
    /// The same on the command line, where fields are flags that `flag` names.
    pub(super) fn with_flags(self, flag: impl Fn(&str) -> String) -> CliError {
        match self {
            Self::Refused(refusal) => refusal.with_flags(flag),
            other => other.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_every_dialect_are_read() {
        let read = |body: &str| Refusal::read(StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes());
        let ours = r#"{"error": {"code": "invalid", "message": "no", "details":
            {"fields": [{"field": "training.epochs", "message": "0 is not from 1"}]}}}"#;
        let ours = CliError::from(ClientError::Refused(read(ours).expect("it is one of ours")));
        assert!(matches!(&ours, CliError::Usage(message) if message.contains("--epochs: 0 is not")), "{ours:?}");
        assert_eq!(
            read(r#"{"error": "no", "error_type": "Validation"}"#).map(|refusal| refusal.message),
            Some("no".into())
        );
        assert_eq!(
            read(r#"{"error": {"message": "no", "code": null}}"#).map(|refusal| refusal.message),
            Some("no".into())
        );
        assert!(read("<html>").is_none() && read("{}").is_none());
    }
}
