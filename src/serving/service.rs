//! The service that embeds: the handle that the rest of the program holds.
//!
//! A request takes its places among those that may wait, finds its model, is tokenised off the async threads, goes
//! through the queue to the one thread that computes, and comes back as vectors.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::data::tokenization::Token;
use crate::domain::{DataDir, FieldError, ModelReference, ModelSummary, Precision};
use crate::model::{ModelError, Purpose, SentenceEncoder};
use crate::store::Store;

use super::batch::{Computed, Output, Work};
use super::prepare::Preparation;
use super::queue::Queue;
use super::registry::Registry;
use super::resolve::{self, resolve};
use super::{EmbedError, EmbedInput, EmbedRequest, Embeddings, Timings, TokenEmbeddings, thread, vectors};

/// Tokens that are computed at once: enough to keep the cores busy, few enough that nobody waits long for a turn.
pub const MAX_BATCH_TOKENS: usize = 4096;
/// Numbers in an answer of token embeddings; each takes about ten bytes as JSON.
const MAX_TOKEN_NUMBERS: usize = 1 << 23;
/// Text that one request may have taken apart into tokens; the answer is a hundred times larger.
const MAX_TOKENIZE_BYTES: usize = 1 << 20;

/// The service's limits.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Memory for loaded weights; the least recently used model is dropped beyond it. One model is always kept.
    pub cache_bytes: u64,
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
            max_waiting_texts: 8192,
            precision: Precision::Float32,
            timeout: Duration::from_secs(300),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Embeds; clones share the loaded models and the thread.
#[derive(Debug, Clone)]
pub struct EmbeddingService(Arc<Inner>);

struct Inner {
    precision: Precision,
    timeout: Duration,
    store: Store,
    data_dir: DataDir,
    registry: Registry<SentenceEncoder>,
    /// Places for texts that wait; closed when the server stops.
    places: Arc<Semaphore>,
    max_waiting_texts: u32,
    queue: Arc<Queue<SentenceEncoder>>,
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

    /// Embeds.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, EmbedError> {
        let (dimensions, is_normalized) = (request.dimensions, request.normalize);
        let (encoder, tokens, computed, timings) = self.compute(request, Output::Pooled).await?;
        let full = encoder.summary().dimension;
        let dimension = dimensions.unwrap_or(full);
        let mut values = vectors::truncate(computed, full, dimension);
        if is_normalized {
            vectors::normalize(&mut values, dimension);
        }
        let matryoshka_dims = encoder.matryoshka_dims().map(<[usize]>::to_vec);
        Ok(Embeddings { dimension, full_dimension: full, values, tokens, matryoshka_dims, timings })
    }

    /// Embeds every token of the texts; the request's `dimensions` and `normalize` have no meaning here.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::Invalid`] also where the answer would be too large.
    pub async fn embed_tokens(&self, request: EmbedRequest) -> Result<TokenEmbeddings, EmbedError> {
        let request = EmbedRequest { dimensions: None, ..request };
        let (encoder, tokens, values, timings) = self.compute(request, Output::Tokens).await?;
        Ok(TokenEmbeddings { dimension: encoder.summary().dimension, values, tokens, timings })
    }

    /// The tokens of each text with the model's tokenizer, uncut, after one of the model's prompts where it is named.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn tokenize(
        &self,
        model: &ModelReference,
        texts: Vec<String>,
        add_special_tokens: bool,
        prompt_name: Option<&str>,
    ) -> Result<Vec<Vec<Token>>, EmbedError> {
        let place = self.0.place(texts.len())?;
        let invalid = |field: &str, message: String| EmbedError::Invalid(vec![FieldError::new(field, message)]);
        if texts.is_empty() {
            return Err(invalid("inputs", "at least one text is expected".into()));
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        if bytes > MAX_TOKENIZE_BYTES {
            return Err(invalid(
                "inputs",
                format!("{bytes} bytes of text, but {MAX_TOKENIZE_BYTES} at most are taken"),
            ));
        }
        let encoder = self.0.model(model).await?;
        let prompt = match prompt_name {
            None => String::new(),
            Some(name) => {
                let no_prompt =
                    || invalid("prompt_name", super::prepare::no_such_prompt(name, encoder.prompts().keys()));
                encoder.prompts().get(name).cloned().ok_or_else(no_prompt)?
            }
        };
        off_thread(move || {
            let _place = place;
            let tokens = |(index, text): (usize, &String)| {
                let tokens = encoder.tokenizer().tokens(&format!("{prompt}{text}"), add_special_tokens);
                tokens.map_err(|error| invalid(&format!("inputs[{index}]"), error.to_string()))
            };
            texts.iter().enumerate().map(tokens).collect()
        })
        .await
    }

    /// The texts of token ids with the model's tokenizer.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::BadTokens`] where an id is not in the vocabulary.
    pub async fn decode(
        &self,
        model: &ModelReference,
        ids: Vec<Vec<u32>>,
        skip_special_tokens: bool,
    ) -> Result<Vec<String>, EmbedError> {
        let place = self.0.place(ids.len())?;
        let encoder = self.0.model(model).await?;
        off_thread(move || {
            let _place = place;
            let text = |(index, ids): (usize, &Vec<u32>)| {
                let text = encoder.tokenizer().decode(ids, skip_special_tokens);
                text.map_err(|error| {
                    EmbedError::BadTokens(vec![FieldError::new(format!("ids[{index}]"), error.to_string())])
                })
            };
            ids.iter().enumerate().map(text).collect()
        })
        .await
    }

    /// Refuses token ids that the model's tokenizer cannot have made of a text: those outside its vocabulary, and those
    /// without the special tokens that it puts round every text.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::BadTokens`] for the first such input.
    pub async fn check_token_ids(&self, model: &ModelReference, inputs: &[EmbedInput]) -> Result<(), EmbedError> {
        let ids = |input: &EmbedInput| matches!(input, EmbedInput::TokenIds(_));
        if !inputs.iter().any(ids) {
            return Ok(());
        }
        let encoder = self.0.model(model).await?;
        for (index, input) in inputs.iter().enumerate() {
            if let EmbedInput::TokenIds(ids) = input
                && let Err(error) = encoder.tokenizer().check_own(ids)
            {
                return Err(EmbedError::BadTokens(vec![FieldError::new(
                    format!("inputs[{index}]"),
                    error.to_string(),
                )]));
            }
        }
        Ok(())
    }

    /// What a model is, from its files alone: it is not loaded.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn describe(&self, model: &ModelReference) -> Result<ModelSummary, EmbedError> {
        let folder = resolve(&self.0.store, &self.0.data_dir, model).await?.folder;
        off_thread(move || SentenceEncoder::inspect(&folder).map_err(|error| EmbedError::Model(Arc::new(error)))).await
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
        let resolved = resolve(&self.0.store, &self.0.data_dir, model).await?;
        Ok(self.0.registry.remove(&resolved.key))
    }

    /// Whether a base model or a checkpoint is in memory.
    #[must_use]
    pub fn is_loaded(&self, model: &ModelReference) -> bool {
        self.0.registry.holds(model)
    }

    /// Drops a model from memory, such as before its files are deleted; requests under way end with it.
    pub async fn evict(&self, model: &ModelReference) {
        self.0.registry.evict(model);
    }

    /// Adds what is counted here to a registry.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.0.queue.metrics.register(registry);
        self.0.registry.metrics().register(registry);
    }

    /// Brings gauges up to date, for a scrape.
    pub fn measure(&self) {
        self.0.queue.measure();
        self.0.registry.measure();
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

/// What a request computed: by which model, each input's tokens, the numbers, where the time went.
type Computation = (Arc<SentenceEncoder>, Vec<usize>, Vec<f32>, Timings);

impl EmbeddingService {
    async fn compute(&self, request: EmbedRequest, output: Output) -> Result<Computation, EmbedError> {
        let place = self.0.place(request.inputs.len())?;
        let limit = self.0.timeout;
        // A caller who is given up on has left: the queue skips what is not computed yet.
        let computed = tokio::time::timeout(limit, self.compute_in(place, request, output)).await;
        computed.unwrap_or(Err(EmbedError::TimedOut { seconds: limit.as_secs() }))
    }

    async fn compute_in(
        &self,
        place: OwnedSemaphorePermit,
        request: EmbedRequest,
        output: Output,
    ) -> Result<Computation, EmbedError> {
        let encoder = self.0.model(&request.model).await?;
        let (tokenizing, queue) = (Arc::clone(&encoder), Arc::clone(&self.0.queue));
        // The place goes along: a caller who leaves does not make room while his texts are still worked on.
        let (tokens, tokenization, answer) = off_thread(move || {
            let begun = Instant::now();
            let full = tokenizing.summary().dimension;
            let preparation = Preparation::new(tokenizing.tokenizer(), tokenizing.prompts(), full, &request)?;
            let sequences = preparation.token_ids(request.inputs)?;
            let tokens: Vec<usize> = sequences.iter().map(Vec::len).collect();
            check_answer(output, tokens.iter().sum(), full)?;
            let tokenization = begun.elapsed();
            let (work, answer) = Work::new(tokenizing, output, sequences, place);
            queue.push([work]);
            Ok((tokens, tokenization, answer))
        })
        .await?;
        // The sender is dropped unused only where the thread has died.
        let Computed { values, queue, inference } = answer.await.unwrap_or(Err(EmbedError::ShuttingDown))?;
        Ok((encoder, tokens, values, Timings { tokenization, queue, inference }))
    }
}

/// Refuses what would answer with more numbers than anybody reads.
fn check_answer(output: Output, tokens: usize, dimension: usize) -> Result<(), EmbedError> {
    if output == Output::Pooled || tokens * dimension <= MAX_TOKEN_NUMBERS {
        return Ok(());
    }
    let message = format!(
        "{tokens} tokens of {dimension} numbers each, but {MAX_TOKEN_NUMBERS} numbers at most are answered; send fewer texts"
    );
    Err(EmbedError::Invalid(vec![FieldError::new("inputs", message)]))
}

impl Inner {
    fn place(&self, texts: usize) -> Result<OwnedSemaphorePermit, EmbedError> {
        let places = u32::try_from(texts).unwrap_or(u32::MAX).min(self.max_waiting_texts);
        Arc::clone(&self.places).try_acquire_many_owned(places).map_err(|error| match error {
            TryAcquireError::NoPermits => {
                self.queue.metrics.refused.inc();
                EmbedError::Overloaded { retry_after_seconds: self.queue.retry_after_seconds() }
            }
            TryAcquireError::Closed => EmbedError::ShuttingDown,
        })
    }

    async fn model(&self, reference: &ModelReference) -> Result<Arc<SentenceEncoder>, EmbedError> {
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

/// Work of some milliseconds that must not hold up other requests.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbedError> + Send + 'static,
) -> Result<T, EmbedError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(EmbedError::Failed("the tokenizer broke down on the request")))
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
