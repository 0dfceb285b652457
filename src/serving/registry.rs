//! The models in memory: each loaded once however many ask for it, the least recently used dropped beyond a budget.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::domain::ModelReference;
use crate::model::ModelError;

use super::EmbedError;
use super::metrics::CacheMetrics;
use super::resolve::{ModelKey, ResolvedModel};

/// Reads a folder; gives the model and the bytes that it takes in memory. Called on a thread that may block.
type LoadModel<M> = dyn Fn(&Path) -> Result<(M, u64), ModelError> + Send + Sync;

/// A load that is under way or done: all who wait for it get its one result.
type Loading<M> = futures::future::Shared<BoxFuture<'static, Result<Arc<M>, EmbedError>>>;

/// Models by what they are.
pub(super) struct Registry<M>(Arc<Inner<M>>);

struct Inner<M> {
    budget_bytes: u64,
    load: Box<LoadModel<M>>,
    /// One load at a time: several at once would exceed the budget by several models.
    turn: Semaphore,
    models: Mutex<Models<M>>,
    metrics: CacheMetrics,
}

struct Models<M> {
    entries: HashMap<ModelKey, Entry<M>>,
    /// Counts uses; a clock that never stands still.
    uses: u64,
}

struct Entry<M> {
    loading: Loading<M>,
    /// The model's size once it is loaded.
    bytes: Option<u64>,
    last_use: u64,
    /// The use that began the load: tells it from a later one of the same model.
    first_use: u64,
}

impl<M: Send + Sync + 'static> Registry<M> {
    pub(super) fn new(
        budget_bytes: u64,
        load: impl Fn(&Path) -> Result<(M, u64), ModelError> + Send + Sync + 'static,
    ) -> Self {
        let models = Mutex::new(Models { entries: HashMap::new(), uses: 0 });
        let (turn, metrics) = (Semaphore::new(1), CacheMetrics::new());
        Self(Arc::new(Inner { budget_bytes, load: Box::new(load), turn, models, metrics }))
    }

    /// The model, loaded where it is not yet. A load that was begun goes on when its callers have left; one that fails
    /// is an error to all who waited for it, and the next caller tries again.
    ///
    /// # Errors
    /// Where it cannot be loaded.
    pub(super) async fn get(&self, model: ResolvedModel) -> Result<Arc<M>, EmbedError> {
        let loading = {
            let mut models = self.0.models();
            models.uses += 1;
            let now = models.uses;
            let entry = models.entries.entry(model.key.clone()).or_insert_with(|| Entry {
                loading: Arc::clone(&self.0).begin(model.key, model.folder, now),
                bytes: None,
                last_use: now,
                first_use: now,
            });
            entry.last_use = now;
            let counter = if entry.first_use == now { &self.0.metrics.misses } else { &self.0.metrics.hits };
            counter.inc();
            entry.loading.clone()
        };
        loading.await
    }

    /// Forgets a model; who holds it keeps it until done. True where it was there.
    pub(super) fn remove(&self, key: &ModelKey) -> bool {
        let was_there = self.0.models().entries.remove(key).is_some();
        self.0.metrics.evictions.inc_by(u64::from(was_there));
        was_there
    }

    /// True where a model that the reference may mean is in memory.
    pub(super) fn holds(&self, reference: &ModelReference) -> bool {
        self.0.models().entries.iter().any(|(key, entry)| entry.bytes.is_some() && key.is_meant_by(reference))
    }

    /// Forgets the models that the reference may mean; who holds one keeps it until done.
    pub(super) fn evict(&self, reference: &ModelReference) {
        let mut models = self.0.models();
        let before = models.entries.len();
        models.entries.retain(|key, _| !key.is_meant_by(reference));
        self.0.metrics.evictions.inc_by((before - models.entries.len()) as u64);
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &CacheMetrics {
        &self.0.metrics
    }

    /// Sets the gauges to what is in memory now.
    pub(super) fn measure(&self) {
        let models = self.0.models();
        let loaded = || models.entries.values().filter_map(|entry| entry.bytes);
        self.0.metrics.models.set(loaded().count() as i64);
        self.0.metrics.bytes.set(loaded().sum::<u64>().cast_signed());
    }
}

impl<M: Send + Sync + 'static> Inner<M> {
    fn models(&self) -> MutexGuard<'_, Models<M>> {
        // Nothing panics between two changes that belong together.
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: Arc<Self>, key: ModelKey, folder: PathBuf, first_use: u64) -> Loading<M> {
        let task = tokio::spawn(async move {
            let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
            let begun = Instant::now();
            let inner = Arc::clone(&self);
            let loaded = tokio::task::spawn_blocking(move || (inner.load)(&folder)).await;
            let duration = begun.elapsed();
            let duration_ms = duration.as_millis();
            self.metrics.load_seconds.observe(duration.as_secs_f64());
            if !matches!(loaded, Ok(Ok(_))) {
                self.metrics.load_failures.inc();
            }
            match loaded {
                Ok(Ok((model, bytes))) => {
                    tracing::info!(model = ?key, bytes, duration_ms, "loaded a model");
                    let dropped = self.models().finish(&key, first_use, bytes, self.budget_bytes);
                    self.metrics.evictions.inc_by(dropped);
                    Ok(Arc::new(model))
                }
                Ok(Err(error)) => {
                    tracing::warn!(model = ?key, duration_ms, %error, "a model could not be loaded");
                    self.models().fail(&key, first_use);
                    Err(EmbedError::Model(Arc::new(error)))
                }
                Err(_) => {
                    tracing::error!(model = ?key, duration_ms, "loading a model panicked or was stopped");
                    self.models().fail(&key, first_use);
                    Err(EmbedError::Failed("the model broke down while it was loaded"))
                }
            }
        });
        async move { task.await.unwrap_or(Err(EmbedError::ShuttingDown)) }.boxed().shared()
    }
}

impl<M> Models<M> {
    /// Notes a load's end and makes room for it; returns how many models it dropped.
    fn finish(&mut self, key: &ModelKey, first_use: u64, bytes: u64, budget_bytes: u64) -> u64 {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.first_use == first_use) {
            entry.bytes = Some(bytes);
        }
        let mut total: u64 = self.entries.values().filter_map(|entry| entry.bytes).sum();
        let mut count = 0;
        while total > budget_bytes {
            let loaded = self.entries.iter().filter(|(other, entry)| *other != key && entry.bytes.is_some());
            let Some(oldest) = loaded.min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone()) else {
                return count;
            };
            tracing::info!(model = ?oldest, "dropped the least recently used model from memory");
            let dropped = self.entries.remove(&oldest).and_then(|entry| entry.bytes);
            total -= dropped.unwrap_or_default();
            count += 1;
        }
        count
    }

    fn fail(&mut self, key: &ModelKey, first_use: u64) {
        if self.entries.get(key).is_some_and(|entry| entry.first_use == first_use) {
            self.entries.remove(key);
        }
    }
}

impl<M> fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("budget_bytes", &self.0.budget_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
