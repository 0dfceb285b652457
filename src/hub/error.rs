//! What can go wrong between here and the Hub.

use std::path::PathBuf;

/// A model could not be fetched or may not be used.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name, revision or folder asked for is not one.
    #[error("{0}")]
    Invalid(String),
    /// The Hub has no such repository, revision or file.
    #[error("{0}")]
    NotFound(String),
    /// The Hub wants a token, or the token has no access.
    #[error("{0}")]
    Unauthorized(String),
    /// The folder is not below one that the operator allows.
    #[error("{0}")]
    Forbidden(String),
    /// Downloads are switched off.
    #[error("{what} is not here and HF_HUB_OFFLINE is set; unset it, or register a local folder")]
    Offline {
        /// What was asked for.
        what: String,
    },
    /// The server cannot be reached, or breaks off again and again.
    #[error(
        "{endpoint} cannot be reached: {reason}; what was downloaded is kept, and the next pull goes on from there"
    )]
    Unreachable {
        /// The server's address.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// The server answers, but not what it should.
    #[error("{endpoint}: {message}")]
    BadAnswer {
        /// The server's address.
        endpoint: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The files exceed the limit.
    #[error("{what} takes {bytes} bytes, and the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Another pull is under way into the same folder.
    #[error("{} is being pulled already", .0.display())]
    Busy(PathBuf),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}
