//! What the server can be told, on the command line (`--data-dir`) or by environment variables (`MATRYO_DATA_DIR`).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::domain::{Precision, Secret};

/// The settings of `matryo serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeConfig {
    /// Where the database, datasets, models and checkpoints lie.
    #[arg(long, env = "MATRYO_DATA_DIR", default_value = "matryo-data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Where to listen. Anything but a loopback address should come with an API key.
    #[arg(long, env = "MATRYO_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// The key that clients must send as `Authorization: Bearer KEY`; without one, everybody is let in.
    #[arg(long, env = "MATRYO_API_KEY", hide_env_values = true, value_name = "KEY", value_parser = secret)]
    pub api_key: Option<Secret>,

    /// What computes: `auto`, `cpu` or `cuda:N`.
    #[arg(long, env = "MATRYO_DEVICE", default_value = "auto", value_name = "DEVICE")]
    pub device: Device,

    /// A folder below which model folders may be registered; may be given several times.
    #[arg(long = "model-root", env = "MATRYO_MODEL_ROOTS", value_delimiter = ':', value_name = "DIR")]
    pub model_roots: Vec<PathBuf>,

    /// The largest upload, in MiB.
    #[arg(long, env = "MATRYO_MAX_UPLOAD_MIB", default_value_t = 512, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub max_upload_mib: u64,

    /// The largest model that is pulled from the Hub, in MiB.
    #[arg(long, env = "MATRYO_MAX_MODEL_MIB", default_value_t = 8192, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub max_model_mib: u64,

    /// Memory for the weights of models that embed, in MiB; the least recently used are dropped beyond it.
    #[arg(long, env = "MATRYO_MODEL_CACHE_MIB", default_value_t = 2048, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub model_cache_mib: u64,

    /// The numbers that embeddings are computed in: float32, bf16, or auto (bf16 where the processor has it). Jobs have
    /// an argument of their own.
    #[arg(long, env = "MATRYO_PRECISION", value_name = "NAME", default_value_t = Precision::Float32)]
    pub precision: Precision,

    /// Texts that may wait to be embedded; more are refused at once with 429.
    #[arg(long, env = "MATRYO_MAX_WAITING_TEXTS", default_value_t = 8192, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_waiting_texts: u32,

    /// How long a request to embed may take, in seconds.
    #[arg(long, env = "MATRYO_EMBED_TIMEOUT_S", default_value_t = 300, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub embed_timeout_s: u64,

    /// How far training gives way to embedding: the niceness of its threads, from 0 (not at all) to 19. Linux only.
    #[arg(long, env = "MATRYO_TRAINING_NICE", default_value_t = 19, value_name = "NICENESS",
        value_parser = clap::value_parser!(u8).range(0..=19))]
    pub training_nice: u8,

    /// Jobs that may wait in the queue.
    #[arg(long, env = "MATRYO_MAX_QUEUED_JOBS", default_value_t = 100, value_name = "COUNT",
        value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub max_queued_jobs: u64,

    /// How log lines are written.
    #[arg(long, env = "MATRYO_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The best there is.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU by its number.
    Cuda(usize),
}

impl std::str::FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "`auto`, `cpu` or `cuda:N` is expected".into()),
        }
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() { Err("a key is expected".into()) } else { Ok(Secret::new(text)) }
}
