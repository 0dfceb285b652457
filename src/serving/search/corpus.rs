//! The corpora that are searched: a dataset's passages, and their embeddings by each model, computed once through the
//! serving queue and kept within a budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::data::dataset_files::read_stored;
use crate::data::error::DatasetError;
use crate::domain::{DataDir, Dataset, DatasetId, FieldError, ModelReference};
use crate::evaluation::information_retrieval::RetrievalTask;
use crate::serving::cache::{Cache, Making};
use crate::serving::resolve::{ModelKey, ResolvedModel};
use crate::serving::{EmbedError, EmbeddingService, off_thread};

/// Passages that are queued at once: enough to fill batches, few enough that a client's texts find a place beside them.
const PASSAGES_AT_ONCE: usize = 256;
/// How often in a row a full queue is waited for before the corpus is given up on.
const MOST_REFUSALS: usize = 30;

/// A dataset's passages and questions; each distinct passage stands there once.
pub(super) struct Corpus {
    task: RetrievalTask,
}

impl Corpus {
    /// Reads what evaluation reads.
    fn read(data_dir: &DataDir, id: DatasetId) -> Result<(Self, u64), EmbedError> {
        let rows = |path| read_stored(path).map_err(|error| unreadable(id, &error));
        let (train, eval) = (rows(&data_dir.train_rows(id))?, rows(&data_dir.eval_rows(id))?);
        let task = RetrievalTask::from_pairs(&train, &eval, true);
        let bytes = task.corpus.iter().chain(&task.queries).map(|text| text.len() + size_of::<String>());
        let bytes = bytes.sum::<usize>() as u64;
        Ok((Self { task }, bytes))
    }

    pub(super) fn passages(&self) -> &[String] {
        &self.task.corpus
    }

    /// The passages that answer a question of the evaluation rows, ascending; none where it is not one of them.
    pub(super) fn relevant(&self, query: &str) -> Option<Vec<u32>> {
        let same = self.task.queries.iter().zip(&self.task.relevant).filter(|(text, _)| text.trim() == query.trim());
        let mut relevant: Vec<u32> = same.flat_map(|(_, documents)| documents).copied().collect();
        relevant.sort_unstable();
        relevant.dedup();
        (!relevant.is_empty()).then_some(relevant)
    }
}

fn unreadable(id: DatasetId, error: &DatasetError) -> EmbedError {
    match error {
        // Deleted since it was looked up.
        DatasetError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => unknown_dataset(id),
        error => {
            tracing::error!(dataset = %id, %error, "a dataset's rows cannot be read");
            EmbedError::Failed("the dataset's rows cannot be read")
        }
    }
}

pub(super) fn unknown_dataset(id: DatasetId) -> EmbedError {
    EmbedError::Invalid(vec![FieldError::new("dataset_id", format!("there is no dataset {id}"))])
}

/// A corpus as one model embeds it.
pub(super) struct EmbeddedCorpus {
    /// Length of an embedding, uncut.
    pub(super) dimension: usize,
    /// `[passages, dimension]`, as pooled.
    pub(super) values: Vec<f32>,
}

/// How many passages are embedded.
#[derive(Debug, Default)]
pub(super) struct Embedded(AtomicUsize);

impl Embedded {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is kept of all corpora.
#[derive(Debug)]
pub(in crate::serving) struct Corpora {
    texts: Cache<DatasetId, Corpus>,
    embeddings: Cache<(ModelKey, DatasetId), EmbeddedCorpus, Embedded>,
}

impl Corpora {
    /// Keeps to about `budget_bytes`; a quarter of it is for texts.
    pub(in crate::serving) fn new(budget_bytes: u64) -> Self {
        let texts = budget_bytes / 4;
        Self { texts: Cache::new("corpus", texts), embeddings: Cache::new("corpus's embeddings", budget_bytes - texts) }
    }

    /// The dataset's passages.
    pub(super) async fn texts(&self, data_dir: &DataDir, dataset: &Dataset) -> Result<Arc<Corpus>, EmbedError> {
        check_size(dataset, "its texts take", dataset.size_bytes, self.texts.budget_bytes())?;
        let (id, data_dir) = (dataset.id, data_dir.clone());
        let (reading, _) = self.texts.get(id, |_| off_thread(move || Corpus::read(&data_dir, id)));
        reading.await
    }

    /// Refuses a corpus whose embeddings of this length would not fit.
    pub(super) fn check_embeddings(
        &self,
        dataset: &Dataset,
        passages: usize,
        dimension: usize,
    ) -> Result<(), EmbedError> {
        let bytes = (passages * dimension * size_of::<f32>()) as u64;
        let what = format!("{passages} passages of {dimension} numbers each take");
        check_size(dataset, &what, bytes, self.embeddings.budget_bytes())
    }

    /// The corpus's embeddings by a model, and how far they have come.
    pub(super) fn embeddings(
        &self,
        service: &EmbeddingService,
        reference: &ModelReference,
        model: &ResolvedModel,
        dataset: DatasetId,
        corpus: &Arc<Corpus>,
    ) -> (Making<EmbeddedCorpus>, Arc<Embedded>) {
        let (service, reference) = (service.clone(), reference.clone());
        let (model, corpus) = (model.clone(), Arc::clone(corpus));
        let key = (model.key.clone(), dataset);
        self.embeddings.get(key, |done| async move { embed(&service, &reference, model, &corpus, &done).await })
    }

    /// Forgets a dataset.
    pub(in crate::serving) fn forget_dataset(&self, id: DatasetId) {
        self.texts.remove(|key| *key == id);
        self.embeddings.remove(|(_, dataset)| *dataset == id);
    }

    /// Forgets what the models embedded that a reference may mean.
    pub(in crate::serving) fn forget_model(&self, reference: &ModelReference) {
        self.embeddings.remove(|(model, _)| model.is_meant_by(reference));
    }

    /// Adds what is counted here to a registry.
    pub(in crate::serving) fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.embeddings.metrics().register_corpora(registry);
    }

    /// Brings gauges up to date, for a scrape.
    pub(in crate::serving) fn measure(&self) {
        self.embeddings.measure();
    }
}

fn check_size(dataset: &Dataset, what: &str, bytes: u64, limit: u64) -> Result<(), EmbedError> {
    if bytes <= limit {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "the dataset {} is too large to search: {what} {} MiB, but {} MiB are kept for them; the operator may raise \
         --search-cache-mib",
        dataset.id,
        mib(bytes),
        limit >> 20
    );
    Err(EmbedError::Invalid(vec![FieldError::new("dataset_id", message)]))
}

/// Embeds every passage, a few at a time, so that whoever else embeds has his turn in between.
async fn embed(
    service: &EmbeddingService,
    reference: &ModelReference,
    model: ResolvedModel,
    corpus: &Corpus,
    done: &Embedded,
) -> Result<(EmbeddedCorpus, u64), EmbedError> {
    let encoder = service.encoder(model).await?;
    let dimension = encoder.summary().dimension;
    let mut values = Vec::with_capacity(corpus.passages().len() * dimension);
    for passages in corpus.passages().chunks(PASSAGES_AT_ONCE) {
        let mut refusals = 0;
        let embedded = loop {
            match service.embed_by(&encoder, reference, passages.to_vec()).await {
                Err(EmbedError::Overloaded { retry_after_seconds }) if refusals < MOST_REFUSALS => {
                    refusals += 1;
                    tokio::time::sleep(Duration::from_secs(retry_after_seconds)).await;
                }
                answer => break answer?,
            }
        };
        values.extend(embedded);
        done.0.fetch_add(passages.len(), Ordering::Relaxed);
    }
    let bytes = (values.len() * size_of::<f32>()) as u64;
    Ok((EmbeddedCorpus { dimension, values }, bytes))
}
