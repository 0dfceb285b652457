//! Every request as the log, the metrics and the traces see it.
//!
//! Bodies, keys and query strings are in none of them: a query string may hold what does not belong into a log.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span, field};

use super::REQUEST_ID;
use crate::http::error::ErrorSource;
use crate::http::measured::Measured;
use crate::http::{ApiError, AppState};
use crate::telemetry::{EmbeddingWork, RequestFacts, RequestSpan, RequestStart, Telemetry};

/// Asked for every few seconds by programs; their lines would hide the others.
const QUIET_ROUTES: [&str; 2] = ["/health", "/metrics"];
/// What no answer can have: the client left before there was one.
const CLIENT_LEFT: u16 = 499;

/// Counts, times, traces and logs a request.
pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let observation = Observation::begin(state.telemetry, &request);
    let response = next.run(request).instrument(observation.span.clone()).await;
    observation.answered(&response);
    response
}

/// A request under way. Where it is dropped without an answer, the client has left.
struct Observation {
    telemetry: Telemetry,
    begun: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    /// What log lines are written under.
    span: Span,
    /// What is exported, where anything is.
    trace: Option<RequestSpan>,
    is_over: bool,
}

impl Observation {
    fn begin(telemetry: Telemetry, request: &Request) -> Self {
        let begun = Instant::now();
        telemetry.metrics.came();
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let (path, headers) = (request.uri().path(), request.headers());
        let request_id = text(headers, REQUEST_ID.as_str()).unwrap_or_default();
        let span = tracing::info_span!("request", %method, path, request_id, trace_id = field::Empty);
        let trace = telemetry.traces.as_ref().map(|traces| {
            let route = route.as_ref().map(MatchedPath::as_str);
            let (traceparent, tracestate) = (text(headers, "traceparent"), text(headers, "tracestate"));
            traces.request(&RequestStart { method, route, path, request_id, traceparent, tracestate })
        });
        if let Some(trace) = &trace {
            span.record("trace_id", trace.trace_id());
        }
        Self { telemetry, begun, method, route, span, trace, is_over: false }
    }

    fn answered(mut self, response: &Response) {
        let extensions = response.extensions();
        let error = extensions.get::<ApiError>().map(|error| error.code().to_string());
        let source = extensions.get::<ErrorSource>().map(|source| source.0.to_string());
        let work = extensions.get::<Measured>().map(|measured| EmbeddingWork {
            model: &measured.model,
            texts: measured.texts,
            tokens: measured.tokens,
            tokenization: measured.timings.tokenization,
            queue: measured.timings.queue,
            inference: measured.timings.inference,
        });
        self.end(response.status().as_u16(), error.as_deref(), source.as_deref(), work);
    }

    fn end(&mut self, status: u16, error: Option<&str>, source: Option<&str>, work: Option<EmbeddingWork<'_>>) {
        self.is_over = true;
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let facts = RequestFacts { method: self.method, route, status, latency: self.begun.elapsed(), error, work };
        self.telemetry.metrics.answered(&facts);
        if let Some(trace) = self.trace.take() {
            trace.end(&facts);
        }
        let _entered = self.span.enter();
        log_access(&facts, source);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(CLIENT_LEFT, None, None, None);
        }
    }
}

/// One line a request: its method, path and id are those of the span.
fn log_access(facts: &RequestFacts<'_>, source: Option<&str>) {
    let RequestFacts { route, status, error: code, .. } = *facts;
    let latency_ms = milliseconds(facts.latency);
    let work = facts.work.as_ref();
    let (model, texts, tokens) = (work.map(|work| work.model), work.map(|w| w.texts), work.map(|w| w.tokens));
    let tokenization_ms = work.map(|work| milliseconds(work.tokenization));
    let queue_ms = work.map(|work| milliseconds(work.queue));
    let inference_ms = work.map(|work| milliseconds(work.inference));
    /// The level of an event is part of its place in the program.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                route,
                status,
                latency_ms,
                code,
                model,
                texts,
                tokens,
                tokenization_ms,
                queue_ms,
                inference_ms,
                error = source,
                "answered"
            )
        };
    }
    if source.is_some() {
        line!(error);
    } else if route.is_some_and(|route| QUIET_ROUTES.contains(&route)) {
        line!(debug);
    } else if status == CLIENT_LEFT {
        tracing::info!(route, status, latency_ms, "the client left before the answer");
    } else {
        line!(info);
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The method, where it is one of the usual ones: a client may make up others without end.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
