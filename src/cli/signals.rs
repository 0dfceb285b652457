//! Ctrl-C and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::CliError;

/// What a process exits with that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Waits for Ctrl-C or a request to terminate; returns which.
pub(super) async fn stop_requested() -> io::Result<&'static str> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "SIGINT"),
            _ = terminate.recv() => Ok("SIGTERM"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
    }
}

/// Ends the process at the second signal, for one who does not want to wait for the first to be heeded.
pub(super) fn exit_at_the_next() {
    tokio::spawn(async {
        if stop_requested().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
}

/// A flag that a signal sets, for work that is not async; lives as long as it is looked at.
#[derive(Debug)]
pub(super) struct StopFlag {
    flag: Arc<AtomicBool>,
    _runtime: tokio::runtime::Runtime,
}

impl StopFlag {
    /// Listens from now on.
    pub(super) fn listen() -> Result<Self, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let flag = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&flag);
        runtime.spawn(async move {
            if stop_requested().await.is_ok() {
                exit_at_the_next();
                set.store(true, Ordering::Relaxed);
            }
        });
        Ok(Self { flag, _runtime: runtime })
    }

    /// True once a signal came.
    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}
