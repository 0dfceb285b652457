//! `matryo completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::error::CliError;
use super::output;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo completions bash > ~/.local/share/bash-completion/completions/matryo\n  \
    matryo completions zsh > ~/.zfunc/_matryo\n  \
    matryo completions fish > ~/.config/fish/completions/matryo.fish";

#[derive(Debug, Args)]
pub(super) struct CompletionsCommand {
    /// The shell.
    shell: Shell,
}

impl CompletionsCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "matryo", &mut script);
        output::print(String::from_utf8(script)?.trim_end())
    }
}
