//! Exact search: the best documents for each query at every Matryoshka dimension, in one pass over the embeddings.
//!
//! Blocks of queries meet blocks of documents; a block's dot products grow from the smallest dimension to the largest,
//! and at each one the scores are read off. Of the score matrix never more than one block per thread exists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::kernels::similarity::add_dot_products;

/// Queries of one block: enough that packing documents for the product pays.
const QUERY_BLOCK: usize = 64;
/// Documents of one block: 64 × 1,024 scores fit a core's second-level cache.
const DOCUMENT_BLOCK: usize = 1024;

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

/// Embeddings to search in, at full size.
#[derive(Debug, Clone, Copy)]
pub struct SearchSpace<'a> {
    /// `[rows, dimension]`.
    pub embeddings: &'a [f32],
    /// Their size.
    pub dimension: usize,
    /// The first so many rows are the documents.
    pub documents: usize,
}

impl SearchSpace<'_> {
    /// Finds the `k` best documents for each query (a row of the embeddings) by cosine similarity of embeddings cut to
    /// each of `dims`, and hands them, best first, to `with`, whose results come back as `[dims][queries]`. Equal scores
    /// are ordered by row. `keep_going` is asked now and then; none comes back once it says no.
    ///
    /// Runs on all cores; each query's result is the same for any number of them.
    pub fn search<T: Send>(
        &self,
        queries: &[u32],
        dims: &[usize],
        k: usize,
        with: impl Fn(usize, &[Hit]) -> T + Sync,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<Vec<Vec<T>>> {
        assert!(dims.iter().all(|dim| (1..=self.dimension).contains(dim)), "{dims:?} of {}", self.dimension);
        let mut ascending: Vec<usize> = dims.to_vec();
        ascending.sort_unstable();
        let document_scales = self.document_scales(&ascending);
        let mut results: Vec<Vec<T>> = dims.iter().map(|_| Vec::with_capacity(queries.len())).collect();
        // The caller may only be asked from its own thread, so blocks go to the cores a few at a time.
        let at_once = QUERY_BLOCK * rayon::current_num_threads();
        for (group, rows) in queries.chunks(at_once).enumerate() {
            if !keep_going() {
                return None;
            }
            let blocks: Vec<Vec<Vec<T>>> = rows
                .par_chunks(QUERY_BLOCK)
                .enumerate()
                .map(|(block, rows)| {
                    let first = group * at_once + block * QUERY_BLOCK;
                    let best = self.search_block(rows, &ascending, &document_scales, k);
                    let dims = dims.iter().map(|dim| {
                        let place = ascending.binary_search(dim).expect("it is among them");
                        best[place].iter().enumerate().map(|(query, hits)| with(first + query, hits)).collect()
                    });
                    dims.collect()
                })
                .collect();
            for block in blocks {
                for (results, found) in results.iter_mut().zip(block) {
                    results.extend(found);
                }
            }
        }
        Some(results)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.embeddings[row * self.dimension..][..self.dimension]
    }

    /// One over the length of each document cut to each dimension, `[dims, documents]`.
    fn document_scales(&self, ascending: &[usize]) -> Vec<Vec<f32>> {
        let by_document: Vec<Vec<f32>> =
            (0..self.documents).into_par_iter().map(|row| scales(self.row(row), ascending)).collect();
        (0..ascending.len()).map(|dim| by_document.iter().map(|scales| scales[dim]).collect()).collect()
    }

    /// The best documents for each query of a block, best first: `[dims][queries]`.
    fn search_block(
        &self,
        rows: &[u32],
        ascending: &[usize],
        document_scales: &[Vec<f32>],
        k: usize,
    ) -> Vec<Vec<Vec<Hit>>> {
        let queries: Vec<f32> = rows.iter().flat_map(|row| self.row(*row as usize)).copied().collect();
        let query_scales: Vec<Vec<f32>> = rows.iter().map(|row| scales(self.row(*row as usize), ascending)).collect();
        let mut best: Vec<Vec<Best>> =
            ascending.iter().map(|_| rows.iter().map(|_| Best::new(k.min(self.documents))).collect()).collect();
        let mut scores = Vec::new();
        for first in (0..self.documents).step_by(DOCUMENT_BLOCK) {
            let count = DOCUMENT_BLOCK.min(self.documents - first);
            let documents = &self.embeddings[first * self.dimension..(first + count) * self.dimension];
            scores.clear();
            scores.resize(rows.len() * count, 0.0);
            let mut start = 0;
            for (dim, end) in ascending.iter().enumerate() {
                add_dot_products(&queries, documents, self.dimension, start..*end, &mut scores);
                start = *end;
                let document_scales = &document_scales[dim][first..first + count];
                for (query, scores) in scores.chunks(count).enumerate() {
                    let query_scale = query_scales[query][dim];
                    let best = &mut best[dim][query];
                    for (document, (score, scale)) in scores.iter().zip(document_scales).enumerate() {
                        best.offer((first + document) as u32, score * scale * query_scale);
                    }
                }
            }
        }
        best.into_iter().map(|queries| queries.into_iter().map(Best::into_sorted).collect()).collect()
    }
}

/// One over the length of a row cut to each dimension; 0 for a row of zeros, whose similarity to anything is then 0.
fn scales(row: &[f32], ascending: &[usize]) -> Vec<f32> {
    let mut squares = 0.0_f64;
    let mut start = 0;
    let scale = |end: &usize| {
        squares += row[start..*end].iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        start = *end;
        if squares > 0.0 { (1.0 / squares.sqrt()) as f32 } else { 0.0 }
    };
    ascending.iter().map(scale).collect()
}

/// The `k` best hits so far, the worst of them on top. Documents are offered in ascending order, so that one with the
/// worst one's score comes after it and stays out.
struct Best {
    k: usize,
    hits: BinaryHeap<Hit>,
    worst: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Self { k, hits: BinaryHeap::with_capacity(k + 1), worst: f32::NEG_INFINITY }
    }

    fn offer(&mut self, document: u32, score: f32) {
        if self.hits.len() < self.k {
            // A diverged model's embeddings are not numbers; such a document comes last instead of anywhere. Adding
            // 0 turns -0 into 0, which would otherwise be two scores.
            let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
            self.hits.push(Hit { document, score });
        } else if score > self.worst {
            self.hits.push(Hit { document, score: score + 0.0 });
            self.hits.pop();
        } else {
            return;
        }
        if self.hits.len() == self.k {
            self.worst = self.hits.peek().map_or(f32::INFINITY, |hit| hit.score);
        }
    }

    fn into_sorted(self) -> Vec<Hit> {
        self.hits.into_sorted_vec()
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

    #[test]
    fn finds_what_a_full_sort_finds_at_every_dimension() {
        // More than one block of both, and neither a multiple of its block.
        let (documents, queries, dimension, k) = (2500, 150, 24, 100);
        let embeddings = pseudo_random((documents + queries) * dimension);
        let space = SearchSpace { embeddings: &embeddings, dimension, documents };
        let rows: Vec<u32> = (documents..documents + queries).map(|row| row as u32).collect();
        let dims = [24, 7, 16];
        let found = space.search(&rows, &dims, k, |_, hits| hits.to_vec(), &mut || true).expect("not stopped");
        for (dim, found) in dims.into_iter().zip(found) {
            assert_eq!(found.len(), queries);
            for (row, hits) in rows.iter().zip(found) {
                let query = space.row(*row as usize);
                let mut all: Vec<f64> = (0..documents).map(|row| cosine(query, space.row(row), dim)).collect();
                assert_eq!(hits.len(), k);
                for hit in &hits {
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
    fn ties_go_to_the_lower_row() {
        let mut embeddings = vec![0.0; 302 * 2];
        for row in 0..302 {
            embeddings[row * 2] = 1.0 + (row % 3) as f32;
        }
        let space = SearchSpace { embeddings: &embeddings, dimension: 2, documents: 300 };
        let found = space
            .search(&[300, 301], &[2, 1], 100, |_, hits| hits.iter().map(|hit| hit.document).collect(), &mut || true)
            .expect("not stopped");
        for hits in found.concat() {
            let hits: Vec<u32> = hits;
            assert!(hits.into_iter().eq(0..100));
        }
    }

    #[test]
    fn zeros_score_zero_and_what_is_not_a_number_comes_last() {
        let embeddings = [1.0, 0.0, f32::NAN, 1.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0];
        let space = SearchSpace { embeddings: &embeddings, dimension: 2, documents: 4 };
        let found = space.search(&[4], &[2], 100, |_, hits| hits.to_vec(), &mut || true).expect("not stopped");
        let order: Vec<(u32, f32)> = found[0][0].iter().map(|hit| (hit.document, hit.score)).collect();
        assert_eq!(order, [(0, 1.0), (2, 0.0), (3, -1.0), (1, f32::NEG_INFINITY)]);
    }

    #[test]
    fn it_stops_when_asked() {
        let embeddings = pseudo_random(2000);
        let space = SearchSpace { embeddings: &embeddings, dimension: 1, documents: 10 };
        let rows: Vec<u32> = (0..2000).collect();
        let mut asked = 0;
        let stopped = space.search(&rows, &[1], 1, |_, _| (), &mut || {
            asked += 1;
            asked < 2
        });
        assert!(stopped.is_none());
        assert_eq!(asked, 2);
    }
}
