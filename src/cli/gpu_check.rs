//! `matryo gpu-check`: each of a GPU's kernels held against the CPU.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::config::Device;

use super::device::{choose, user_cache};
use super::error::CliError;
use super::output::Output;

pub(super) const EXAMPLE: &str = "Examples:\n  matryo gpu-check\n  matryo gpu-check --device cuda:1 > check.json";

#[derive(Debug, Args)]
pub(super) struct GpuCheckCommand {
    /// The GPU: `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    device: Device,

    /// The folder for the compiled kernels; the user's cache where it is not given.
    #[arg(long, value_name = "DIR")]
    kernels: Option<PathBuf>,
}

impl GpuCheckCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        if !matches!(self.device, Device::Cuda(_)) {
            return Err(CliError::Usage("--device: a GPU is expected, such as cuda:0".into()));
        }
        let cache = self.kernels.clone().map_or_else(user_cache, Ok)?;
        let chosen = choose(self.device, &cache)?;
        let found = chosen.hardware.check_kernels().map_err(CliError::Failed)?;
        let failed = found.comparisons.iter().filter(|comparison| !comparison.holds).count();
        let mut output = Output::lock();
        output.json_line(&json!({ "device": found.device, "comparisons": found.comparisons, "failed": failed }))?;
        output.flush()?;
        if failed > 0 {
            return Err(CliError::Failed(format!("{failed} kernels do not compute what the CPU does")));
        }
        Ok(())
    }
}
