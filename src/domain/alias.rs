//! Names that can be moved from one model to another.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A name that means a model until it is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alias {
    /// The name.
    #[schema(example = "production")]
    pub name: String,
    /// What it means: a base model's name, or one checkpoint as `job:<id>@epoch-<n>`.
    #[schema(example = "job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11@epoch-3")]
    pub model: String,
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// When it was last moved (RFC 3339, UTC).
    pub moved_at: String,
    /// Who moved it last, where they said so.
    pub moved_by: Option<String>,
}

/// How an alias was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AliasAction {
    /// To a model that was named.
    Set,
    /// Back to what it meant before.
    Rollback,
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliasMove {
    /// What it meant from then on.
    pub model: String,
    /// How it was moved.
    pub action: AliasAction,
    /// When (RFC 3339, UTC).
    pub moved_at: String,
    /// Who moved it, where they said so.
    pub moved_by: Option<String>,
}
