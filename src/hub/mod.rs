//! Where base models come from: the Hugging Face Hub, a folder that the operator allows, an archive, or (for the demo) the
//! Python package index.

mod answers;
mod archive;
mod client;
mod download;
mod error;
pub mod folder;
mod listing;
mod local_cache;
pub mod package;
mod pull;
mod settings;
mod staging;

pub use archive::unpack_model;
pub use error::HubError;
pub use pull::{PullProgress, PullRequest, PulledModel, check_repo, check_revision, pull};
pub use settings::HubSettings;
