//! What the server can be told, on the command line (`--data-dir`) or by environment variables (`MATRYO_DATA_DIR`).

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::domain::{Precision, Secret};

/// Where collectors take spans.
const TRACES_PATH: &str = "/v1/traces";

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

    /// Memory for the corpora that the search compares models on, in MiB: their texts, and their embeddings by each model.
    /// The least recently used are dropped beyond it; a dataset that is larger is not searched.
    #[arg(long, env = "MATRYO_SEARCH_CACHE_MIB", default_value_t = 512, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub search_cache_mib: u64,

    /// The numbers that embeddings are computed in: float32, bf16, or auto (bf16 where the processor is faster at it).
    /// Jobs have an argument of their own.
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

    /// Who is told of every job's end, by a POST of JSON: a URL of http or https, which may lead anywhere. Jobs may have a
    /// webhook of their own beside it.
    #[arg(long, env = "MATRYO_WEBHOOK_URL", hide_env_values = true, value_name = "URL")]
    pub webhook_url: Option<String>,

    /// The key that signs what `--webhook-url` is told, by the Standard Webhooks specification: `whsec_` and 24 to 64 bytes
    /// in base64.
    #[arg(long, env = "MATRYO_WEBHOOK_SECRET", hide_env_values = true, value_name = "KEY", value_parser = secret,
        requires = "webhook_url")]
    pub webhook_secret: Option<Secret>,

    /// Lets jobs' own webhooks lead to addresses that are not on the public Internet.
    #[arg(long, env = "MATRYO_WEBHOOK_ALLOW_PRIVATE", value_parser = clap::builder::FalseyValueParser::new())]
    pub webhook_allow_private: bool,

    /// Where spans of requests and jobs are sent: an OpenTelemetry collector that takes OTLP over HTTP, such as
    /// http://localhost:4318. Where it is not set, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` say; without any, nothing is sent.
    #[arg(long, env = "MATRYO_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// How log lines are written.
    #[arg(long, env = "MATRYO_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

impl ServeConfig {
    /// The whole URL that spans are sent to, where they are sent.
    ///
    /// # Errors
    /// Where it is not a URL of HTTP.
    pub fn traces_url(&self) -> Result<Option<String>, String> {
        traces_url(self.otlp_endpoint.as_deref(), |name| std::env::var(name).ok())
    }
}

/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is the whole URL; the other two are what all signals' paths are put after.
fn traces_url(given: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let given = given.map(str::to_owned).filter(|url| !url.trim().is_empty());
    let whole = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").filter(|_| given.is_none());
    let base = given.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let url = whole.or_else(|| {
        let base = base?;
        let base = base.trim().trim_end_matches('/').trim_end_matches(TRACES_PATH);
        Some(format!("{base}{TRACES_PATH}"))
    });
    match url {
        Some(url) if !(url.starts_with("http://") || url.starts_with("https://")) => {
            Err("the OTLP endpoint is not a URL such as http://localhost:4318".into())
        }
        url => Ok(url),
    }
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

/// Reads a key.
///
/// # Errors
/// Where there is none.
pub(crate) fn secret(text: &str) -> Result<Secret, String> {
    if text.trim().is_empty() { Err("a key is expected".into()) } else { Ok(Secret::new(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_where_the_setting_or_the_standard_variables_say() {
        const WHOLE: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let url = |given, variables: &[(&str, &str)]| {
            let found =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            traces_url(given, found).expect("it is a URL")
        };
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(Some(""), &[(BASE, " ")]), None);
        let expected = |url: &str| Some(url.to_owned());
        for base in ["http://one:4318", "http://one:4318/", "http://one:4318/v1/traces"] {
            assert_eq!(url(Some(base), &[(BASE, "http://two")]), expected("http://one:4318/v1/traces"));
            assert_eq!(url(None, &[(BASE, base)]), expected("http://one:4318/v1/traces"));
        }
        assert_eq!(url(None, &[(BASE, "http://two"), (WHOLE, "https://one/path")]), expected("https://one/path"));
        assert_eq!(url(Some("http://one"), &[(WHOLE, "http://two/path")]), expected("http://one/v1/traces"));
        assert_eq!(url(Some("http://one"), &[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert!(traces_url(Some("one:4317"), |_| None).is_err());
    }
}
