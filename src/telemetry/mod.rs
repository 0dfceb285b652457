//! What a server tells of itself: log lines, metrics for Prometheus, spans for OpenTelemetry.

mod job_spans;
mod log;
mod metrics;
mod otlp;
mod process;
mod request;
mod scrape;
mod traces;

use std::sync::Arc;

pub use job_spans::JobSpans;
pub use log::init;
pub use metrics::Metrics;
pub use request::{EmbeddingWork, RequestFacts, RequestStart};
pub use scrape::Exposition;
pub use traces::{RequestSpan, Traces};

/// What a server tells of itself; clones share it.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Counted always.
    pub metrics: Arc<Metrics>,
    /// Exported where there is somebody to export to.
    pub traces: Option<Traces>,
}

impl Telemetry {
    /// Counts, and exports nothing.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics: Arc::new(metrics), traces: None }
    }
}
