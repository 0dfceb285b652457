//! How a command ends when it does not end well.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use crate::domain::FieldError;

/// What every command's exit code says; `matryo --help` and the man page end with it.
pub(super) const EXIT_CODES: &str = "Exit codes:\n  \
    0    it is done; of a job that was followed: it succeeded\n  \
    1    it failed, or the server refused it\n  \
    2    the arguments are wrong\n  \
    3    there is no such job, dataset, model or alias\n  \
    4    no server answers, or the connection broke off for good\n  \
    5    the job that was followed failed or was cancelled\n  \
    130  Ctrl-C stopped it";

/// A command ended early.
#[derive(Debug)]
pub(super) enum CliError {
    /// The arguments are wrong.
    Usage(String),
    /// It failed.
    Failed(String),
    /// What it was to work on is not there.
    NotFound(String),
    /// No server answers.
    Unreachable(String),
    /// The job that was followed did not end well.
    JobEnded(String),
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

    /// Tells all bad arguments at once, each by its flag.
    pub(super) fn bad_arguments(errors: &[FieldError], flag: impl Fn(&str) -> String) -> Self {
        let line = |error: &FieldError| format!("  {}: {}", flag(&error.field), error.message);
        Self::Usage(format!("bad arguments\n{}", errors.iter().map(line).collect::<Vec<_>>().join("\n")))
    }

    /// Says what went wrong on standard error, and with which code to exit.
    pub(super) fn report(&self) -> ExitCode {
        let (message, code) = match self {
            Self::Failed(message) => (message, 1),
            Self::Usage(message) => (message, 2),
            Self::NotFound(message) => (message, 3),
            Self::Unreachable(message) => (message, 4),
            Self::JobEnded(message) => (message, 5),
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

/// A field of the API as the flag that it is given by: `training.max_seq_length` by `--max-seq-length`, `dataset_id` by
/// `--dataset`.
pub(super) fn flag_of(field: &str) -> String {
    let name = field.strip_prefix("training.").unwrap_or(field);
    format!("--{}", name.strip_suffix("_id").unwrap_or(name).replace('_', "-"))
}
