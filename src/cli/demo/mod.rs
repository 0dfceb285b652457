//! `matryo demo`: the main job, from upload to embedding, on the sample data that is shipped with the program.

mod base_model;
mod client;
mod result;
mod sse;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::{Device, LogFormat, ServeConfig};
use crate::domain::{JobId, Precision};

use super::error::CliError;
use super::output;
use super::progress::{RunDisplay, say};
use super::serve::{self, Service};
use super::signals;
use client::Client;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo demo\n  \
    matryo demo --data-dir /tmp/matryo-demo --listen 127.0.0.1:9000 --exit";

const TRAIN: &[u8] = include_bytes!("../../../samples/annual-reports/train.jsonl");
const EVAL: &[u8] = include_bytes!("../../../samples/annual-reports/eval.jsonl");
const MODEL_NAME: &str = "all-MiniLM-L6-v2";
const MODEL_CACHE_MIB: u64 = 1024;
const UPLOAD_MIB: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct DemoCommand {
    /// Where the demo's database, datasets and checkpoints lie.
    #[arg(long, value_name = "DIR", default_value = "matryo-demo")]
    data_dir: PathBuf,

    /// Where the service listens; where that is taken, on any free port.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Ends after the job; otherwise the service stays up until Ctrl-C.
    #[arg(long)]
    exit: bool,
}

impl DemoCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        serve::runtime()?.block_on(async {
            let stop = signals::stop_requested();
            tokio::pin!(stop);
            let interrupted = || CliError::Interrupted("give the same command again to start over".into());
            let base_model = tokio::select! {
                folder = base_model::fetch() => folder?.canonicalize()?,
                _ = &mut stop => return Err(interrupted()),
            };
            let service = self.start(&base_model).await?;
            let address = service.address()?;
            let (end, ended) = oneshot::channel::<()>();
            let mut server = tokio::spawn(service.run(async {
                // Either way the demo has ended.
                let _ = ended.await;
            }));
            let outcome = tokio::select! {
                done = self.main_job(address, &base_model) => done,
                _ = &mut stop => Err(interrupted()),
                ended = &mut server => return ended?,
            };
            if outcome.is_ok() && !self.exit {
                say(&format!("the service stays up at http://{address} until Ctrl-C"));
                tokio::select! {
                    _ = &mut stop => {}
                    ended = &mut server => return ended?,
                }
            }
            signals::exit_at_the_next();
            drop(end);
            server.await??;
            outcome
        })
    }

    async fn start(&self, base_model: &Path) -> Result<Service, CliError> {
        let listener = match TcpListener::bind(self.listen).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                say(&format!("{} is taken, so another port is used", self.listen));
                serve::bind(SocketAddr::new(self.listen.ip(), 0)).await?
            }
            Err(error) => return Err(serve::bind_error(self.listen, &error)),
            Ok(listener) => listener,
        };
        let config = ServeConfig {
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            api_key: None,
            device: Device::Auto,
            model_roots: vec![base_model.to_owned()],
            max_upload_mib: UPLOAD_MIB,
            max_model_mib: MODEL_CACHE_MIB,
            model_cache_mib: MODEL_CACHE_MIB,
            precision: Precision::Float32,
            max_waiting_texts: 1000,
            embed_timeout_s: 60,
            training_nice: 0,
            max_queued_jobs: 10,
            webhook_url: None,
            webhook_secret: None,
            webhook_allow_private: false,
            otlp_endpoint: None,
            log_format: LogFormat::Text,
        };
        Service::start(&config, listener).await
    }

    async fn main_job(&self, address: SocketAddr, base_model: &Path) -> Result<(), CliError> {
        let client = Client::new(format!("http://{address}"))?;
        client.register(MODEL_NAME, &base_model.to_string_lossy()).await?;
        let dataset = client.upload(TRAIN, EVAL).await?;
        say(&format!("dataset {dataset}: questions and passages of fictional companies' annual reports"));
        let job = client.submit(&job(&dataset)).await?;
        say(&format!("job {}: fine-tuning {MODEL_NAME} at http://{address}", job.id));
        let display = RunDisplay::new();
        let followed = client.follow(job.id, |event| display.show(event)).await;
        display.end();
        followed?;

        let metrics = client.metrics(job.id).await?;
        let checkpoint = client.best_checkpoint(job.id).await?;
        let request = embed_request(job.id);
        // What is printed to be pasted has been tried.
        let length = client.embed(&request).await?;
        output::print(result::in_words(&metrics)?)?;
        output::print(format!(
            "best checkpoint: {} (a sentence-transformers folder)\n\
             service:         http://{address}, described by http://{address}/openapi.json\n\n\
             Embed with the fine-tuned model ({length} numbers a text):\n\n  {}\n",
            self.data_dir.canonicalize()?.join(checkpoint.path).display(),
            curl(address, &request)
        ))
    }
}

/// Arguments for a few hundred pairs: small batches, so that there are enough optimizer steps, and a higher rate.
fn job(dataset: &str) -> Value {
    json!({
        "name": "demo",
        "dataset_id": dataset,
        "base_model": MODEL_NAME,
        "training": {
            "epochs": 4,
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 1,
            "learning_rate": 5e-5,
            "logging_steps": 5,
            "save_total_limit": 1,
        },
    })
}

fn embed_request(job: JobId) -> Value {
    json!({"model": format!("job:{job}"), "inputs": ["How did freight revenue change?"], "dimensions": 128})
}

fn curl(address: SocketAddr, request: &Value) -> String {
    format!("curl -s http://{address}/embed -H 'content-type: application/json' -d '{request}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_command_holds_no_quote_that_a_shell_would_take_apart() {
        let command = curl(SocketAddr::from(([127, 0, 0, 1], 8080)), &embed_request(JobId::generate()));
        assert_eq!(command.matches('\'').count(), 4, "{command}");
        let body = command.split('\'').nth(3).expect("the body is quoted");
        assert_eq!(serde_json::from_str::<Value>(body).expect("it is JSON")["dimensions"], 128);
    }
}
