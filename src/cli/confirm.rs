//! What cannot be undone is asked about first.

use std::io::{IsTerminal, Write};

use clap::Args;

use super::error::CliError;

/// Whether to ask.
#[derive(Debug, Args)]
pub(super) struct ConfirmFlag {
    /// Does not ask; needed where there is no terminal to ask on.
    #[arg(long, short)]
    yes: bool,
}

impl ConfirmFlag {
    /// Asks whether to delete something.
    pub(super) fn delete(&self, what: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        let mut stderr = std::io::stderr();
        if !std::io::stdin().is_terminal() || !stderr.is_terminal() {
            return Err(CliError::Usage(format!("deleting {what} needs --yes, since there is no terminal to ask on")));
        }
        write!(stderr, "delete {what}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::failed("nothing was deleted")),
        }
    }
}
