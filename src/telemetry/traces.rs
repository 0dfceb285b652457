//! Spans for OpenTelemetry: those of requests, and how all of them come to an end.
//!
//! Spans are made by hand rather than from `tracing`'s: the stages of an embedding are known only when it is
//! done, with their times, and log lines should not carry what is meant for spans.

use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use super::{RequestFacts, RequestStart, otlp};

/// Makes spans and sends them; clones share the queue.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    pub(super) tracer: SdkTracer,
}

impl Traces {
    /// Starts to send spans to `endpoint`, the whole URL. The standard's other variables (`OTEL_SERVICE_NAME`,
    /// `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` …) are honoured. To be called on a runtime,
    /// which must live on until [`Traces::shutdown`].
    ///
    /// # Errors
    /// Where the endpoint or one of those variables cannot be used.
    pub fn start(endpoint: &str) -> Result<Self, String> {
        let provider = otlp::provider(endpoint)?;
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Self { provider, tracer })
    }

    /// Begins the span of a request, as a child of the client's where it sent one.
    #[must_use]
    pub fn request(&self, start: &RequestStart<'_>) -> RequestSpan {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &TraceContext(start));
        let name = start.route.map_or_else(|| start.method.to_owned(), |route| format!("{} {route}", start.method));
        let mut attributes = vec![
            KeyValue::new("http.request.method", start.method),
            KeyValue::new("url.path", start.path.to_owned()),
            KeyValue::new("matryo.request_id", start.request_id.to_owned()),
        ];
        attributes.extend(start.route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        RequestSpan { span: self.tracer.build_with_context(builder, &parent), tracer: self.tracer.clone() }
    }

    /// Sends what waits, for at most `patience`, and ends the thread. Blocks.
    ///
    /// # Errors
    /// Where not everything could be sent.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        self.provider.shutdown_with_timeout(patience).map_err(|error| error.to_string())
    }
}

/// The span of a request that is not answered yet.
#[derive(Debug)]
pub struct RequestSpan {
    span: Span,
    tracer: SdkTracer,
}

impl RequestSpan {
    /// The trace that it belongs to, in hexadecimal.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.span.span_context().trace_id().to_string()
    }

    /// Ends it with all that is known by now.
    pub fn end(mut self, facts: &RequestFacts<'_>) {
        if !self.span.is_recording() {
            return;
        }
        let end = SystemTime::now();
        let status = i64::from(facts.status);
        self.span.set_attribute(KeyValue::new("http.response.status_code", status));
        if let Some(work) = &facts.work {
            self.span.set_attributes([
                KeyValue::new("matryo.model", work.model.to_owned()),
                KeyValue::new("matryo.texts", int(work.texts)),
                KeyValue::new("matryo.tokens", int(work.tokens)),
            ]);
            // They followed each other, and the last one's end is nearly the answer's.
            let took = work.stages().iter().map(|(_, time)| *time).sum();
            let mut at = end.checked_sub(took).unwrap_or(end);
            let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
            for (stage, time) in work.stages() {
                let builder = self.tracer.span_builder(stage).with_kind(SpanKind::Internal).with_start_time(at);
                at += time;
                self.tracer.build_with_context(builder, &parent).end_with_timestamp(at);
            }
        }
        if let Some(error) = facts.error {
            self.span.set_attribute(KeyValue::new("error.type", error.to_owned()));
        }
        if status >= 500 {
            self.span.set_status(Status::error(facts.error.unwrap_or_default().to_owned()));
        }
        self.span.end_with_timestamp(end);
    }
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The headers that carry a client's span.
struct TraceContext<'a>(&'a RequestStart<'a>);

impl Extractor for TraceContext<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.traceparent,
            "tracestate" => self.0.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
