//! Why a run ended early.

use crate::domain::FieldError;
use crate::model::ModelError;

/// A run ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The sink asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// An argument does not fit the model or the data.
    #[error("bad arguments: {}", .0.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
    Arguments(Vec<FieldError>),
    /// There are too few rows.
    #[error("{0}")]
    Data(String),
    /// The loss is not a number any more.
    #[error("the loss is not finite at step {step}; a lower learning_rate may help")]
    NonFiniteLoss {
        /// The optimizer step, from 1.
        step: u64,
    },
    /// The gradient is not a number any more.
    #[error("the gradient is not finite at step {step}; a lower learning_rate may help")]
    NonFiniteGradient {
        /// The optimizer step, from 1.
        step: u64,
    },
    /// The device has too little memory.
    #[error(
        "the GPU is out of memory ({asked} bytes more were asked for) even for the smallest packs; another process may hold \
         it, or the model is too large for this GPU"
    )]
    OutOfMemory {
        /// Bytes that there were not.
        asked: usize,
    },
    /// The device failed.
    #[error("the GPU failed: {0}")]
    Device(String),
    /// A tensor that should be trained got no gradient.
    #[error("tensor `{tensor}` got {problem} at the first step, so it would not be trained as the job says")]
    DeadGradient {
        /// The tensor's name.
        tensor: String,
        /// `no gradient` or `a gradient that is not finite`.
        problem: &'static str,
    },
    /// The model could not be read, run or saved.
    #[error(transparent)]
    Model(ModelError),
    /// A checkpoint could not be written or read.
    #[error("checkpoint {}: {message}", path.display())]
    Checkpoint {
        /// Its folder.
        path: std::path::PathBuf,
        /// Why not.
        message: String,
    },
}

impl From<ModelError> for TrainError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Cancelled => Self::Cancelled,
            ModelError::Device(message) => Self::Device(message),
            error => Self::Model(error),
        }
    }
}

impl TrainError {
    /// The word that stands for it in `jobs.error_code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Arguments(_) => "invalid_arguments",
            Self::Data(_) => "invalid_data",
            Self::NonFiniteLoss { .. } => "non_finite_loss",
            Self::NonFiniteGradient { .. } => "non_finite_gradient",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Device(_) => "device",
            Self::DeadGradient { .. } => "dead_gradient",
            Self::Model(_) => "model",
            Self::Checkpoint { .. } => "checkpoint",
        }
    }
}
