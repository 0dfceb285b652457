//! Exact search, against a plain sort.

use crate::kernels::cuda::search::Search;
use crate::kernels::cuda::{Buffer, CudaError, Device};

use super::{Comparison, Random};

/// `[dims][queries]`, rows and scores.
type Found = Vec<Vec<Vec<(u32, f32)>>>;

/// Queries, documents and what is asked.
struct Case {
    dimension: usize,
    queries: Vec<f32>,
    documents: Vec<f32>,
    /// Each document's name.
    rows: Vec<u32>,
    dims: Vec<usize>,
    k: usize,
}

impl Case {
    /// What the device finds in chunks of so many documents, the last chunk first where `backwards`, with tiles of so
    /// many bytes and documents.
    fn found(
        &self,
        device: &Device,
        chunk: usize,
        backwards: bool,
        tiles: Option<(usize, usize)>,
    ) -> Result<Found, CudaError> {
        let queries = Buffer::from_slice(device, &self.queries)?;
        let mut search = Search::new(device, queries, self.dimension, &self.dims, self.k)?;
        if let Some((bytes, documents)) = tiles {
            search = search.with_tiles(bytes, documents);
        }
        let mut chunks: Vec<_> = self.documents.chunks(chunk * self.dimension).zip(self.rows.chunks(chunk)).collect();
        if backwards {
            chunks.reverse();
        }
        for (documents, rows) in chunks {
            let there = (Buffer::from_slice(device, documents)?, Buffer::from_slice(device, rows)?);
            search.offer(there.0.view(), there.1.view())?;
        }
        search.finish()
    }

    /// Every document's score in float64, sorted.
    fn sorted(&self, query: &[f32], dim: usize) -> Vec<(u32, f64)> {
        let product =
            |a: &[f32], b: &[f32]| -> f64 { a[..dim].iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
        let cosine = |document: &[f32]| {
            let norms = product(query, query) * product(document, document);
            let cosine = if norms == 0.0 { 0.0 } else { product(query, document) / norms.sqrt() };
            if cosine.is_nan() { f64::NEG_INFINITY } else { cosine }
        };
        let documents = self.documents.chunks(self.dimension).zip(&self.rows);
        let mut all: Vec<(u32, f64)> = documents.map(|(document, row)| (*row, cosine(document))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all
    }

    /// Places of the lists that hold another row than a sort's, save where scores are nearly the same but not quite, or
    /// where a list is too short or not in order.
    fn mistakes(&self, found: &Found) -> usize {
        let mut mistakes = usize::from(found.len() != self.dims.len());
        for (dim, found) in self.dims.iter().zip(found) {
            let queries = self.queries.chunks(self.dimension);
            mistakes += usize::from(found.len() != queries.len());
            for (query, hits) in queries.zip(found) {
                let expected = self.sorted(query, *dim);
                mistakes += usize::from(hits.len() != self.k.min(expected.len()));
                mistakes += usize::from(!hits.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
                let score = |row: u32| expected.iter().find(|other| other.0 == row).map_or(f64::NAN, |hit| hit.1);
                for (hit, other) in hits.iter().zip(&expected) {
                    let near = |score: f64| score == other.1 || (score - other.1).abs() < 1e-5;
                    let tie = expected.iter().filter(|third| (third.1 - other.1).abs() < 1e-12).count() > 1;
                    let right = hit.0 == other.0 || (near(score(hit.0)) && !tie);
                    mistakes += usize::from(!right || !near(f64::from(hit.1)));
                }
            }
        }
        mistakes
    }
}

/// That something was wrong so many times, which should be none.
fn none(name: &str, mistakes: usize) -> Comparison {
    Comparison::new(name, &[mistakes as f32], &[0.0], 0.0)
}

/// The rows from 0 on, shuffled.
fn shuffled(random: &mut Random, count: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..count as u32).collect();
    for place in (1..count).rev() {
        rows.swap(place, random.below(place + 1));
    }
    rows
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let mut random = Random::new(9);
    let mut comparisons = Vec::new();
    // Numbers, some steps of a block and a beginning of the next; then fewer documents than are asked for.
    for (documents, queries, k) in [(2500, 9, 100), (1030, 3, 128), (301, 5, 1), (50, 3, 100), (1, 1, 7)] {
        let case = Case {
            dimension: 40,
            queries: random.numbers(queries * 40),
            documents: random.numbers(documents * 40),
            rows: shuffled(&mut random, documents),
            dims: vec![40, 7, 16, 7],
            k,
        };
        let name = format!("search for {k} of {documents}");
        comparisons.push(none(&name, case.mistakes(&case.found(device, documents, false, None)?)));
        let tiles = Some((4 * 400 * 2, 400));
        let found = case.found(device, 900, true, tiles)?;
        comparisons.push(none(&format!("{name}, in chunks and tiles"), case.mistakes(&found)));
    }
    comparisons.extend(ties(device, &mut random)?);
    comparisons.push(strange(device)?);
    Ok(comparisons)
}

/// Small whole numbers, whose products are exact however they are added: many documents are the same, and score the
/// same in whatever chunks and order they come.
fn ties(device: &Device, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let documents = 1800;
    let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| random.below(7) as f32 - 3.0).collect() };
    let (queries, documents) = (numbers(4 * 3), numbers(documents * 3));
    let rows = shuffled(random, documents.len() / 3);
    let case = Case { dimension: 3, queries, documents, rows, dims: vec![1, 3], k: 100 };
    let at_once = case.found(device, 1800, false, None)?;
    // Proportional documents have the same cosine, but for a last bit; the plain sort is of the device's own formula
    // here.
    let scale = |row: &[f32], dim: usize| {
        let squares: f64 = row[..dim].iter().map(|value| f64::from(*value).powi(2)).sum();
        if squares > 0.0 { (1.0 / squares.sqrt()) as f32 } else { 0.0 }
    };
    let mut mistakes = 0;
    for (dim, found) in case.dims.iter().zip(&at_once) {
        for (query, hits) in case.queries.chunks(3).zip(found) {
            let of_document = |document: &[f32]| {
                let dot: f32 = query[..*dim].iter().zip(document).map(|(a, b)| a * b).sum();
                dot * scale(document, *dim) * scale(query, *dim) + 0.0
            };
            let documents = case.documents.chunks(3).zip(&case.rows);
            let mut expected: Vec<_> = documents.map(|(document, row)| (*row, of_document(document))).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            mistakes += usize::from(hits[..] != expected[..100]);
        }
    }
    let mut comparisons = vec![none("search among ties", mistakes)];
    for (chunk, backwards, tiles) in
        [(1800, false, None), (100, true, None), (1025, false, None), (1799, true, None), (700, true, Some((1, 64)))]
    {
        let different = usize::from(case.found(device, chunk, backwards, tiles)? != at_once);
        comparisons.push(none(&format!("search among ties in chunks of {chunk}"), different));
    }
    Ok(comparisons)
}

/// Rows of zeros are like nothing, and what is not a number comes last.
fn strange(device: &Device) -> Result<Comparison, CudaError> {
    let nan = f32::NAN;
    let case = Case {
        dimension: 2,
        queries: vec![1.0, 0.0, 0.0, 0.0, nan, 1.0],
        // The last one's similarity to the first query is too small for a number, and would be -0.
        documents: vec![1.0, 0.0, nan, 1.0, 0.0, 0.0, -1.0, 0.0, -0.0, 3.0, -1e-30, 1e20],
        rows: vec![4, 1, 3, 2, 5, 0],
        dims: vec![2],
        k: 8,
    };
    let least = f32::NEG_INFINITY;
    let expected = vec![vec![
        vec![(4, 1.0), (0, 0.0), (3, 0.0), (5, 0.0), (2, -1.0), (1, least)],
        vec![(0, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.0), (1, least)],
        vec![(0, least), (1, least), (2, least), (3, least), (4, least), (5, least)],
    ]];
    let mut mistakes = 0;
    for chunk in 1..=6 {
        let found = case.found(device, chunk, false, None)?;
        mistakes += usize::from(found != expected);
        mistakes += found.concat().concat().iter().filter(|hit| hit.1 == 0.0 && hit.1.is_sign_negative()).count();
    }
    Ok(none("search among zeros and what is not a number", mistakes))
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_hold;
    use super::*;
    use crate::kernels::cuda::emulator;

    #[test]
    fn the_best_are_those_of_a_sort() {
        assert_all_hold(&check(&emulator::device()).expect("the emulator fails at nothing"));
    }
}
