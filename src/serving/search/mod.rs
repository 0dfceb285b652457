//! Search of a dataset's corpus by several models side by side.
//!
//! The corpus is the one that evaluation searches, but that identical passages are one. Its embeddings by a model are
//! computed once, in the background, and kept; a search then embeds its question alone.

mod corpus;
mod ranking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Dataset, DatasetId, FieldError, ModelReference};
use crate::evaluation::metrics::MAX_RANK;
use crate::evaluation::search::{Hit, Search};
use crate::store::StoreError;

use super::resolve::ResolvedModel;
use super::{EmbedError, EmbeddingService, off_thread};
pub(super) use corpus::Corpora;
use corpus::{Corpus, EmbeddedCorpus, unknown_dataset};
use ranking::Ranking;
pub use ranking::{FoundPassage, LeftPassage, Movement};

/// What to search, for what, by which models.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// The question.
    pub query: String,
    /// The models; the first is what the others are compared with.
    pub models: Vec<ModelReference>,
    /// The dataset whose passages are searched.
    pub dataset_id: DatasetId,
    /// Cuts embeddings to this length.
    pub dimensions: Option<usize>,
    /// Passages to find.
    pub top_k: usize,
    /// How long to wait for a corpus that is not embedded yet.
    pub wait: Duration,
}

/// What a search gave.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchOutcome {
    /// The passages.
    Found(SearchResults),
    /// The corpus is still being embedded.
    Preparing(SearchProgress),
}

/// What each model found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SearchResults {
    /// The question.
    pub query: String,
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Distinct passages searched.
    pub passages: usize,
    /// How many of them answer the question, where it is one of the evaluation rows.
    pub relevant_passages: Option<usize>,
    /// Each model's list, in the order asked for.
    pub models: Vec<ModelResults>,
}

/// What one model found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ModelResults {
    /// The model, as it was asked for.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    pub model: String,
    /// The checkpoint or base model that it means.
    pub resolved: String,
    /// The length to which embeddings were cut.
    pub dimension: usize,
    /// The passages, best first.
    pub hits: Vec<FoundPassage>,
    /// What of the first model's list is not in this one.
    pub left: Vec<LeftPassage>,
    /// The best rank of a passage that answers the question, as far as the first 100.
    pub relevant_rank: Option<usize>,
    /// Milliseconds to embed the question.
    pub embed_ms: f64,
    /// Milliseconds to search the corpus.
    pub search_ms: f64,
}

/// How far corpora are embedded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SearchProgress {
    /// The dataset.
    pub dataset_id: DatasetId,
    /// Distinct passages to embed.
    pub passages: usize,
    /// Each model, in the order asked for.
    pub models: Vec<ModelProgress>,
}

/// How far a corpus is embedded by one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelProgress {
    /// The model, as it was asked for.
    pub model: String,
    /// Passages embedded.
    pub embedded: usize,
}

impl EmbeddingService {
    /// Searches; where a corpus is not embedded yet and is not in time, says how far it has come. It is worked on all the
    /// same, and asking again finds it further.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::Invalid`] also for an unknown dataset, and one that is too large.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchOutcome, EmbedError> {
        let dataset = match self.store().get_dataset(request.dataset_id).await {
            Err(StoreError::NotFound { .. }) => return Err(unknown_dataset(request.dataset_id)),
            other => other.map_err(|error| EmbedError::Store(Arc::new(error)))?,
        };
        let models = try_join_all(request.models.iter().map(|model| self.resolved(model))).await?;
        let corpus = self.corpora().texts(self.data_dir(), &dataset).await?;
        for (reference, model) in request.models.iter().zip(&models) {
            self.check(&request, reference, model, &dataset, &corpus).await?;
        }
        let embeddings = request
            .models
            .iter()
            .zip(&models)
            .map(|(reference, model)| self.corpora().embeddings(self, reference, model, dataset.id, &corpus));
        let (makings, progress): (Vec<_>, Vec<_>) = embeddings.unzip();
        match tokio::time::timeout(request.wait, try_join_all(makings)).await {
            Ok(embedded) => self.find(request, models, &corpus, embedded?).await.map(SearchOutcome::Found),
            Err(_) => {
                let models = request.models.iter().zip(progress);
                let models =
                    models.map(|(model, done)| ModelProgress { model: model.to_string(), embedded: done.count() });
                let passages = corpus.passages().len();
                let models = models.collect();
                Ok(SearchOutcome::Preparing(SearchProgress { dataset_id: dataset.id, passages, models }))
            }
        }
    }

    /// Refuses what the model cannot do, before anything is computed.
    async fn check(
        &self,
        request: &SearchRequest,
        reference: &ModelReference,
        model: &ResolvedModel,
        dataset: &Dataset,
        corpus: &Corpus,
    ) -> Result<(), EmbedError> {
        let full = self.inspect(model).await?.dimension;
        if let Some(dimensions) = request.dimensions.filter(|dimensions| *dimensions == 0 || *dimensions > full) {
            let message = format!("{dimensions} is not from 1 to {full}, which is what `{reference}` gives");
            return Err(EmbedError::Invalid(vec![FieldError::new("dimensions", message)]));
        }
        self.corpora().check_embeddings(dataset, corpus.passages().len(), full)
    }

    async fn find(
        &self,
        request: SearchRequest,
        models: Vec<ResolvedModel>,
        corpus: &Arc<Corpus>,
        embedded: Vec<Arc<EmbeddedCorpus>>,
    ) -> Result<SearchResults, EmbedError> {
        let SearchRequest { query, models: references, dataset_id, dimensions, top_k, .. } = request;
        let relevant = corpus.relevant(&query);
        let mut first: Option<Vec<Hit>> = None;
        let mut lists = Vec::with_capacity(references.len());
        for ((reference, model), embedded) in references.iter().zip(models).zip(embedded) {
            let resolved = model.key.reference().to_string();
            let begun = Instant::now();
            let encoder = self.encoder(model).await?;
            let embedding = self.embed_by(&encoder, reference, vec![query.clone()]).await.map_err(of_query)?;
            let embed_ms = milliseconds(begun);
            let begun = Instant::now();
            let dimension = dimensions.unwrap_or(embedded.dimension);
            let hits = off_thread(move || Ok(nearest(embedding, &embedded, dimension))).await?;
            let search_ms = milliseconds(begun);
            let ranking =
                Ranking { passages: corpus.passages(), relevant: relevant.as_deref(), top_k, before: first.as_deref() };
            lists.push(ModelResults {
                model: reference.to_string(),
                resolved,
                dimension,
                hits: ranking.list(&hits),
                left: ranking.left(&hits),
                relevant_rank: ranking.relevant_rank(&hits),
                embed_ms,
                search_ms,
            });
            first.get_or_insert(hits);
        }
        let relevant_passages = relevant.map(|relevant| relevant.len());
        Ok(SearchResults { query, dataset_id, passages: corpus.passages().len(), relevant_passages, models: lists })
    }
}

/// The best passages at a dimension, best first.
fn nearest(embedding: Vec<f32>, corpus: &EmbeddedCorpus, dimension: usize) -> Vec<Hit> {
    let rows: Vec<u32> = (0_u32..).take(corpus.values.len() / corpus.dimension).collect();
    let mut search = Search::new(embedding, corpus.dimension, &[dimension], MAX_RANK);
    let is_whole = search.offer(&corpus.values, &rows, &mut || true);
    debug_assert!(is_whole, "nobody stops it");
    search.finish(&[dimension], |_, hits| hits.to_vec()).into_iter().flatten().flatten().collect()
}

/// The question is the only text of its request.
fn of_query(error: EmbedError) -> EmbedError {
    let rename = |fields: Vec<FieldError>| {
        let rename = |error: FieldError| match error.field.as_str() {
            "inputs" | "inputs[0]" => FieldError::new("query", error.message),
            _ => error,
        };
        fields.into_iter().map(rename).collect()
    };
    match error {
        EmbedError::Invalid(fields) => EmbedError::Invalid(rename(fields)),
        EmbedError::BadTokens(fields) => EmbedError::BadTokens(rename(fields)),
        other => other,
    }
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}
