//! Where base models come from: the Hugging Face Hub, a folder that the operator allows, or (for the demo) the Python
//! package index.

mod error;
pub mod folder;
pub mod package;
mod pull;
mod settings;

pub use error::HubError;
pub use pull::{PullProgress, PullRequest, PulledModel, pull};
pub use settings::HubSettings;
