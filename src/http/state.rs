//! What handlers share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::{DataDir, Precision, Secret};
use crate::hub::HubSettings;
use crate::model::{Hardware, describe_precision};
use crate::serving::EmbeddingService;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::worker::WorkerHandle;

use super::ModelPulls;

/// What computes jobs, and why.
#[derive(Debug)]
pub struct TrainingDevice {
    /// The CPU or a GPU.
    pub hardware: Hardware,
    /// Why it, and not the other.
    pub reason: String,
}

impl TrainingDevice {
    /// With the numbers of a job's matrix products, in words.
    pub(crate) fn describe(&self, precision: Precision) -> String {
        format!("{}, {}", self.hardware.describe(), describe_precision(&self.hardware, precision))
    }
}

/// What handlers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Facts.
    pub store: Store,
    /// Where the bytes lie.
    pub data_dir: DataDir,
    /// The queue.
    pub worker: WorkerHandle,
    /// The models that embed.
    pub embedding: EmbeddingService,
    /// The pulls under way.
    pub pulls: ModelPulls,
    /// Where base models are pulled from.
    pub hub: HubSettings,
    /// Folders below which model folders may be registered.
    pub model_roots: Arc<[PathBuf]>,
    /// The key that clients must send, where there is one.
    pub api_key: Option<Secret>,
    /// What embeds, in words.
    pub device: Arc<str>,
    /// What computes jobs.
    pub training_device: Arc<TrainingDevice>,
    /// What clients may send at most.
    pub limits: HttpLimits,
    /// Metrics and traces.
    pub telemetry: Telemetry,
}

/// What clients may send at most.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Bytes of an upload.
    pub max_upload_bytes: u64,
    /// Bytes of any other body.
    pub max_body_bytes: usize,
    /// Texts in one request to embed.
    pub max_client_batch_size: usize,
    /// Jobs that may wait in the queue.
    pub max_queued_jobs: u64,
    /// Whether jobs may have webhooks at addresses that are not on the public Internet.
    pub private_webhooks: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_upload_bytes: 512 << 20,
            max_body_bytes: 32 << 20,
            max_client_batch_size: 2048,
            max_queued_jobs: 100,
            private_webhooks: false,
        }
    }
}
