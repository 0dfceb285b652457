//! Why a text was not embedded.

use crate::domain::FieldError;
use crate::model::ModelError;
use crate::store::StoreError;

/// A text was not embedded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbedError {
    /// There is no such model, job or checkpoint.
    #[error("{0}")]
    UnknownModel(String),
    /// The model is there, but cannot embed yet: it is being pulled, or the job has no checkpoint.
    #[error("{0}")]
    NotReady(String),
    /// The request asks for something that this model cannot do.
    #[error("bad request: {}", .0.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// Token ids are none that the model's tokenizer makes.
    #[error("bad token ids: {}", .0.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
    BadTokens(Vec<FieldError>),
    /// Too many texts wait already.
    #[error("too many texts wait to be embedded; try again in {retry_after_seconds} s")]
    Overloaded {
        /// When to try again.
        retry_after_seconds: u64,
    },
    /// The answer was not there in time.
    #[error("the texts were not embedded within {seconds} s; send fewer at once, or try again when less waits")]
    TimedOut {
        /// How long they were waited for.
        seconds: u64,
    },
    /// The model could not be loaded or run.
    #[error("{0}")]
    Model(std::sync::Arc<ModelError>),
    /// The model broke down on the request, which its message tells in general words; the log has the rest.
    #[error("{0}")]
    Failed(&'static str),
    /// The store failed.
    #[error("{0}")]
    Store(std::sync::Arc<StoreError>),
    /// The server stops.
    #[error("the server stops")]
    ShuttingDown,
}
