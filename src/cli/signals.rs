//! Ctrl-C and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::CliError;

/// What a process exits with that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Listens from now on, not only once it is waited for; the future ends with the signal that came.
///
/// # Errors
/// Where the system refuses.
pub(super) fn listen() -> io::Result<impl Future<Output = &'static str> + Send> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        })
    }
    #[cfg(windows)]
    {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        Ok(async move {
            interrupt.recv().await;
            "Ctrl-C"
        })
    }
}

/// Waits for Ctrl-C or a request to terminate; returns which.
pub(super) async fn stop_requested() -> io::Result<&'static str> {
    Ok(listen()?.await)
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
