//! Which hardware computes jobs: what `--device` asks for, and why not the other.

use std::path::{Path, PathBuf};

use crate::config::Device;
use crate::model::Hardware;

use super::error::CliError;
use super::models::cache;

/// What was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) hardware: Hardware,
    /// Why this one, and not the other.
    pub(super) reason: String,
}

/// Opens what is asked for; `auto` is the first GPU where it can be opened. A GPU's kernels are kept in the folder `cache`.
///
/// # Errors
/// Where a GPU is asked for that cannot be opened.
pub(super) fn choose(asked: Device, cache: &Path) -> Result<Chosen, CliError> {
    let chosen = match asked {
        Device::Cpu => Chosen { hardware: Hardware::cpu(), reason: "it was asked for".into() },
        Device::Cuda(number) => {
            let failed = |reason: String| CliError::Failed(format!("--device cuda:{number}: {reason}"));
            Chosen { hardware: open(number, cache).map_err(failed)?, reason: "it was asked for".into() }
        }
        Device::Auto => match open(0, cache) {
            Ok(hardware) => Chosen { hardware, reason: "it is the first GPU".into() },
            Err(reason) => Chosen { hardware: Hardware::cpu(), reason: format!("no GPU can be used: {reason}") },
        },
    };
    tell(asked, &chosen);
    Ok(chosen)
}

/// Where there is a GPU, it is likely to be expected to compute: that it does not is worth a warning.
fn tell(asked: Device, chosen: &Chosen) {
    let (device, reason) = (chosen.hardware.describe(), &chosen.reason);
    let is_left = asked == Device::Auto && device == "cpu" && gpus() > 0;
    if is_left {
        tracing::warn!(device, reason, "device chosen");
    } else {
        tracing::info!(device, reason, "device chosen");
    }
}

#[cfg(feature = "cuda")]
fn open(number: usize, cache: &Path) -> Result<Hardware, String> {
    Hardware::cuda(number, cache).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn open(_number: usize, _cache: &Path) -> Result<Hardware, String> {
    Err("this program was built without the feature `cuda`".into())
}

#[cfg(feature = "cuda")]
fn gpus() -> usize {
    // What does not start is told by the reason.
    Hardware::gpus().unwrap_or(1)
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> usize {
    0
}

/// Where commands without a data directory keep a GPU's kernels.
pub(super) fn user_cache() -> Result<PathBuf, CliError> {
    Ok(cache()?.join("kernels"))
}
