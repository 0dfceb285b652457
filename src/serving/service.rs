//! The service that embeds: the handle that the rest of the program holds, which models it has in memory, how much may
//! wait. What it answers stands in `embed` and `tokens`.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::domain::{DataDir, DatasetId, ModelReference, ModelSummary, Precision};
use crate::model::{ModelError, Purpose, SentenceEncoder};
use crate::store::Store;

use super::queue::Queue;
use super::registry::Registry;
use super::resolve::{self, ResolvedModel, resolve};
use super::search::Corpora;
use super::{EmbedError, off_thread, thread};

/// Tokens that are computed at once: enough to keep the cores busy, few enough that nobody waits long for a turn.
pub const MAX_BATCH_TOKENS: usize = 4096;

/// The service's limits.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Memory for loaded weights; the least recently used model is dropped beyond it. One model is always kept.
    pub cache_bytes: u64,
    /// Memory for corpora that are searched, texts and embeddings; the least recently used is dropped beyond it, and one
    /// that is larger is refused.
    pub search_cache_bytes: u64,
    /// Texts that may wait; more are refused with [`EmbedError::Overloaded`]. A larger request is let in when nothing
    /// else waits.
    pub max_waiting_texts: usize,
    /// The numbers that models compute in.
    pub precision: Precision,
    /// How long a request may take.
    pub timeout: Duration,
    /// Threads that compute; they are apart from those that train.
    pub threads: usize,
}

impl Default for ServingOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 2 << 30,
            search_cache_bytes: 512 << 20,
            max_waiting_texts: 8192,
            precision: Precision::Float32,
            timeout: Duration::from_secs(300),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Embeds; clones share the loaded models and the thread.
#[derive(Debug, Clone)]
pub struct EmbeddingService(pub(super) Arc<Inner>);

pub(super) struct Inner {
    precision: Precision,
    pub(super) timeout: Duration,
    store: Store,
    data_dir: DataDir,
    registry: Registry<SentenceEncoder>,
    corpora: Corpora,
    /// Places for texts that wait; closed when the server stops.
    places: Arc<Semaphore>,
    max_waiting_texts: u32,
    pub(super) queue: Arc<Queue<SentenceEncoder>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddingService {
    /// Starts the thread; models are loaded when they are first asked for.
    #[must_use]
    pub fn start(store: Store, data_dir: DataDir, options: ServingOptions) -> Self {
        let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
        let thread = thread::start(Arc::clone(&queue), options.threads);
        let thread = thread.expect("a system that cannot start a thread cannot serve");
        let max_waiting_texts = u32::try_from(options.max_waiting_texts).unwrap_or(u32::MAX).max(1);
        Self(Arc::new(Inner {
            store,
            data_dir,
            registry: Registry::new(options.cache_bytes, move |folder| load(folder, options.precision)),
            corpora: Corpora::new(options.search_cache_bytes),
            precision: options.precision,
            timeout: options.timeout,
            places: Arc::new(Semaphore::new(max_waiting_texts as usize)),
            max_waiting_texts,
            queue,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// The numbers that it computes in.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// What a model is, from its files alone: it is not loaded.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn describe(&self, model: &ModelReference) -> Result<ModelSummary, EmbedError> {
        self.inspect(&self.resolved(model).await?).await
    }

    /// Texts that may wait.
    #[must_use]
    pub fn max_waiting_texts(&self) -> u32 {
        self.0.max_waiting_texts
    }

    /// The model that a request means which names none: the one base model that is ready.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] for the field `model`, with the choices, where there are several or none.
    pub async fn default_model(&self) -> Result<ModelReference, EmbedError> {
        resolve::only_base_model(&self.0.store).await
    }

    /// Takes a model into memory where it is not there yet; concurrent callers wait for one load.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn load(&self, model: &ModelReference) -> Result<(), EmbedError> {
        self.0.model(model).await.map(drop)
    }

    /// Drops a model from memory; requests under way end with it. True where it was there.
    ///
    /// # Errors
    /// [`EmbedError::UnknownModel`], [`EmbedError::NotReady`], [`EmbedError::Store`].
    pub async fn unload(&self, model: &ModelReference) -> Result<bool, EmbedError> {
        Ok(self.0.registry.remove(&self.resolved(model).await?.key))
    }

    /// Whether a base model or a checkpoint is in memory.
    #[must_use]
    pub fn is_loaded(&self, model: &ModelReference) -> bool {
        self.0.registry.holds(model)
    }

    /// Drops a model and what it embedded from memory, such as before its files are deleted; requests under way end with
    /// it.
    pub async fn evict(&self, model: &ModelReference) {
        self.0.registry.evict(model);
        self.0.corpora.forget_model(model);
    }

    /// Drops a dataset's corpus from memory.
    pub fn forget_dataset(&self, id: DatasetId) {
        self.0.corpora.forget_dataset(id);
    }

    /// Adds what is counted here to a registry.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.0.queue.metrics.register(registry);
        self.0.registry.metrics().register_models(registry);
        self.0.corpora.register_metrics(registry);
    }

    /// Brings gauges up to date, for a scrape.
    pub fn measure(&self) {
        self.0.queue.measure();
        self.0.registry.measure();
        self.0.corpora.measure();
    }

    /// Answers what waits with [`EmbedError::ShuttingDown`] and ends the thread.
    pub async fn shutdown(&self) {
        self.0.places.close();
        self.0.queue.close();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(|| thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the thread that embeds had died");
            }
        }
    }
}

impl EmbeddingService {
    /// What a name means at this moment.
    pub(super) async fn resolved(&self, model: &ModelReference) -> Result<ResolvedModel, EmbedError> {
        resolve(&self.0.store, &self.0.data_dir, model).await
    }

    /// What a model is, from its files alone.
    pub(super) async fn inspect(&self, model: &ResolvedModel) -> Result<ModelSummary, EmbedError> {
        let folder = model.folder.clone();
        off_thread(move || SentenceEncoder::inspect(&folder).map_err(|error| EmbedError::Model(Arc::new(error)))).await
    }

    /// A model in memory, loaded where it is not yet.
    pub(super) async fn encoder(&self, model: ResolvedModel) -> Result<Arc<SentenceEncoder>, EmbedError> {
        self.0.registry.get(model).await
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn data_dir(&self) -> &DataDir {
        &self.0.data_dir
    }

    pub(super) fn corpora(&self) -> &Corpora {
        &self.0.corpora
    }
}

impl Inner {
    /// Gives a computation the time that a request may take.
    pub(super) async fn in_time<T>(
        &self,
        computed: impl Future<Output = Result<T, EmbedError>>,
    ) -> Result<T, EmbedError> {
        // A caller who is given up on has left: the queue skips what is not computed yet.
        let computed = tokio::time::timeout(self.timeout, computed).await;
        computed.unwrap_or(Err(EmbedError::TimedOut { seconds: self.timeout.as_secs() }))
    }

    /// Takes places for texts among those that may wait, or refuses them at once.
    pub(super) fn place(&self, texts: usize) -> Result<OwnedSemaphorePermit, EmbedError> {
        let places = u32::try_from(texts).unwrap_or(u32::MAX).min(self.max_waiting_texts);
        Arc::clone(&self.places).try_acquire_many_owned(places).map_err(|error| match error {
            TryAcquireError::NoPermits => {
                self.queue.metrics.refused.inc();
                EmbedError::Overloaded { retry_after_seconds: self.queue.retry_after_seconds() }
            }
            TryAcquireError::Closed => EmbedError::ShuttingDown,
        })
    }

    /// The model that a name means at this moment, in memory.
    pub(super) async fn model(&self, reference: &ModelReference) -> Result<Arc<SentenceEncoder>, EmbedError> {
        let mut resolved = resolve(&self.store, &self.data_dir, reference).await?;
        loop {
            let loaded = self.registry.get(resolved.clone()).await;
            let Err(EmbedError::Model(error)) = loaded else { return loaded };
            // A job that trains may have found a better checkpoint and deleted this one meanwhile.
            let now = resolve(&self.store, &self.data_dir, reference).await?;
            if now == resolved {
                return Err(EmbedError::Model(error));
            }
            resolved = now;
        }
    }
}

fn load(folder: &Path, precision: Precision) -> Result<(SentenceEncoder, u64), ModelError> {
    let encoder = SentenceEncoder::load_in(folder, precision, Purpose::Inference)?;
    let bytes = encoder.bytes() as u64;
    Ok((encoder, bytes))
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingService").field("registry", &self.registry).finish_non_exhaustive()
    }
}
