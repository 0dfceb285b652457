//! `matryo openapi`.

use clap::Args;

use crate::http;

use super::error::CliError;
use super::output;

pub(super) const EXAMPLE: &str = "Example:\n  matryo openapi > openapi.yaml";

#[derive(Debug, Args)]
pub(super) struct OpenapiCommand {}

impl OpenapiCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let yaml = http::openapi::document().to_yaml()?;
        output::print(yaml.trim_end())
    }
}
