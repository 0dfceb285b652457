//! What is costly to make and is kept in memory: each thing made once however many ask for it, one at a time, the least
//! recently used dropped beyond a budget.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use super::EmbedError;
use super::metrics::CacheMetrics;

/// What is being made or is there: all who wait for it get its one result.
pub(super) type Making<V> = futures::future::Shared<BoxFuture<'static, Result<Arc<V>, EmbedError>>>;

/// Things by their keys; `P` tells how far the making of one has come.
pub(super) struct Cache<K, V, P = ()>(Arc<Inner<K, V, P>>);

struct Inner<K, V, P> {
    /// What it keeps, in a word for the log.
    name: &'static str,
    budget_bytes: u64,
    /// One at a time: several at once would exceed the budget by several.
    turn: Semaphore,
    entries: Mutex<Entries<K, V, P>>,
    metrics: CacheMetrics,
}

struct Entries<K, V, P> {
    by_key: HashMap<K, Entry<V, P>>,
    /// Counts uses; a clock that never stands still.
    uses: u64,
}

struct Entry<V, P> {
    making: Making<V>,
    progress: Arc<P>,
    /// Its size once it is there.
    bytes: Option<u64>,
    last_use: u64,
    /// The use that began the making: tells it from a later one of the same key.
    first_use: u64,
}

impl<K, V, P> Cache<K, V, P>
where
    K: Clone + Eq + Hash + fmt::Debug + Send + 'static,
    V: Send + Sync + 'static,
    P: Default + Send + Sync + 'static,
{
    pub(super) fn new(name: &'static str, budget_bytes: u64) -> Self {
        let entries = Mutex::new(Entries { by_key: HashMap::new(), uses: 0 });
        let (turn, metrics) = (Semaphore::new(1), CacheMetrics::new());
        Self(Arc::new(Inner { name, budget_bytes, turn, entries, metrics }))
    }

    /// The thing, made by `make` (which gives its size in bytes, too) where it is not there, and how far that has come. A
    /// making that was begun goes on when its callers have left; one that fails is an error to all who waited for it, and
    /// the next caller tries again.
    pub(super) fn get<F>(&self, key: K, make: impl FnOnce(Arc<P>) -> F) -> (Making<V>, Arc<P>)
    where
        F: Future<Output = Result<(V, u64), EmbedError>> + Send + 'static,
    {
        let mut entries = self.0.entries();
        entries.uses += 1;
        let now = entries.uses;
        let entry = entries.by_key.entry(key.clone()).or_insert_with(|| {
            let progress = Arc::new(P::default());
            let making = Arc::clone(&self.0).begin(key, make(Arc::clone(&progress)), now);
            Entry { making, progress, bytes: None, last_use: now, first_use: now }
        });
        entry.last_use = now;
        let counter = if entry.first_use == now { &self.0.metrics.misses } else { &self.0.metrics.hits };
        counter.inc();
        (entry.making.clone(), Arc::clone(&entry.progress))
    }

    /// Forgets what the keys name; who holds it keeps it until done. True where something was there.
    pub(super) fn remove(&self, is_it: impl Fn(&K) -> bool) -> bool {
        let mut entries = self.0.entries();
        let before = entries.by_key.len();
        entries.by_key.retain(|key, _| !is_it(key));
        let removed = before - entries.by_key.len();
        self.0.metrics.evictions.inc_by(removed as u64);
        removed > 0
    }

    /// True where a thing of such a key is in memory.
    pub(super) fn holds(&self, is_it: impl Fn(&K) -> bool) -> bool {
        self.0.entries().by_key.iter().any(|(key, entry)| entry.bytes.is_some() && is_it(key))
    }

    /// Memory that it keeps to, unless one thing alone takes more.
    pub(super) fn budget_bytes(&self) -> u64 {
        self.0.budget_bytes
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &CacheMetrics {
        &self.0.metrics
    }

    /// Sets the gauges to what is in memory now.
    pub(super) fn measure(&self) {
        let entries = self.0.entries();
        let kept = || entries.by_key.values().filter_map(|entry| entry.bytes);
        self.0.metrics.count.set(kept().count() as i64);
        self.0.metrics.bytes.set(kept().sum::<u64>().cast_signed());
    }
}

impl<K, V, P> Inner<K, V, P>
where
    K: Clone + Eq + Hash + fmt::Debug + Send + 'static,
    V: Send + Sync + 'static,
    P: Send + Sync + 'static,
{
    fn entries(&self) -> MutexGuard<'_, Entries<K, V, P>> {
        // Nothing panics between two changes that belong together.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(
        self: Arc<Self>,
        key: K,
        make: impl Future<Output = Result<(V, u64), EmbedError>> + Send + 'static,
        first_use: u64,
    ) -> Making<V> {
        let task = tokio::spawn(async move {
            let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
            let begun = Instant::now();
            let made = make.await;
            let (name, duration) = (self.name, begun.elapsed());
            let duration_ms = duration.as_millis();
            self.metrics.seconds.observe(duration.as_secs_f64());
            match made {
                Ok((value, bytes)) => {
                    tracing::info!(?key, bytes, duration_ms, "loaded a {name}");
                    let dropped = self.entries().finish(name, &key, first_use, bytes, self.budget_bytes);
                    self.metrics.evictions.inc_by(dropped);
                    Ok(Arc::new(value))
                }
                Err(error) => {
                    tracing::warn!(?key, duration_ms, %error, "a {name} could not be loaded");
                    self.metrics.failures.inc();
                    self.entries().fail(&key, first_use);
                    Err(error)
                }
            }
        });
        async move { task.await.unwrap_or(Err(EmbedError::ShuttingDown)) }.boxed().shared()
    }
}

impl<K: Clone + Eq + Hash + fmt::Debug, V, P> Entries<K, V, P> {
    /// Notes a making's end and makes room for what it made; returns how many things it dropped.
    fn finish(&mut self, name: &str, key: &K, first_use: u64, bytes: u64, budget_bytes: u64) -> u64 {
        if let Some(entry) = self.by_key.get_mut(key).filter(|entry| entry.first_use == first_use) {
            entry.bytes = Some(bytes);
        }
        let mut total: u64 = self.by_key.values().filter_map(|entry| entry.bytes).sum();
        let mut count = 0;
        while total > budget_bytes {
            let kept = self.by_key.iter().filter(|(other, entry)| *other != key && entry.bytes.is_some());
            let Some(oldest) = kept.min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone()) else {
                return count;
            };
            tracing::info!(key = ?oldest, "dropped the least recently used {name} from memory");
            let dropped = self.by_key.remove(&oldest).and_then(|entry| entry.bytes);
            total -= dropped.unwrap_or_default();
            count += 1;
        }
        count
    }

    fn fail(&mut self, key: &K, first_use: u64) {
        if self.by_key.get(key).is_some_and(|entry| entry.first_use == first_use) {
            self.by_key.remove(key);
        }
    }
}

impl<K, V, P> fmt::Debug for Cache<K, V, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.0.name)
            .field("budget_bytes", &self.0.budget_bytes)
            .finish_non_exhaustive()
    }
}
