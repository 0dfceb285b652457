//! The command line: parses, calls, and turns what went wrong into a message and an exit code.

mod completions;
mod confirm;
mod demo;
mod device;
mod embed;
mod error;
mod eval;
mod gpu_check;
mod man;
mod models;
mod openapi;
mod output;
mod pairs;
mod progress;
mod remote;
mod report;
mod serve;
mod signals;
mod table;
mod train;
mod training_flags;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::LogFormat;
use crate::telemetry;

use error::{CliError, EXIT_CODES};

/// Fine-tunes text-embedding models over HTTP and serves the result.
#[derive(Debug, Parser)]
#[command(name = "matryo", version, arg_required_else_help = true, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the HTTP service with its worker.
    #[command(after_help = serve::EXAMPLE)]
    Serve(serve::ServeCommand),
    /// Shows the whole way on sample data: fine-tunes a small model and serves the result.
    #[command(after_help = demo::EXAMPLE)]
    Demo(demo::DemoCommand),
    /// Fine-tunes a model on question-passage pairs, without a server.
    #[command(after_help = train::EXAMPLE)]
    Train(Box<train::TrainCommand>),
    /// Holds each kernel of a GPU against the CPU, and prints what was found as JSON.
    #[command(after_help = gpu_check::EXAMPLE)]
    GpuCheck(gpu_check::GpuCheckCommand),
    /// Measures how well a model retrieves, at each embedding length.
    #[command(after_help = eval::EXAMPLE)]
    Eval(eval::EvalCommand),
    /// Embeds texts from standard input, one a line.
    #[command(after_help = embed::EXAMPLE)]
    Embed(embed::EmbedCommand),
    /// Fine-tuning jobs of a server: submit, watch, control, download.
    Jobs(remote::jobs::JobsCommand),
    /// Datasets of a server: upload, look into, delete.
    Datasets(remote::datasets::DatasetsCommand),
    /// Base models of this machine or of a server: fetch, list, load, delete.
    Models(models::ModelsCommand),
    /// Names of a server that are moved from model to model.
    Aliases(remote::aliases::AliasesCommand),
    /// Shows what a server's job told, and with `-f` goes on live.
    #[command(after_help = remote::logs::EXAMPLE)]
    Logs(remote::logs::LogsCommand),
    /// Prints the HTTP service's OpenAPI document as YAML.
    #[command(after_help = openapi::EXAMPLE)]
    Openapi(openapi::OpenapiCommand),
    /// Prints a shell's completions of this command line.
    #[command(after_help = completions::EXAMPLE)]
    Completions(completions::CompletionsCommand),
    /// Prints the manual page, or writes one for each command.
    #[command(after_help = man::EXAMPLE)]
    Man(man::ManCommand),
}

/// What the commands that are not servers log where `RUST_LOG` is not set: they tell their progress themselves.
/// hf-hub logs an error that it also returns.
const QUIET: &str = "warn,hf_hub=off";

/// Runs the command that the arguments name; [`EXIT_CODES`] says how it ends.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader of the help that has gone (`matryo --help | head`) is no reason for another message.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn run(command: Command) -> Result<(), CliError> {
    let (format, filter) = match &command {
        Command::Serve(serve) => (serve.log_format(), serve::LOG_FILTER),
        _ => (LogFormat::Text, QUIET),
    };
    telemetry::init(format, filter).map_err(CliError::Usage)?;
    match command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::GpuCheck(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Embed(command) => command.run(),
        Command::Jobs(command) => command.run(),
        Command::Datasets(command) => command.run(),
        Command::Models(command) => command.run(),
        Command::Aliases(command) => command.run(),
        Command::Logs(command) => command.run(),
        Command::Openapi(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_arguments_contradict_nothing() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_shows_an_example() {
        let mut stack = vec![Cli::command()];
        while let Some(command) = stack.pop() {
            let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
            if subcommands.is_empty() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("matryo "), "{} has no example", command.get_name());
            }
            stack.extend(subcommands);
        }
    }
}
