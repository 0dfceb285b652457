//! Queries against a corpus, at every Matryoshka dimension.

use crate::domain::EvaluationMetrics;
use crate::model::{ModelError, SentenceEncoder};

/// What is asked of what, and which documents answer.
#[derive(Debug, Clone)]
pub struct RetrievalTask {
    /// Texts asked with.
    pub queries: Vec<String>,
    /// Texts searched.
    pub corpus: Vec<String>,
    /// For each query, the indices in `corpus` of the documents that answer it.
    pub relevant: Vec<Vec<u32>>,
    /// Queries whose score identical passages cap: their positive stands in the corpus more than once, and only
    /// one of the copies counts. 0 where the corpus is deduplicated.
    pub capped_queries: usize,
}

impl RetrievalTask {
    /// Queries are the evaluation rows' anchors; the corpus is every positive, training rows first.
    #[must_use]
    pub fn from_pairs(
        _train: &[crate::domain::Pair],
        _eval: &[crate::domain::Pair],
        _deduplicate_corpus: bool,
    ) -> Self {
        todo!("training")
    }
}

/// Embeds a task's texts and counts its metrics at every dimension; of epoch 0, step 0. `on_progress` is told how many
/// of how many texts are embedded after each pack, and returns false to stop.
///
/// # Errors
/// Where a text cannot be tokenised, and [`ModelError::Cancelled`] where `on_progress` says so.
pub fn evaluate_model(
    _encoder: &SentenceEncoder,
    _task: &RetrievalTask,
    _dims: &[usize],
    _on_progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<EvaluationMetrics, ModelError> {
    todo!("training")
}
