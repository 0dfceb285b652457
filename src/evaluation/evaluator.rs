//! A retrieval task made ready to be run again and again as the weights change: texts are tokenised once per job, each
//! distinct text is embedded once per evaluation, and all dimensions are ranked from that one embedding.

use std::collections::BTreeMap;

use crate::data::text_table::TextTable;
use crate::domain::{EvaluationMetrics, MetricKey};
use crate::model::{ModelError, SentenceEncoder, Workspace};

use super::information_retrieval::RetrievalTask;
use super::metrics::{MAX_RANK, RankedQuery, metrics_at_dim};
use super::search::{Hit, SearchSpace};

/// A retrieval task whose texts are rows of a table.
#[derive(Debug, Clone)]
pub struct RetrievalEvaluator {
    /// The first so many rows of the table are the distinct documents.
    documents: usize,
    /// The first so many rows are all the texts that an evaluation embeds.
    texts: usize,
    /// Where each distinct document stands in the corpus, ascending: more than once where passages are identical.
    copies: Vec<Vec<u32>>,
    /// Each query's row.
    queries: Vec<u32>,
    /// For each query, the corpus indices of what answers it, ascending.
    relevant: Vec<Vec<u32>>,
}

impl RetrievalEvaluator {
    /// Enters the task's texts into `table`, which must be empty; texts entered later are not embedded.
    ///
    /// # Panics
    /// Where the table is not empty.
    #[must_use]
    pub fn new<'a>(task: &'a RetrievalTask, table: &mut TextTable<'a>) -> Self {
        assert!(table.is_empty(), "the task's texts come first");
        let mut copies: Vec<Vec<u32>> = Vec::new();
        for (place, text) in (0_u32..).zip(&task.corpus) {
            let row = table.insert(text) as usize;
            if row == copies.len() {
                copies.push(Vec::with_capacity(1));
            }
            copies[row].push(place);
        }
        let queries = task.queries.iter().map(|text| table.insert(text)).collect();
        let mut relevant = task.relevant.clone();
        relevant.iter_mut().for_each(|documents| documents.sort_unstable());
        Self { documents: copies.len(), texts: table.len(), copies, queries, relevant }
    }

    /// How many texts an evaluation embeds.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Embeds the texts, whose token ids by row are `sequences`, and ranks. `on_progress` is told how many are embedded
    /// after each pack and is asked again while ranking; false stops.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where `on_progress` says so.
    pub fn evaluate(
        &self,
        encoder: &SentenceEncoder,
        sequences: &[Vec<u32>],
        dims: &[usize],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        let embeddings = encoder.encode(&sequences[..self.texts], workspace, on_progress)?;
        self.rank(&embeddings, encoder.summary().dimension, dims, &mut || on_progress(self.texts))
            .ok_or(ModelError::Cancelled)
    }

    /// Metrics by key (`dim_128_cosine_ndcg@10`, …, `sequential_score`) from the texts' embeddings at full size,
    /// `[texts, dimension]`; none where `keep_going` says no.
    #[must_use]
    pub fn rank(
        &self,
        embeddings: &[f32],
        dimension: usize,
        dims: &[usize],
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<BTreeMap<String, f64>> {
        let space = SearchSpace { embeddings, dimension, documents: self.documents };
        let ranked =
            space.search(&self.queries, dims, MAX_RANK, |query, hits| self.ranked_query(query, hits), keep_going)?;
        let mut values = BTreeMap::new();
        for (dim, queries) in dims.iter().zip(ranked) {
            values.extend(metrics_at_dim(*dim, &queries).into_iter().map(|(key, value)| (key.to_string(), value)));
        }
        if let Some(last) = dims.last().and_then(|dim| MetricKey::new(*dim, "ndcg@10")) {
            values.insert("sequential_score".into(), values[&last.to_string()]);
        }
        Some(values)
    }

    /// Puts the copies of each document found back into the list, in the order of score and corpus index, and looks
    /// where the answers stand. No copy among the first can be missing: the first copy of each better document would
    /// stand before it.
    fn ranked_query(&self, query: usize, hits: &[Hit]) -> RankedQuery {
        let mut places: Vec<Hit> = hits
            .iter()
            .flat_map(|hit| {
                let copies = self.copies[hit.document as usize].iter().take(MAX_RANK);
                copies.map(|document| Hit { document: *document, score: hit.score })
            })
            .collect();
        places.sort_unstable();
        places.truncate(MAX_RANK);
        let relevant = &self.relevant[query];
        let found = (0_u32..).zip(&places).filter(|(_, hit)| relevant.binary_search(&hit.document).is_ok());
        RankedQuery { hits: found.map(|(place, _)| place).collect(), relevant: relevant.len() }
    }
}

/// Embeds a task's texts and counts its metrics at every dimension; of epoch 0, step 0. `on_progress` is told how many
/// of how many texts are embedded after each pack, and returns false to stop.
///
/// # Errors
/// Where a text cannot be tokenised, and [`ModelError::Cancelled`] where `on_progress` says so.
pub fn evaluate_model(
    encoder: &SentenceEncoder,
    task: &RetrievalTask,
    dims: &[usize],
    on_progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<EvaluationMetrics, ModelError> {
    let mut table = TextTable::default();
    let evaluator = RetrievalEvaluator::new(task, &mut table);
    let texts = evaluator.texts();
    let sequences = table.tokenize(encoder.tokenizer(), &mut || on_progress(0, texts))?.ok_or(ModelError::Cancelled)?;
    let values = evaluator
        .evaluate(encoder, &sequences, dims, &mut Workspace::default(), &mut |done| on_progress(done, texts))?;
    Ok(EvaluationMetrics { epoch: 0, step: 0, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(task: &RetrievalTask, embed: impl Fn(&str) -> Vec<f32>, dims: &[usize]) -> BTreeMap<String, f64> {
        let mut table = TextTable::default();
        let evaluator = RetrievalEvaluator::new(task, &mut table);
        let embeddings: Vec<f32> = (0..evaluator.texts()).flat_map(|row| embed(table.text(row as u32))).collect();
        evaluator.rank(&embeddings, embeddings.len() / evaluator.texts(), dims, &mut || true).expect("not stopped")
    }

    fn task(queries: &[&str], corpus: &[&str], relevant: &[&[u32]]) -> RetrievalTask {
        RetrievalTask {
            queries: queries.iter().map(ToString::to_string).collect(),
            corpus: corpus.iter().map(ToString::to_string).collect(),
            relevant: relevant.iter().map(|documents| documents.to_vec()).collect(),
            capped_queries: 0,
        }
    }

    /// `x`, `y`, `z` are axes; `x+y` lies between two, nearer to the first.
    fn one_hot(text: &str) -> Vec<f32> {
        let mut embedding = vec![0.0; 3];
        for (weight, axis) in [1.0, 0.9, 0.8].iter().zip(text.trim_start_matches('?').split('+')) {
            embedding["xyz".find(axis).expect("an axis")] = *weight;
        }
        embedding
    }

    #[test]
    fn one_hot_embeddings_rank_as_foreseen() {
        let task = task(&["?x", "?z+y", "?y"], &["x", "y", "z", "x+y"], &[&[0], &[1], &[2, 3]]);
        let values = evaluate(&task, one_hot, &[3]);
        // ?x: x first. ?z+y: z, then y. ?y: y, then x+y (found), then x and z at 0 in corpus order: z last.
        let close = |name: &str, expected: f64| {
            let value = values[&format!("dim_3_cosine_{name}")];
            assert!((value - expected).abs() < 1e-9, "{name}: {value}, not {expected}");
        };
        close("accuracy@1", 1.0 / 3.0);
        close("accuracy@3", 1.0);
        close("recall@3", (1.0 + 1.0 + 0.5) / 3.0);
        close("precision@1", 1.0 / 3.0);
        close("mrr@10", (1.0 + 0.5 + 0.5) / 3.0);
        close("map@100", (1.0 + 0.5 + (0.5 + 0.5) / 2.0) / 3.0);
        let second = 1.0 / 3_f64.log2();
        close("ndcg@10", (1.0 + second + (second + 1.0 / 5_f64.log2()) / (1.0 + second)) / 3.0);
    }

    #[test]
    fn a_shorter_dimension_sees_less_and_the_last_one_gives_the_sequential_score() {
        let task = task(&["?z", "?x"], &["x", "y", "z"], &[&[2], &[0]]);
        let values = evaluate(&task, one_hot, &[3, 2]);
        assert_eq!(values["dim_3_cosine_accuracy@1"], 1.0);
        // Cut to two, ?z and z are zeros, which are like nothing; equal scores go by corpus index.
        assert_eq!(values["dim_2_cosine_accuracy@1"], 0.5);
        assert_eq!(values["sequential_score"], values["dim_2_cosine_ndcg@10"]);
        assert_eq!(values.len(), 2 * MetricKey::NAMES.len() + 1);
    }

    #[test]
    fn identical_passages_compete_by_their_place_in_the_corpus() {
        let corpus = ["y", "x", "x", "x"];
        let task = task(&["?x", "?x", "?x"], &corpus, &[&[1], &[2], &[3]]);
        let values = evaluate(&task, one_hot, &[3]);
        assert!((values["dim_3_cosine_accuracy@1"] - 1.0 / 3.0).abs() < 1e-12);
        assert!((values["dim_3_cosine_mrr@10"] - (1.0 + 0.5 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn more_copies_than_ranks_hide_what_comes_after() {
        let corpus: Vec<&str> = std::iter::repeat_n("x", 150).chain(["x+y"]).collect();
        let task = task(&["?x", "?x", "?x"], &corpus, &[&[99], &[100], &[150]]);
        let values = evaluate(&task, one_hot, &[3]);
        assert!((values["dim_3_cosine_map@100"] - 0.01 / 3.0).abs() < 1e-12);
    }
}
