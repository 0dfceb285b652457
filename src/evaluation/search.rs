//! Exact search: the best documents for each query at every Matryoshka dimension, in one pass over the documents, which
//! come in chunks of any size and order and are let go afterwards.
//!
//! Blocks of queries meet blocks of documents; a block's dot products grow from the smallest dimension to the largest,
//! and at each one the scores are read off. Of the score matrix never more than one block per thread exists, and of the
//! documents no more than one chunk.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::kernels::similarity::add_dot_products;

/// Queries of one block: enough that packing documents for the product pays.
const QUERY_BLOCK: usize = 64;
/// Documents of one block: 64 × 1,024 scores fit a core's second-level cache.
const DOCUMENT_BLOCK: usize = 1024;
/// Blocks that each core takes before the caller is asked whether to go on.
const BLOCKS_BETWEEN_ASKING: usize = 8;

/// A document found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its row.
    pub document: u32,
    /// Its cosine similarity to the query.
    pub score: f32,
}

impl Eq for Hit {}

impl Ord for Hit {
    /// The better hit is the less: higher score, then lower row.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.document.cmp(&other.document))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A search under way: queries at every dimension, and the best documents that they have met.
#[derive(Debug)]
pub struct Search {
    /// `[queries, dimension]`.
    queries: Vec<f32>,
    dimension: usize,
    /// Lengths to which embeddings are cut.
    ascending: Vec<usize>,
    /// One over the length of each query cut to each dimension, `[queries, dims]`.
    scales: Vec<f32>,
    /// `[queries, dims]`.
    best: Vec<Best>,
}

impl Search {
    /// Will find the `k` best documents for each query (`[queries, dimension]`) by cosine similarity of embeddings cut
    /// to each of `dims`.
    ///
    /// # Panics
    /// Where a dimension is not from 1 to the embeddings' own.
    #[must_use]
    pub fn new(queries: Vec<f32>, dimension: usize, dims: &[usize], k: usize) -> Self {
        assert!(dims.iter().all(|dim| (1..=dimension).contains(dim)), "{dims:?} of {dimension}");
        let mut ascending = dims.to_vec();
        ascending.sort_unstable();
        let scales: Vec<f32> = queries.chunks_exact(dimension).flat_map(|row| scales(row, &ascending)).collect();
        let best = scales.iter().map(|_| Best::new(k)).collect();
        Self { queries, dimension, ascending, scales, best }
    }

    /// Meets every query with a chunk of documents (`[rows.len(), dimension]`); `rows` names them, none twice. The
    /// result is the same in whatever chunks and order documents come, and for any number of cores. `keep_going` is
    /// asked now and then; once it says no, the answer is false and the search of no use any more.
    ///
    /// # Panics
    /// Where there are not as many documents as names.
    #[must_use]
    pub fn offer(&mut self, documents: &[f32], rows: &[u32], keep_going: &mut dyn FnMut() -> bool) -> bool {
        let (dimension, dims) = (self.dimension, self.ascending.len());
        assert_eq!(documents.len(), rows.len() * dimension, "each document has a name");
        let scales: Vec<Vec<f32>> =
            documents.par_chunks_exact(dimension).map(|row| scales(row, &self.ascending).collect()).collect();
        let chunk = Chunk { documents, rows, dimension, ascending: &self.ascending, scales: &scales };
        // The caller may only be asked from its own thread, so blocks go to the cores a few at a time.
        let at_once = QUERY_BLOCK * BLOCKS_BETWEEN_ASKING * rayon::current_num_threads();
        let groups = self.queries.chunks(at_once * dimension);
        let groups = groups.zip(self.scales.chunks(at_once * dims)).zip(self.best.chunks_mut(at_once * dims));
        for ((queries, scales), best) in groups {
            if !keep_going() {
                return false;
            }
            let blocks = queries.par_chunks(QUERY_BLOCK * dimension).zip(scales.par_chunks(QUERY_BLOCK * dims));
            let blocks = blocks.zip(best.par_chunks_mut(QUERY_BLOCK * dims));
            blocks.for_each_init(Vec::new, |room, ((queries, scales), best)| chunk.meet(queries, scales, best, room));
        }
        true
    }

    /// Hands what was found for each query, best first and equal scores by row, to `with`, whose results come back as
    /// `[dims][queries]`. `dims` are among those of the search.
    pub fn finish<T: Send>(&self, dims: &[usize], with: impl Fn(usize, &[Hit]) -> T + Sync) -> Vec<Vec<T>> {
        let count = self.ascending.len();
        let of_dim = |dim: &usize| {
            let place = self.ascending.binary_search(dim).expect("it is among them");
            let lists = self.best.par_chunks(count).enumerate();
            lists.map(|(query, best)| with(query, &best[place].hits.clone().into_sorted_vec())).collect()
        };
        dims.iter().map(of_dim).collect()
    }
}

/// Documents at hand.
struct Chunk<'a> {
    documents: &'a [f32],
    rows: &'a [u32],
    dimension: usize,
    ascending: &'a [usize],
    /// One over the length of each document cut to each dimension, `[documents][dims]`.
    scales: &'a [Vec<f32>],
}

impl Chunk<'_> {
    /// Meets a block of queries; `scores` is room for their products.
    fn meet(&self, queries: &[f32], query_scales: &[f32], best: &mut [Best], scores: &mut Vec<f32>) {
        let dims = self.ascending.len();
        let blocks = self.documents.chunks(DOCUMENT_BLOCK * self.dimension);
        let blocks = blocks.zip(self.rows.chunks(DOCUMENT_BLOCK)).zip(self.scales.chunks(DOCUMENT_BLOCK));
        for ((documents, rows), scales) in blocks {
            scores.clear();
            scores.resize(query_scales.len() / dims * rows.len(), 0.0);
            let mut start = 0;
            for (dim, end) in self.ascending.iter().enumerate() {
                add_dot_products(queries, documents, self.dimension, start..*end, scores);
                start = *end;
                for (query, scores) in scores.chunks(rows.len()).enumerate() {
                    let query_scale = query_scales[query * dims + dim];
                    let best = &mut best[query * dims + dim];
                    for ((row, score), scales) in rows.iter().zip(scores).zip(scales) {
                        best.offer(*row, *score * scales[dim] * query_scale);
                    }
                }
            }
        }
    }
}

/// One over the length of a row cut to each dimension; 0 for a row of zeros, whose similarity to anything is then 0.
fn scales(row: &[f32], ascending: &[usize]) -> impl Iterator<Item = f32> {
    let mut squares = 0.0_f64;
    let mut start = 0;
    let scale = move |end: &usize| {
        squares += row[start..*end].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        start = *end;
        if squares > 0.0 { (1.0 / squares.sqrt()) as f32 } else { 0.0 }
    };
    ascending.iter().map(scale)
}

/// The `k` best hits so far, the worst of them on top.
#[derive(Debug)]
struct Best {
    k: usize,
    hits: BinaryHeap<Hit>,
    /// No lower score comes in.
    least: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, hits: BinaryHeap::new(), least: f32::NEG_INFINITY }
    }

    #[inline(always)]
    fn offer(&mut self, document: u32, score: f32) {
        // Nearly all documents end here. What is not a number is not less than anything.
        if score < self.least {
            return;
        }
        self.take(document, score);
    }

    fn take(&mut self, document: u32, score: f32) {
        // A diverged model's embeddings are not numbers; such a document comes last instead of anywhere. Adding 0 turns
        // -0 into 0, which would otherwise be two scores.
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        let hit = Hit { document, score };
        if self.hits.len() < self.k {
            self.hits.push(hit);
        } else if let Some(mut worst) = self.hits.peek_mut().filter(|worst| hit < **worst) {
            *worst = hit;
        }
        if self.hits.len() == self.k {
            self.least = self.hits.peek().map_or(f32::INFINITY, |worst| worst.score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cosine of vectors cut to `dim`, in float64.
    fn cosine(left: &[f32], right: &[f32], dim: usize) -> f64 {
        let dot =
            |a: &[f32], b: &[f32]| a[..dim].iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
    }

    fn pseudo_random(count: usize) -> Vec<f32> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Searches for the last rows of `embeddings` among the first `documents`, which come in chunks of `chunk`, last first.
    fn search(
        embeddings: &[f32],
        dimension: usize,
        documents: usize,
        dims: &[usize],
        chunk: usize,
    ) -> Vec<Vec<Vec<Hit>>> {
        let (corpus, queries) = embeddings.split_at(documents * dimension);
        let mut search = Search::new(queries.to_vec(), dimension, dims, 100);
        let rows: Vec<u32> = (0..documents as u32).collect();
        for (rows, corpus) in rows.chunks(chunk).zip(corpus.chunks(chunk * dimension)).rev() {
            assert!(search.offer(corpus, rows, &mut || true));
        }
        search.finish(dims, |_, hits| hits.to_vec())
    }

    #[test]
    fn finds_what_a_full_sort_finds_at_every_dimension() {
        // More than one block of both, and neither a multiple of its block.
        let (documents, queries, dimension) = (2500, 150, 24);
        let embeddings = pseudo_random((documents + queries) * dimension);
        let row = |row: usize| &embeddings[row * dimension..][..dimension];
        let dims = [24, 7, 16];
        let found = search(&embeddings, dimension, documents, &dims, documents);
        for (dim, found) in dims.into_iter().zip(&found) {
            assert_eq!(found.len(), queries);
            for (query, hits) in found.iter().enumerate() {
                let query = row(documents + query);
                let mut all: Vec<f64> = (0..documents).map(|document| cosine(query, row(document), dim)).collect();
                assert_eq!(hits.len(), 100);
                for hit in hits {
                    assert!((f64::from(hit.score) - all[hit.document as usize]).abs() < 1e-5);
                }
                assert!(hits.is_sorted(), "best first");
                all.sort_by(|a, b| b.total_cmp(a));
                // Every score agrees with the sorted list's, so no better document was missed.
                for (hit, expected) in hits.iter().zip(&all) {
                    assert!((f64::from(hit.score) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn the_order_in_which_documents_come_changes_nothing() {
        // Small integers: products are exact, so that documents tie, and tie alike however they are cut into blocks.
        let numbers: Vec<f32> = (0..1900 * 2).map(|index| ((index * 7919) % 11) as f32 - 5.0).collect();
        let at_once = search(&numbers, 2, 1800, &[1, 2], 1800);
        for chunk in [1, 100, 1025] {
            assert_eq!(search(&numbers, 2, 1800, &[1, 2], chunk), at_once, "{chunk}");
        }
    }

    #[test]
    fn ties_go_to_the_lower_row() {
        let mut embeddings = vec![0.0; 302 * 2];
        for row in 0..302 {
            embeddings[row * 2] = 1.0 + (row % 3) as f32;
        }
        for hits in [300, 70, 1].map(|chunk| search(&embeddings, 2, 300, &[2, 1], chunk)).concat().concat() {
            assert!(hits.iter().map(|hit| hit.document).eq(0..100));
        }
    }

    #[test]
    fn zeros_score_zero_and_what_is_not_a_number_comes_last() {
        let embeddings = [1.0, 0.0, f32::NAN, 1.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0];
        for chunk in 1..=4 {
            let found = search(&embeddings, 2, 4, &[2], chunk);
            let order: Vec<(u32, f32)> = found[0][0].iter().map(|hit| (hit.document, hit.score)).collect();
            assert_eq!(order, [(0, 1.0), (2, 0.0), (3, -1.0), (1, f32::NEG_INFINITY)]);
        }
    }

    #[test]
    fn it_stops_when_asked() {
        let queries = QUERY_BLOCK * BLOCKS_BETWEEN_ASKING * rayon::current_num_threads() * 3;
        let mut search = Search::new(pseudo_random(queries), 1, &[1], 1);
        let mut asked = 0;
        let going = search.offer(&[1.0, 0.5], &[0, 1], &mut || {
            asked += 1;
            asked < 2
        });
        assert!(!going);
        assert_eq!(asked, 2);
    }
}
