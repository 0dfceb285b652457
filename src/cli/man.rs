//! `matryo man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::error::CliError;
use super::output;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo man | man -l -\n  \
    matryo man --out ~/.local/share/man/man1";

#[derive(Debug, Args)]
pub(super) struct ManCommand {
    /// The folder that gets a page for each command; without it, the page of `matryo` itself is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let command = super::Cli::command();
        if let Some(folder) = &self.out {
            let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
            return written.map_err(|error| CliError::Failed(format!("{}: {error}", folder.display())));
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::print(String::from_utf8(page)?.trim_end())
    }
}
