//! The plain types that every layer speaks in: no I/O, no tensors, no SQL. serde, and utoipa's description of the same
//! JSON: these types are what the API sends, and a copy of each for the wire could drift.

mod alias;
mod arguments;
mod checkpoint;
mod clock;
mod data_dir;
mod dataset;
mod event;
mod field_error;
mod ids;
mod job;
mod job_figures;
mod metrics;
mod metrics_table;
mod model;
mod precision;
mod profile;
mod run_folder;
mod secret;
mod webhook;

pub use alias::{Alias, AliasAction, AliasMove};
pub use arguments::{BatchSampler, LrSchedulerType, TrainingArguments};
pub use checkpoint::Checkpoint;
pub use clock::{unix_seconds, utc_after, utc_now, wait_until};
pub use data_dir::DataDir;
pub use dataset::{ColumnMapping, Dataset, DatasetFormat, Pair, RowError, Split, SplitSource};
pub use event::{EventRecord, JobEvent, LoggedStep, TrainEvent, TrainPhase};
pub use field_error::FieldError;
pub use ids::{DatasetId, JobId, ModelId, ParseIdError};
pub use job::{Job, JobError, JobStatus};
pub use job_figures::{JobFigures, RunningJob};
pub use metrics::{EvaluationMetrics, MetricKey};
pub use metrics_table::{MetricsRow, MetricsTable};
pub use model::{Model, ModelReference, ModelSource, ModelStatus, ModelSummary, Pooling};
pub use precision::Precision;
pub use profile::{PhaseSeconds, Profile};
pub use run_folder::RunFolder;
pub use secret::Secret;
pub use webhook::{DeliveryStatus, WebhookDelivery, WebhookTarget};
