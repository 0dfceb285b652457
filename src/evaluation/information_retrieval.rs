//! Queries against a corpus, at every Matryoshka dimension.

use std::collections::BTreeMap;

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

/// Metrics by key (`dim_128_cosine_ndcg@10`, …, `sequential_score`) from embeddings at full size:
/// `queries` `[queries, dimension]`, `corpus` `[documents, dimension]`.
#[must_use]
pub fn evaluate(
    _queries: &[f32],
    _corpus: &[f32],
    _dimension: usize,
    _dims: &[usize],
    _relevant: &[Vec<u32>],
) -> BTreeMap<String, f64> {
    todo!("training")
}
