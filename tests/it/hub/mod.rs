//! Pulling models from a server that speaks the Hub's protocol.

pub(crate) mod fake_hub;
mod package;
mod pull;
mod refusals;
mod resume;

use std::path::Path;

use matryo::hub::{PullProgress, PullRequest};

use fake_hub::{FakeHub, REPO};

fn request(hub: &FakeHub, target: &Path) -> PullRequest {
    PullRequest { repo: REPO.into(), revision: None, target: target.to_owned(), settings: hub.settings() }
}

fn ignore(_: PullProgress) {}
