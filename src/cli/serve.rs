//! `matryo serve`: puts the service together, and takes it apart in the right order.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};

use crate::config::{LogFormat, ServeConfig};
use crate::domain::{DataDir, EventRecord};
use crate::http::{self, AppState, HttpLimits, ModelPulls, TrainingDevice};
use crate::hub::HubSettings;
use crate::model::Hardware;
use crate::serving::{EmbeddingService, ServingOptions};
use crate::store::{Store, StoreOptions};
use crate::telemetry::{JobSpans, Metrics, Telemetry, Traces};
use crate::webhooks::{self, ServerWebhook, WebhookSettings};
use crate::worker::{EngineTrainer, Worker, WorkerContext, WorkerError};

use super::device::{Chosen, choose};
use super::error::CliError;
use super::signals;

pub(super) const EXAMPLE: &str = "Example:\n  \
    matryo serve --data-dir /var/lib/matryo --listen 127.0.0.1:8080\n  \
    MATRYO_API_KEY=secret matryo serve --listen 0.0.0.0:8080 --model-root /models";

/// What is logged where `RUST_LOG` is not set; hf-hub logs an error that it also returns.
pub(super) const LOG_FILTER: &str = "info,hf_hub=off";
/// How long requests under way may take to end once the server is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How long the last spans may take to be sent then.
const FLUSH: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    #[command(flatten)]
    config: ServeConfig,
}

impl ServeCommand {
    pub(super) fn log_format(&self) -> LogFormat {
        self.config.log_format
    }

    pub(super) fn run(&self) -> Result<(), CliError> {
        runtime()?.block_on(async {
            // Before the log says that the service listens: whoever reads that may stop it.
            let signal = signals::listen()?;
            let listener = bind(self.config.listen).await?;
            let service = Service::start(&self.config, listener).await?;
            service
                .run(async {
                    let signal = signal.await;
                    tracing::info!(signal, "stopping; the running job goes on at the next start");
                    signals::exit_at_the_next();
                })
                .await
        })
    }
}

/// The runtime that a server or a download runs on.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The whole service, listening but not yet answering.
pub(super) struct Service {
    listener: TcpListener,
    state: AppState,
    webhooks: WebhookSettings,
}

impl Service {
    /// Opens the data directory and starts everything but the answering of requests.
    pub(super) async fn start(config: &ServeConfig, listener: TcpListener) -> Result<Self, CliError> {
        let data_dir = DataDir::new(make_folder(&config.data_dir)?);
        let Chosen { hardware, reason } = choose(config.device, &data_dir.kernels())?;
        let training_device = TrainingDevice { hardware: hardware.clone(), reason };
        let webhooks = webhooks(config)?;
        let store_options = StoreOptions { server_webhook: webhooks.server.is_some(), ..StoreOptions::default() };
        let store = Store::open_with(&data_dir.database(), &store_options)
            .await
            .map_err(|error| CliError::Failed(format!("{}: {error}", data_dir.database().display())))?;
        let worker = Worker::start(WorkerContext::new(
            store.clone(),
            data_dir.clone(),
            trainer(config.training_nice, hardware)?,
        ))
        .await?;
        let options = ServingOptions {
            cache_bytes: config.model_cache_mib << 20,
            search_cache_bytes: config.search_cache_mib << 20,
            max_waiting_texts: config.max_waiting_texts as usize,
            precision: config.precision,
            timeout: Duration::from_secs(config.embed_timeout_s),
            ..ServingOptions::default()
        };
        let embedding = EmbeddingService::start(store.clone(), data_dir.clone(), options);
        let metrics = Metrics::new(|registry| embedding.register_metrics(registry));
        let telemetry = Telemetry { traces: traces(config).await?, ..Telemetry::new(metrics) };
        let state = AppState {
            embedding,
            store,
            data_dir,
            worker,
            pulls: ModelPulls::default(),
            hub: HubSettings { max_model_bytes: config.max_model_mib << 20, ..HubSettings::from_env() },
            model_roots: model_roots(&config.model_roots)?.into(),
            api_key: config.api_key.clone(),
            device: "cpu".into(),
            training_device: training_device.into(),
            limits: HttpLimits {
                max_upload_bytes: config.max_upload_mib << 20,
                max_queued_jobs: config.max_queued_jobs,
                private_webhooks: config.webhook_allow_private,
                ..HttpLimits::default()
            },
            telemetry,
        };
        state.pulls.resume(&state).await.map_err(WorkerError::from)?;
        if config.api_key.is_none() && !config.listen.ip().is_loopback() {
            tracing::warn!(address = %config.listen, "anybody who reaches this address is let in; set MATRYO_API_KEY");
        }
        Ok(Self { listener, state, webhooks })
    }

    /// Where it listens; tells the port where any was asked for.
    pub(super) fn address(&self) -> Result<SocketAddr, CliError> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers until `stop`, then ends: no new connections, the running job back to the queue, event streams closed,
    /// requests under way finished.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<(), CliError> {
        let Self { listener, state, webhooks } = self;
        let address = listener.local_addr()?;
        let job_spans = state.telemetry.traces.clone().map(|traces| {
            let events = state.worker.subscribe_to_all();
            tokio::spawn(trace_jobs(events, JobSpans::new(traces)))
        });
        let webhooks = webhooks::start(state.store.clone(), webhooks, state.worker.subscribe_to_all())
            .map_err(|error| CliError::Failed(format!("webhooks: {error}")))?;
        let (stopping, stopped) = oneshot::channel::<()>();
        // Small answers and single events are to leave at once.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "answers may leave late");
            }
        });
        let server = axum::serve(listener, http::router(state.clone())).with_graceful_shutdown(async {
            // Either way the sender has gone.
            let _ = stopped.await;
        });
        let mut server = tokio::spawn(server.into_future());
        tracing::info!(
            %address,
            data_dir = %state.data_dir.root().display(),
            version = env!("CARGO_PKG_VERSION"),
            "listening on http://{address}"
        );
        tokio::select! {
            ended = &mut server => {
                ended??;
                return Err(CliError::failed("the server ended by itself"));
            }
            () = stop => {}
        }
        drop(stopping);
        // Event streams end with the worker and the pulls; without that they would be requests under way for ever.
        state.pulls.shutdown();
        state.worker.shutdown().await?;
        state.embedding.shutdown().await;
        match tokio::time::timeout(GRACE, &mut server).await {
            Ok(ended) => ended??,
            Err(_) => {
                tracing::warn!(seconds = GRACE.as_secs(), "requests were still under way and are cut off");
                server.abort();
            }
        }
        // It ended with the worker's events, but for what is being sent; that is sent again at the next start.
        let sending = webhooks.abort_handle();
        if tokio::time::timeout(GRACE, webhooks).await.is_err() {
            sending.abort();
        }
        state.store.close().await;
        if let Some(job_spans) = job_spans {
            // It ended with the worker's events.
            let _ = job_spans.await;
        }
        flush(state.telemetry.traces).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// What spans are sent by, where they are sent.
async fn traces(config: &ServeConfig) -> Result<Option<Traces>, CliError> {
    let Some(url) = config.traces_url().map_err(CliError::Failed)? else { return Ok(None) };
    // It reads certificates.
    let started = tokio::task::spawn_blocking(move || Traces::start(&url)).await?;
    let traces = started.map_err(|error| CliError::Failed(format!("OTLP: {error}")))?;
    tracing::info!("spans of requests and jobs are sent to an OTLP collector");
    Ok(Some(traces))
}

/// Who is told of jobs' ends.
fn webhooks(config: &ServeConfig) -> Result<WebhookSettings, CliError> {
    let url = config.webhook_url.as_deref().filter(|url| !url.trim().is_empty());
    let server = url.map(|url| ServerWebhook::new(url, config.webhook_secret.as_ref())).transpose();
    let allow_private = config.webhook_allow_private;
    Ok(WebhookSettings { server: server.map_err(CliError::Failed)?, allow_private, ..WebhookSettings::default() })
}

/// Makes spans of the jobs' events, until the worker has ended.
async fn trace_jobs(mut events: broadcast::Receiver<Arc<EventRecord>>, mut spans: JobSpans) {
    loop {
        match events.recv().await {
            Ok(record) => spans.on_event(&record),
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "some events of jobs are missing in the traces"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Sends the spans that wait.
async fn flush(traces: Option<Traces>) {
    let Some(traces) = traces else { return };
    let flushed = tokio::task::spawn_blocking(move || traces.shutdown(FLUSH)).await;
    if let Ok(Err(error)) = flushed {
        tracing::warn!(error, "the last spans could not be sent");
    }
}

/// What trains, on threads that give way.
fn trainer(nice: u8, hardware: Hardware) -> Result<EngineTrainer, CliError> {
    EngineTrainer::new(nice, hardware).map_err(|error| CliError::Failed(format!("no threads to train with: {error}")))
}

/// Takes an address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| bind_error(address, &error))
}

/// Says what to do where an address cannot be had.
pub(super) fn bind_error(address: SocketAddr, error: &std::io::Error) -> CliError {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another program listens there, so give another with --listen",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need rights, so give another with --listen",
        _ => "",
    };
    CliError::Failed(format!("cannot listen on {address}: {error}{hint}"))
}

/// Makes a folder where there is none; returns its real path.
fn make_folder(folder: &Path) -> Result<PathBuf, CliError> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    made.map_err(|error| CliError::Failed(format!("--data-dir {}: {error}", folder.display())))
}

fn model_roots(roots: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let real = |root: &PathBuf| match root.canonicalize() {
        Ok(real) if real.is_dir() => Ok(real),
        Ok(_) => Err(CliError::Failed(format!("--model-root {}: a folder is expected", root.display()))),
        Err(error) => Err(CliError::Failed(format!("--model-root {}: {error}", root.display()))),
    };
    roots.iter().filter(|root| !root.as_os_str().is_empty()).map(real).collect()
}
