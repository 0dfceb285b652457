//! What each lower layer's errors are to a client: matches without wildcards, so that a new variant does not compile until
//! somebody chose.

use super::{ApiError, ErrorCode, chain};
use crate::data::error::DatasetError;
use crate::hub::HubError;
use crate::model::ModelError;
use crate::serving::EmbedError;
use crate::store::StoreError;
use crate::worker::WorkerError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { kind: "model", .. } => {
                let hint = "POST /v1/models pulls one from the Hub, registers a folder or takes an archive";
                Self::new(ErrorCode::NotFound, format!("{error}; {hint}")).with_reason(Self::MODEL_NOT_FOUND)
            }
            StoreError::NotFound { .. } => Self::new(ErrorCode::NotFound, error.to_string()),
            StoreError::Conflict { .. } => Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::Changed { .. } => Self::new(ErrorCode::PreconditionFailed, error.to_string()),
            StoreError::Full(_) => Self::new(ErrorCode::DiskFull, error.to_string()).caused_by(error),
            StoreError::Database(_) => Self::internal(chain(error)),
        }
    }
}

impl From<DatasetError> for ApiError {
    fn from(error: DatasetError) -> Self {
        Self::dataset(error, "file")
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let message = error.to_string();
        match error {
            // The Hub's refusals are about the model that the request names, not about the request's own key.
            HubError::Invalid(_) | HubError::Unauthorized(_) | HubError::Forbidden(_) | HubError::TooLarge { .. } => {
                Self::new(ErrorCode::Invalid, message)
            }
            HubError::NotFound(_) => Self::new(ErrorCode::NotFound, message),
            HubError::Busy(_) => Self::new(ErrorCode::Conflict, message),
            HubError::Offline { .. } | HubError::Unreachable { .. } | HubError::BadAnswer { .. } => {
                Self::unavailable(message, 60)
            }
            HubError::Io { source, .. } => Self::io(std::io::Error::new(source.kind(), message)),
        }
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        Self::from(&error)
    }
}

impl From<&ModelError> for ApiError {
    fn from(error: &ModelError) -> Self {
        match error {
            ModelError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::new(ErrorCode::UnsupportedModel, error.to_string())
            }
            ModelError::File { source, .. } => Self::io(std::io::Error::new(source.kind(), error.to_string())),
            ModelError::Malformed { .. } | ModelError::Unsupported(_) | ModelError::Tokenization(_) => {
                Self::new(ErrorCode::UnsupportedModel, error.to_string())
            }
            ModelError::Device(_) => Self::internal(error.to_string()),
            ModelError::Cancelled => Self::unavailable("the server stops", 10),
        }
    }
}

impl From<WorkerError> for ApiError {
    fn from(error: WorkerError) -> Self {
        let message = error.to_string();
        match error {
            WorkerError::InUse(_) => Self::internal(message),
            WorkerError::Io { source, .. } => Self::io(std::io::Error::new(source.kind(), message)),
            WorkerError::Store(error) => error.into(),
        }
    }
}

impl From<EmbedError> for ApiError {
    fn from(error: EmbedError) -> Self {
        let message = error.to_string();
        match error {
            EmbedError::UnknownModel(_) => Self::new(ErrorCode::NotFound, message).with_reason(Self::MODEL_NOT_FOUND),
            EmbedError::NotReady(_) => Self::new(ErrorCode::Conflict, message),
            EmbedError::Invalid(fields) => Self::invalid(fields),
            EmbedError::BadTokens(fields) => Self::bad_tokens(fields),
            EmbedError::Overloaded { retry_after_seconds } => Self::too_many(message, retry_after_seconds),
            EmbedError::Model(error) => Self::from(&*error),
            EmbedError::Store(error) => Self::from(&*error),
            EmbedError::Failed(_) => Self::new(ErrorCode::InferenceFailed, message),
            EmbedError::TimedOut { .. } => Self::unavailable(message, 1),
            EmbedError::ShuttingDown => Self::unavailable(message, 10),
        }
    }
}
