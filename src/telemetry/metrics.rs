//! What is counted and timed for Prometheus as requests come and go.
//!
//! Labels are bounded, whatever clients send: routes are templates, methods and statuses are few, and model names are
//! those of models that have embedded, up to [`MAX_MODELS`].

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::RequestFacts;

/// From a short text on an idle server to a batch of thousands on a busy one, in seconds.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Base models and aliases that have labels of their own; later ones share one. Each costs some kilobytes a route.
const MAX_MODELS: usize = 100;
/// The label of all checkpoints that are asked for by their job: jobs come by the thousand.
const JOB: &str = "job";
/// The label of models beyond the limit.
const OTHER: &str = "other";
/// The route of a request whose path none has.
const UNMATCHED: &str = "unmatched";

/// What is counted and timed.
#[derive(Debug)]
pub struct Metrics {
    pub(super) registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<LatencyLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    texts: Family<ModelLabels, Counter>,
    tokens: Family<ModelLabels, Counter>,
    stages: Family<StageLabels, Histogram, fn() -> Histogram>,
    models: Mutex<HashSet<Arc<str>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LatencyLabels {
    method: &'static str,
    route: String,
    /// Empty where nothing was embedded, which is the same as no such label.
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
    model: Arc<str>,
}

impl Metrics {
    /// Begins at zero; `register` adds the metrics of other parts of the server.
    #[must_use]
    pub fn new(register: impl FnOnce(&mut Registry)) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("matryo_http_requests", "Requests answered", Clone::clone(&requests));
        let latency = Family::new_with_constructor(seconds);
        registry.register_with_unit(
            "matryo_http_request_duration",
            "Time from a request's head to its answer's",
            Unit::Seconds,
            Clone::clone(&latency),
        );
        let in_flight = Gauge::default();
        registry.register("matryo_http_requests_in_flight", "Requests not yet answered", Clone::clone(&in_flight));
        let texts = Family::default();
        registry.register("matryo_embedded_texts", "Texts embedded and answered", Clone::clone(&texts));
        let tokens = Family::default();
        registry.register("matryo_embedded_tokens", "Tokens of the texts embedded and answered", Clone::clone(&tokens));
        let stages = Family::new_with_constructor(seconds);
        registry.register_with_unit(
            "matryo_embedding_stage_duration",
            "Time that a request's texts spent in each stage",
            Unit::Seconds,
            Clone::clone(&stages),
        );
        register(&mut registry);
        Self { registry, requests, latency, in_flight, texts, tokens, stages, models: Mutex::default() }
    }

    /// A request has come; [`Metrics::answered`] must follow.
    pub fn came(&self) {
        self.in_flight.inc();
    }

    /// A request has been answered, or its client has left.
    pub fn answered(&self, facts: &RequestFacts<'_>) {
        self.in_flight.dec();
        let RequestFacts { method, status, .. } = *facts;
        let route = facts.route.unwrap_or(UNMATCHED).to_owned();
        self.requests.get_or_create(&RequestLabels { method, route: route.clone(), status }).inc();
        let model = facts.work.map_or_else(Arc::default, |work| self.label(work.model));
        let labels = LatencyLabels { method, route, model: Arc::clone(&model) };
        self.latency.get_or_create(&labels).observe(facts.latency.as_secs_f64());
        if let Some(work) = &facts.work {
            let labels = ModelLabels { model: Arc::clone(&model) };
            self.texts.get_or_create(&labels).inc_by(work.texts as u64);
            self.tokens.get_or_create(&labels).inc_by(work.tokens as u64);
            for (stage, time) in work.stages() {
                let labels = StageLabels { stage, model: Arc::clone(&model) };
                self.stages.get_or_create(&labels).observe(time.as_secs_f64());
            }
        }
    }

    /// The label of a model.
    fn label(&self, model: &str) -> Arc<str> {
        let model = if model.starts_with("job:") { JOB } else { model };
        // Nothing panics while it is held.
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.get(model) {
            return Arc::clone(known);
        }
        if models.len() >= MAX_MODELS && model != JOB {
            return OTHER.into();
        }
        let label: Arc<str> = model.into();
        models.insert(Arc::clone(&label));
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_models_are_bounded() {
        let metrics = Metrics::new(|_| {});
        assert_eq!(&*metrics.label("a/b"), "a/b");
        assert_eq!(&*metrics.label("job:1"), JOB);
        assert_eq!(&*metrics.label("job:2@epoch-3"), JOB);
        let labels: HashSet<_> = (0..10_000).map(|number| metrics.label(&format!("model-{number}"))).collect();
        assert_eq!(labels.len(), MAX_MODELS - 1, "two were there before, and all others are one");
        assert_eq!((&*metrics.label("a/b"), &*metrics.label("new")), ("a/b", OTHER));
        assert_eq!(metrics.models.lock().expect("nothing panicked").len(), MAX_MODELS);
    }
}
