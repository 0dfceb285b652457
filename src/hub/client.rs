//! The connection to one repository.

use std::time::Duration;

use hf_hub::repository::{HFRepository, RepoTypeModel};
use hf_hub::{HFClient, HFError};

use crate::domain::Secret;

use super::HubSettings;

/// A model repository on the Hub.
pub(super) type Repository = HFRepository<RepoTypeModel>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts after the first at a request that finds no answer.
const RETRIES: usize = 2;

/// Connects to nothing yet.
pub(super) fn repository(settings: &HubSettings, repo: &str) -> Result<Repository, HFError> {
    let http = reqwest::Client::builder()
        .user_agent(concat!("matryo/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()?;
    let mut client = HFClient::builder().client(http).endpoint(&settings.endpoint).retry_max_attempts(RETRIES);
    if let Some(token) = settings.token.as_ref().map(Secret::expose) {
        client = client.token(token);
    }
    let (owner, name) = hf_hub::split_id(repo);
    Ok(client.build()?.model(owner, name))
}
