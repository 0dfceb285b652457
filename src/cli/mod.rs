//! The command line: parses, calls, and turns what went wrong into a message and an exit code.

mod demo;
mod embed;
mod error;
mod eval;
mod models;
mod openapi;
mod output;
mod pairs;
mod progress;
mod report;
mod serve;
mod signals;
mod train;
mod training_flags;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::LogFormat;
use crate::telemetry;

use error::CliError;

/// Fine-tunes text-embedding models over HTTP and serves the result.
#[derive(Debug, Parser)]
#[command(name = "matryo", version, arg_required_else_help = true, max_term_width = 110)]
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
    /// Measures how well a model retrieves, at each embedding length.
    #[command(after_help = eval::EXAMPLE)]
    Eval(eval::EvalCommand),
    /// Embeds texts from standard input, one a line.
    #[command(after_help = embed::EXAMPLE)]
    Embed(embed::EmbedCommand),
    /// Fetches base models and lists those that are here.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Prints the HTTP service's OpenAPI document as YAML.
    #[command(after_help = openapi::EXAMPLE)]
    Openapi(openapi::OpenapiCommand),
}

/// What the commands that are not servers log where `RUST_LOG` is not set: they tell their progress themselves.
/// hf-hub logs an error that it also returns.
const QUIET: &str = "warn,hf_hub=off";

/// Runs the command that the arguments name.
///
/// Exit codes: 0, 1 where it failed, 2 where the arguments are wrong, 130 where Ctrl-C stopped it.
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
        Command::Train(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Embed(command) => command.run(),
        Command::Models(command) => command.run(),
        Command::Openapi(command) => command.run(),
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
