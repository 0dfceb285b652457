//! The way of spans to a collector: OTLP over HTTP, from a thread of its own.
//!
//! Nothing waits for the collector: spans go into a bounded queue, and those that do not fit or cannot be sent are
//! dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

/// What a collector calls the server where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` do not say.
const SERVICE_NAME: &str = "matryo";
/// How long a collector may take to answer; spans wait meanwhile, requests do not.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What sends spans to a URL.
///
/// # Errors
/// Where the URL, or one of the standard's variables, cannot be used.
pub(super) fn provider(url: &str) -> Result<SdkTracerProvider, String> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(OnRuntime { client, runtime: tokio::runtime::Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(Reporting { exporter, is_failing: AtomicBool::new(false) })
        .with_resource(resource())
        .build())
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let found = Resource::builder().build().get(&Key::from_static_str("service.name"));
    // What the SDK says where nobody named the service.
    let is_named = found.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    if is_named { resource.build() } else { resource.with_service_name(SERVICE_NAME).build() }
}

/// The client that the Hub is asked with too. The thread that sends spans has no runtime, so the server's does it.
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

impl HttpClient for OnRuntime {
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move { client.send_bytes(request).await });
        Box::pin(async { sent.await? })
    }
}

/// Tells the log once when a collector cannot be reached, and once when it can again.
#[derive(Debug)]
struct Reporting {
    exporter: opentelemetry_otlp::SpanExporter,
    is_failing: AtomicBool,
}

impl SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        match &result {
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, spans, "the OTLP collector does not take spans; they are dropped until it does");
            }
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("the OTLP collector takes spans again");
            }
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
