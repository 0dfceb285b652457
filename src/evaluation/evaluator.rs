//! A retrieval task made ready to be run again and again as the weights change: texts are tokenised once per job, each
//! distinct query and document is embedded once per evaluation, and all dimensions are ranked from that one embedding.
//!
//! Memory does not grow with the corpus beyond token ids and a few numbers for each document: queries are embedded first
//! and stay, documents are embedded a chunk at a time, searched, and let go.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::data::text_table::TextTable;
use crate::domain::{EvaluationMetrics, MetricKey};
use crate::model::{ModelError, SentenceEncoder, Workspace};

use super::information_retrieval::RetrievalTask;
use super::metrics::{MAX_RANK, RankedQuery, metrics_at_dim};
use super::retriever::{HostRetriever, Retriever};
use super::search::Hit;

/// Documents whose embeddings are held at once: 12 MB of MiniLM's.
const DOCUMENTS_AT_ONCE: usize = 8192;
/// Queries searched for at once. The lists of what they find take up to 800 bytes for each query and dimension, so up to
/// 210 MB for each dimension; more queries are searched for in another pass, for which documents are embedded again.
const QUERIES_AT_ONCE: usize = 1 << 18;

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rankings {
    /// Each dimension with the first [`MAX_RANK`] documents for each query, best first, by their place in the corpus.
    pub by_dim: Vec<(usize, Vec<Vec<Hit>>)>,
}

/// A retrieval task whose texts are rows of a table.
#[derive(Debug, Clone)]
pub struct RetrievalEvaluator {
    /// The first so many rows of the table are the distinct documents.
    documents: usize,
    /// How many texts an evaluation embeds.
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
        let queries: Vec<u32> = task.queries.iter().map(|text| table.insert(text)).collect();
        let texts = queries.chunks(QUERIES_AT_ONCE).map(|queries| distinct(queries).len() + copies.len()).sum();
        let mut relevant = task.relevant.clone();
        relevant.iter_mut().for_each(|documents| documents.sort_unstable());
        Self { documents: copies.len(), texts, copies, queries, relevant }
    }

    /// How many texts an evaluation embeds.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.texts
    }

    /// Embeds the texts, whose token ids by row are `sequences`, and ranks; puts what was found into `rankings`, where
    /// somebody wants it. `on_progress` is told how many are embedded after each pack and is asked again while ranking;
    /// false stops.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where `on_progress` says so.
    pub fn evaluate(
        &self,
        encoder: &SentenceEncoder,
        sequences: &[Vec<u32>],
        dims: &[usize],
        workspace: &mut Workspace,
        rankings: Option<&mut Rankings>,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        let mut retriever = HostRetriever::new(encoder, sequences, dims, workspace, on_progress);
        self.evaluate_with(&mut retriever, sequences, dims, rankings)
    }

    /// As [`RetrievalEvaluator::evaluate`], by whatever embeds and searches.
    ///
    /// # Errors
    /// As the retriever says.
    pub(crate) fn evaluate_with(
        &self,
        retriever: &mut dyn Retriever,
        sequences: &[Vec<u32>],
        dims: &[usize],
        rankings: Option<&mut Rankings>,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        // Longest first over the whole corpus, so that the packs of a chunk hold texts of about one length.
        let mut documents: Vec<u32> = (0_u32..).take(self.documents).collect();
        documents.sort_by_key(|row| Reverse(sequences[*row as usize].len()));
        self.rank(&documents, dims, rankings, retriever)
    }

    /// Metrics by key (`dim_128_cosine_ndcg@10`, …, `sequential_score`). `documents` is the order in which
    /// the retriever is offered the documents, which does not matter to the result.
    fn rank(
        &self,
        documents: &[u32],
        dims: &[usize],
        mut rankings: Option<&mut Rankings>,
        retriever: &mut dyn Retriever,
    ) -> Result<BTreeMap<String, f64>, ModelError> {
        let mut ranked: Vec<Vec<RankedQuery>> = vec![Vec::with_capacity(self.queries.len()); dims.len()];
        let keep = rankings.is_some();
        if let Some(rankings) = &mut rankings {
            rankings.by_dim = dims.iter().map(|dim| (*dim, Vec::with_capacity(self.queries.len()))).collect();
        }
        for (group, queries) in self.queries.chunks(QUERIES_AT_ONCE).enumerate() {
            let texts = distinct(queries);
            let place = |row: &u32| texts.binary_search(row).expect("it is among them");
            retriever.begin(&texts, &queries.iter().map(place).collect::<Vec<_>>())?;
            for rows in documents.chunks(DOCUMENTS_AT_ONCE) {
                retriever.offer(rows)?;
            }
            let first = group * QUERIES_AT_ONCE;
            let found = retriever.finish(&|query, hits| {
                let places = self.places(hits);
                (self.ranked_query(first + query, &places), if keep { places } else { Vec::new() })
            })?;
            for (place, found) in found.into_iter().enumerate() {
                for (query, places) in found {
                    ranked[place].push(query);
                    if let Some(rankings) = &mut rankings {
                        rankings.by_dim[place].1.push(places);
                    }
                }
            }
        }
        let mut values = BTreeMap::new();
        for (dim, queries) in dims.iter().zip(ranked) {
            values.extend(metrics_at_dim(*dim, &queries).into_iter().map(|(key, value)| (key.to_string(), value)));
        }
        if let Some(last) = dims.last().and_then(|dim| MetricKey::new(*dim, "ndcg@10")) {
            values.insert("sequential_score".into(), values[&last.to_string()]);
        }
        Ok(values)
    }

    /// Puts the copies of each document found back into the list, in the order of score and corpus index. No copy among
    /// the first can be missing: the first copy of each better document would stand before it.
    fn places(&self, hits: &[Hit]) -> Vec<Hit> {
        let mut places: Vec<Hit> = hits
            .iter()
            .flat_map(|hit| {
                let copies = self.copies[hit.document as usize].iter().take(MAX_RANK);
                copies.map(|document| Hit { document: *document, score: hit.score })
            })
            .collect();
        places.sort_unstable();
        places.truncate(MAX_RANK);
        places
    }

    /// Looks where the answers stand.
    fn ranked_query(&self, query: usize, places: &[Hit]) -> RankedQuery {
        let relevant = &self.relevant[query];
        let found = (0_u32..).zip(places).filter(|(_, hit)| relevant.binary_search(&hit.document).is_ok());
        RankedQuery { hits: found.map(|(place, _)| place).collect(), relevant: relevant.len() }
    }
}

/// Each row once, ascending.
fn distinct(rows: &[u32]) -> Vec<u32> {
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Embeds a task's texts and counts its metrics at every dimension; of epoch 0, step 0. Puts what was found into
/// `rankings`, where somebody wants it. `on_progress` is told how many of how many texts are embedded after each pack, and
/// returns false to stop.
///
/// # Errors
/// Where a text cannot be tokenised, and [`ModelError::Cancelled`] where `on_progress` says so.
pub fn evaluate_model(
    encoder: &SentenceEncoder,
    task: &RetrievalTask,
    dims: &[usize],
    rankings: Option<&mut Rankings>,
    on_progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<EvaluationMetrics, ModelError> {
    let mut table = TextTable::default();
    let evaluator = RetrievalEvaluator::new(task, &mut table);
    let texts = evaluator.texts();
    let sequences = table.tokenize(encoder.tokenizer(), &mut || on_progress(0, texts))?.ok_or(ModelError::Cancelled)?;
    let mut workspace = Workspace::default();
    let mut on_progress = |done| on_progress(done, texts);
    let values = evaluator.evaluate(encoder, &sequences, dims, &mut workspace, rankings, &mut on_progress)?;
    Ok(EvaluationMetrics { epoch: 0, step: 0, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::retriever::{Found, With};
    use crate::evaluation::search::Search;

    /// Embeds texts by a function, and counts them.
    struct Texts<'a, F> {
        table: &'a TextTable<'a>,
        embed: F,
        dims: &'a [usize],
        search: Option<Search>,
        embedded: usize,
    }

    impl<F: Fn(&str) -> Vec<f32>> Texts<'_, F> {
        fn embed(&mut self, rows: &[u32]) -> Vec<f32> {
            self.embedded += rows.len();
            assert!(rows.len() <= DOCUMENTS_AT_ONCE, "{} embeddings at once", rows.len());
            rows.iter().flat_map(|row| (self.embed)(self.table.text(*row))).collect()
        }
    }

    impl<F: Fn(&str) -> Vec<f32>> Retriever for Texts<'_, F> {
        fn begin(&mut self, rows: &[u32], queries: &[usize]) -> Result<(), ModelError> {
            let embeddings = self.embed(rows);
            let dimension = embeddings.len() / rows.len();
            let queries = queries.iter().flat_map(|place| &embeddings[place * dimension..][..dimension]).copied();
            self.search = Some(Search::new(queries.collect(), dimension, self.dims, MAX_RANK));
            Ok(())
        }

        fn offer(&mut self, rows: &[u32]) -> Result<(), ModelError> {
            let embeddings = self.embed(rows);
            assert!(self.search.as_mut().expect("begun").offer(&embeddings, rows, &mut || true));
            Ok(())
        }

        fn finish(&mut self, with: &With<'_>) -> Result<Found, ModelError> {
            Ok(self.search.as_ref().expect("begun").finish(self.dims, with))
        }
    }

    fn evaluate(task: &RetrievalTask, embed: impl Fn(&str) -> Vec<f32>, dims: &[usize]) -> BTreeMap<String, f64> {
        let mut table = TextTable::default();
        let evaluator = RetrievalEvaluator::new(task, &mut table);
        let documents: Vec<u32> = (0..evaluator.documents as u32).rev().collect();
        let mut retriever = Texts { table: &table, embed, dims, search: None, embedded: 0 };
        let mut rankings = Rankings::default();
        let values = evaluator.rank(&documents, dims, Some(&mut rankings), &mut retriever);
        let values = values.expect("not stopped");
        assert!(rankings.by_dim.iter().map(|(dim, _)| dim).eq(dims), "{dims:?}");
        for (_, lists) in &rankings.by_dim {
            assert_eq!(lists.len(), task.queries.len());
            assert!(lists.iter().all(|hits| hits.len() == MAX_RANK.min(task.corpus.len()) && hits.is_sorted()));
        }
        assert_eq!(retriever.embedded, evaluator.texts());
        values
    }

    fn task(queries: &[&str], corpus: &[&str], relevant: &[&[u32]]) -> RetrievalTask {
        RetrievalTask {
            queries: queries.iter().map(ToString::to_string).collect(),
            corpus: corpus.iter().map(ToString::to_string).collect(),
            relevant: relevant.iter().map(|documents| documents.to_vec()).collect(),
            query_ids: queries.iter().map(ToString::to_string).collect(),
            document_ids: (0..corpus.len()).map(|place| place.to_string()).collect(),
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

    /// However large the corpus, `evaluate` above sees to it that no more than a chunk is embedded at once.
    #[test]
    fn a_corpus_of_many_chunks_is_ranked_as_a_whole() {
        let corpus: Vec<String> = (0..5 * DOCUMENTS_AT_ONCE + 7).map(|number| number.to_string()).collect();
        let corpus: Vec<&str> = corpus.iter().map(String::as_str).collect();
        // The last one is also a document.
        let queries = ["?40000", "?8191", "?8192", "?0", "?40966", "20000"];
        let task = task(&queries, &corpus, &[&[40_000], &[8191], &[8192], &[0], &[40_966], &[20_000]]);
        // Directions scattered by their number, so far apart that no two look alike in float32.
        let embed = |text: &str| {
            let number: u64 = text.trim_start_matches('?').parse().expect("a number");
            let scatter = |place: u64| {
                let mixed = (number * 8 + place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..8).map(scatter).collect()
        };
        let values = evaluate(&task, embed, &[8]);
        assert_eq!(values["dim_8_cosine_accuracy@1"], 1.0, "{values:?}");
    }
}
