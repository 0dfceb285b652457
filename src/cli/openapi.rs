//! `matryo openapi`.

use clap::Args;

use crate::http;

use super::error::CliError;
use super::output;

pub(super) const EXAMPLE: &str = "Examples:\n  matryo openapi > openapi.yaml\n  matryo openapi --json > openapi.json";

#[derive(Debug, Args)]
pub(super) struct OpenapiCommand {
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

impl OpenapiCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let document = http::openapi::document();
        if self.json {
            return output::print_json(&document);
        }
        output::print(document.to_yaml()?.trim_end())
    }
}
