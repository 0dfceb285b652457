//! What the Hub's refusals mean to the one who asked.

use std::error::Error;

use hf_hub::HFError;

use super::{HubError, HubSettings};

/// Tells errors in terms of what was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers<'a> {
    pub(super) settings: &'a HubSettings,
    pub(super) repo: &'a str,
    pub(super) revision: &'a str,
}

impl Answers<'_> {
    /// The server's answer is not what it should be.
    pub(super) fn bad(&self, message: String) -> HubError {
        HubError::BadAnswer { endpoint: self.settings.shown_endpoint(), message }
    }

    /// The server gave no answer.
    pub(super) fn unreachable(&self, reason: String) -> HubError {
        HubError::Unreachable { endpoint: self.settings.shown_endpoint(), reason }
    }

    /// What the library's error comes to. Nothing of its texts but the server's own message is passed on: they hold
    /// URLs, and a URL may hold a signature.
    pub(super) fn error(&self, error: HFError) -> HubError {
        match error {
            HFError::AuthRequired { context } | HFError::Forbidden { context } => {
                self.refused(context.error_code.as_deref())
            }
            HFError::RepoNotFound { context, .. }
            | HFError::RevisionNotFound { context, .. }
            | HFError::EntryNotFound { context, .. } => {
                self.not_found(context.as_ref().and_then(|context| context.error_code.as_deref()))
            }
            HFError::RateLimited { retry_after, .. } => {
                let when = retry_after.map_or("later".to_owned(), |wait| format!("in {} s", wait.as_secs()));
                self.bad(format!("too many requests; try again {when}"))
            }
            HFError::Http { context } if context.status.is_server_error() => {
                self.unreachable(format!("it answers {}", context.status))
            }
            HFError::Http { context } => {
                self.bad(format!("{}{}", context.status, own_words(context.server_message.as_deref())))
            }
            HFError::Request { source, .. } if source.is_decode() => {
                self.bad("a description of the repository in JSON is expected".to_owned())
            }
            HFError::Request { source, .. } => self.unreachable(root_cause(&source)),
            HFError::Url(error) => HubError::Invalid(format!("HF_ENDPOINT is not a URL: {error}")),
            HFError::Xet { source, .. } => self.unreachable(root_cause(source.as_ref())),
            error => self.bad(error.to_string()),
        }
    }

    fn refused(&self, code: Option<&str>) -> HubError {
        let Self { settings, repo, .. } = self;
        let page = format!("{}/{repo}", settings.shown_endpoint());
        HubError::Unauthorized(match (&settings.token, code) {
            (None, Some("GatedRepo")) => {
                format!("{repo} is gated; accept its terms at {page} and set HF_TOKEN to a token of that account")
            }
            (None, _) => format!(
                "{repo} is private, gated or does not exist; check the name, or set HF_TOKEN to a token that may read it"
            ),
            (Some(_), Some("GatedRepo")) => {
                format!(
                    "{repo} is gated; accept its terms at {page} with the account that the token in HF_TOKEN belongs to"
                )
            }
            (Some(_), _) => format!(
                "the token in HF_TOKEN may not read {repo}, or there is no such repository; check both at {page}"
            ),
        })
    }

    fn not_found(&self, code: Option<&str>) -> HubError {
        let Self { settings, repo, revision } = self;
        let endpoint = settings.shown_endpoint();
        HubError::NotFound(match code {
            Some("RepoNotFound") => format!("{endpoint} has no model {repo}"),
            Some("RevisionNotFound") => format!("{repo} has no revision {revision}"),
            Some("EntryNotFound") => format!("{repo} at {revision} lacks a file that its own list names"),
            _ => format!("{endpoint} has no model {repo} with a revision {revision}"),
        })
    }
}

/// The server's own message, cut to a readable length.
fn own_words(message: Option<&str>) -> String {
    let words: String = message.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    if words.is_empty() { words } else { format!(" ({words})") }
}

/// The innermost error: `connection refused` says more than `error sending request`.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
