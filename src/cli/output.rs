//! Standard output: results, and nothing else.

use std::io::{self, ErrorKind, StdoutLock, Write};

use super::error::CliError;

/// Standard output, whose reader may go at any time.
pub(super) struct Output(io::BufWriter<StdoutLock<'static>>);

impl Output {
    pub(super) fn lock() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    pub(super) fn line(&mut self, line: impl std::fmt::Display) -> Result<(), CliError> {
        writeln!(self.0, "{line}").map_err(output_error)
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json_line(&mut self, value: &impl serde::Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.0, value).map_err(|error| output_error(error.into()))?;
        writeln!(self.0).map_err(output_error)
    }

    /// Hands over what was written so far.
    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.0.flush().map_err(output_error)
    }
}

/// Prints one text.
pub(super) fn print(text: impl std::fmt::Display) -> Result<(), CliError> {
    let mut output = Output::lock();
    output.line(text)?;
    output.flush()
}

/// Prints one JSON document.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let mut output = Output::lock();
    output.json_line(value)?;
    output.flush()
}

fn output_error(error: io::Error) -> CliError {
    if error.kind() == ErrorKind::BrokenPipe {
        CliError::BrokenPipe
    } else {
        CliError::Failed(format!("standard output: {error}"))
    }
}
