//! Log lines: to standard error, what `RUST_LOG` asks for, as text or JSON. Standard output is for results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts the log. `default_filter` holds where `RUST_LOG` is not set.
///
/// # Errors
/// Where `RUST_LOG` is not a filter, or a log was started already.
pub fn init(format: LogFormat, default_filter: &str) -> Result<(), String> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default_filter))
        .map_err(|error| format!("RUST_LOG is not a filter such as `info` or `matryo=debug`: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| error.to_string())
}
