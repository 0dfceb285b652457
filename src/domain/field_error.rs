//! One thing wrong with one field of a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Says which field is wrong and what was expected. Requests report all of theirs at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field's path as the client wrote it, such as `training.learning_rate`.
    pub field: String,
    /// What is wrong and what was expected, lower case, without a full stop.
    pub message: String,
}

impl FieldError {
    /// Names a field and says what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}
