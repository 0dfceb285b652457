//! What happens inside the service, counted for Prometheus; whoever has a registry asks for it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Seconds of a batch or a load: a short text takes about a millisecond, a large model's weights many seconds.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The queue and what is computed of it.
#[derive(Debug)]
pub(super) struct QueueMetrics {
    /// Set when they are asked for, as the next one.
    pub(super) waiting_texts: Gauge,
    pub(super) waiting_tokens: Gauge,
    /// Requests that found no place.
    pub(super) refused: Counter,
    pub(super) batch_texts: Histogram,
    pub(super) batch_tokens: Histogram,
    pub(super) batch_seconds: Histogram,
}

impl QueueMetrics {
    pub(super) fn new() -> Self {
        Self {
            waiting_texts: Gauge::default(),
            waiting_tokens: Gauge::default(),
            refused: Counter::default(),
            // To 4096 texts and, for the rare longest ones, 32,768 tokens.
            batch_texts: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            batch_tokens: Histogram::new(exponential_buckets(8.0, 2.0, 13)),
            batch_seconds: Histogram::new(SECONDS),
        }
    }

    /// Gives them their names.
    pub(super) fn register(&self, registry: &mut Registry) {
        let queue = registry.sub_registry_with_prefix("matryo_queue");
        queue.register("texts", "Texts that wait to be embedded", self.waiting_texts.clone());
        queue.register("tokens", "Tokens of the texts that wait to be embedded", self.waiting_tokens.clone());
        queue.register("refused", "Requests refused since too much waited", self.refused.clone());
        let batch = registry.sub_registry_with_prefix("matryo_batch");
        batch.register("texts", "Texts computed at once", self.batch_texts.clone());
        batch.register("tokens", "Tokens computed at once", self.batch_tokens.clone());
        let seconds = self.batch_seconds.clone();
        batch.register_with_unit("duration", "Time to compute a batch", Unit::Seconds, seconds);
    }
}

/// What a cache keeps in memory.
#[derive(Debug)]
pub(super) struct CacheMetrics {
    /// Requests that found what they wanted loaded or being loaded.
    pub(super) hits: Counter,
    /// Requests that began a load.
    pub(super) misses: Counter,
    pub(super) failures: Counter,
    pub(super) seconds: Histogram,
    pub(super) evictions: Counter,
    /// Set when they are asked for, as the next one.
    pub(super) count: Gauge,
    pub(super) bytes: Gauge,
}

impl CacheMetrics {
    pub(super) fn new() -> Self {
        Self {
            hits: Counter::default(),
            misses: Counter::default(),
            failures: Counter::default(),
            seconds: Histogram::new(SECONDS),
            evictions: Counter::default(),
            count: Gauge::default(),
            bytes: Gauge::default(),
        }
    }

    /// Gives those of the models their names.
    pub(super) fn register_models(&self, registry: &mut Registry) {
        let cache = registry.sub_registry_with_prefix("matryo_model_cache");
        cache.register("hits", "Requests that found their model in memory or on its way there", self.hits.clone());
        cache.register("misses", "Requests that had their model loaded", self.misses.clone());
        cache.register("load_failures", "Loads of models that failed", self.failures.clone());
        let seconds = self.seconds.clone();
        cache.register_with_unit("load_duration", "Time to load a model", Unit::Seconds, seconds);
        cache.register("evictions", "Models dropped from memory", self.evictions.clone());
        cache.register("models", "Models in memory", self.count.clone());
        cache.register_with_unit("size", "Memory that the models in memory take", Unit::Bytes, self.bytes.clone());
    }

    /// Gives those of embedded corpora their names.
    pub(super) fn register_corpora(&self, registry: &mut Registry) {
        let cache = registry.sub_registry_with_prefix("matryo_corpus_cache");
        cache.register("hits", "Searches that found their corpus embedded or on its way there", self.hits.clone());
        cache.register("misses", "Searches that had their corpus embedded", self.misses.clone());
        cache.register("failures", "Corpora whose embedding failed", self.failures.clone());
        cache.register("evictions", "Embedded corpora dropped from memory", self.evictions.clone());
        cache.register("corpora", "Embedded corpora in memory", self.count.clone());
        cache.register_with_unit("size", "Memory that embedded corpora take", Unit::Bytes, self.bytes.clone());
    }
}
