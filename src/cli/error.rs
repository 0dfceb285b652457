//! How a command ends when it does not end well.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// A command ended early.
#[derive(Debug)]
pub(super) enum CliError {
    /// The arguments are wrong.
    Usage(String),
    /// It failed.
    Failed(String),
    /// Ctrl-C stopped it.
    Interrupted(String),
    /// The reader of its output has gone, which is no error of ours.
    BrokenPipe,
}

impl CliError {
    /// Fails with a message.
    pub(super) fn failed(message: impl ToString) -> Self {
        Self::Failed(message.to_string())
    }

    /// Says what went wrong on standard error, and with which code to exit.
    pub(super) fn report(&self) -> ExitCode {
        let (message, code) = match self {
            Self::Usage(message) => (message, 2),
            Self::Failed(message) => (message, 1),
            Self::Interrupted(message) => (message, 130),
            Self::BrokenPipe => return ExitCode::SUCCESS,
        };
        let kind = if code == 130 { "stopped" } else { "error" };
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{kind}: {message}");
        ExitCode::from(code)
    }
}

/// The library's errors say everything in their own message.
impl<E: Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}
