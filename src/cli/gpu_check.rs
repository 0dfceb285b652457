//! `matryo gpu-check`: each of a GPU's kernels held against the CPU.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::config::Device;
use crate::model::{Hardware, KernelComparison, SentenceEncoder};

use super::device::{choose, user_cache};
use super::error::CliError;
use super::models::RevisionFlag;
use super::output::Output;

pub(super) const EXAMPLE: &str =
    "Examples:\n  matryo gpu-check\n  matryo gpu-check --device cuda:1 --model BAAI/bge-base-en-v1.5 > check.json";

#[derive(Debug, Args)]
pub(super) struct GpuCheckCommand {
    /// The GPU: `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    device: Device,

    /// A model that is computed as a whole, too: a folder, or a name on the Hub.
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,

    #[command(flatten)]
    revision: RevisionFlag,

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
        let mut found = chosen.hardware.check_kernels().map_err(CliError::Failed)?;
        if let Some(model) = &self.model {
            let folder = self.revision.find(model)?.folder;
            let encoder = SentenceEncoder::load(&folder).map_err(CliError::failed)?;
            found.comparisons.extend(check_model(&chosen.hardware, &encoder)?);
        }
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

#[cfg(feature = "cuda")]
fn check_model(hardware: &Hardware, encoder: &SentenceEncoder) -> Result<Vec<KernelComparison>, CliError> {
    crate::model::check_model(hardware, encoder).map_err(CliError::failed)
}

#[cfg(not(feature = "cuda"))]
fn check_model(_hardware: &Hardware, _encoder: &SentenceEncoder) -> Result<Vec<KernelComparison>, CliError> {
    Err(CliError::Failed("this program was built without the feature `cuda`".into()))
}
