//! The models in memory: each loaded once however many ask for it, the least recently used dropped beyond a budget.

use std::path::Path;
use std::sync::Arc;

use crate::domain::ModelReference;
use crate::model::ModelError;

use super::EmbedError;
use super::cache::Cache;
use super::metrics::CacheMetrics;
use super::resolve::{ModelKey, ResolvedModel};

/// Reads a folder; gives the model and the bytes that it takes in memory. Called on a thread that may block.
type LoadModel<M> = dyn Fn(&Path) -> Result<(M, u64), ModelError> + Send + Sync;

/// Models by what they are.
pub(super) struct Registry<M> {
    cache: Cache<ModelKey, M>,
    load: Arc<LoadModel<M>>,
}

impl<M: Send + Sync + 'static> Registry<M> {
    pub(super) fn new(
        budget_bytes: u64,
        load: impl Fn(&Path) -> Result<(M, u64), ModelError> + Send + Sync + 'static,
    ) -> Self {
        Self { cache: Cache::new("model", budget_bytes), load: Arc::new(load) }
    }

    /// The model, loaded where it is not yet.
    ///
    /// # Errors
    /// Where it cannot be loaded.
    pub(super) async fn get(&self, model: ResolvedModel) -> Result<Arc<M>, EmbedError> {
        let ResolvedModel { key, folder } = model;
        let load = Arc::clone(&self.load);
        let (loading, _) = self.cache.get(key, |_| async move {
            match tokio::task::spawn_blocking(move || load(&folder)).await {
                Ok(loaded) => loaded.map_err(|error| EmbedError::Model(Arc::new(error))),
                Err(_) => Err(EmbedError::Failed("the model broke down while it was loaded")),
            }
        });
        loading.await
    }

    /// Forgets a model; who holds it keeps it until done. True where it was there.
    pub(super) fn remove(&self, key: &ModelKey) -> bool {
        self.cache.remove(|other| other == key)
    }

    /// True where a model that the reference may mean is in memory.
    pub(super) fn holds(&self, reference: &ModelReference) -> bool {
        self.cache.holds(|key| key.is_meant_by(reference))
    }

    /// Forgets the models that the reference may mean; who holds one keeps it until done.
    pub(super) fn evict(&self, reference: &ModelReference) {
        self.cache.remove(|key| key.is_meant_by(reference));
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &CacheMetrics {
        self.cache.metrics()
    }

    /// Sets the gauges to what is in memory now.
    pub(super) fn measure(&self) {
        self.cache.measure();
    }
}

impl<M> std::fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("cache", &self.cache).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
