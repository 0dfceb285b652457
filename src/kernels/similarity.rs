//! Dot products of a block of queries with a block of documents over a part of the dimension, so that a search can
//! read off every Matryoshka dimension's scores as prefix sums of one pass.
#![allow(unsafe_code)]

use std::ops::Range;

use gemm::Parallelism;

/// Adds to `scores` (`[queries, documents]`) the dot products of each query with each document over `columns` alone.
/// `queries` is `[queries, dimension]`, `documents` is `[documents, dimension]`. On one thread: the caller divides the
/// work, so that results do not depend on the number of cores.
///
/// # Panics
/// Where a length does not fit the others.
pub fn add_dot_products(
    queries: &[f32],
    documents: &[f32],
    dimension: usize,
    columns: Range<usize>,
    scores: &mut [f32],
) {
    assert!(dimension > 0 && columns.start <= columns.end && columns.end <= dimension, "{columns:?} of {dimension}");
    let (rows, width) = (queries.len() / dimension, documents.len() / dimension);
    assert_eq!(queries.len(), rows * dimension, "queries are whole rows");
    assert_eq!(documents.len(), width * dimension, "documents are whole rows");
    assert_eq!(scores.len(), rows * width, "there is a score for each query and document");
    if rows == 0 || width == 0 || columns.is_empty() {
        return;
    }
    let stride = dimension as isize;
    // SAFETY: element (i, j) of the left side is read at i * dimension + columns.start + j with i < rows and
    // j < columns.len(), so within `queries`, as checked above; the right side is `documents` read transposed, likewise;
    // (i, j) of the result is written at i * width + j, within `scores`, which nothing else borrows.
    unsafe {
        gemm::gemm(
            rows,
            width,
            columns.len(),
            scores.as_mut_ptr(),
            1,
            width as isize,
            true,
            queries.as_ptr().add(columns.start),
            1,
            stride,
            documents.as_ptr().add(columns.start),
            stride,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_dot_products() {
        let dimension = 7;
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count * dimension).map(|index| ((index * step) % 13) as f32 - 6.0).collect()
        };
        for (rows, width) in [(1, 1), (3, 5), (17, 33), (1, 40), (40, 1), (0, 3), (3, 0)] {
            let (queries, documents) = (numbers(rows, 5), numbers(width, 7));
            let mut scores = vec![0.0; rows * width];
            for (columns, end) in [(0..2, 2), (2..2, 2), (2..7, 7)] {
                add_dot_products(&queries, &documents, dimension, columns, &mut scores);
                for row in 0..rows {
                    for column in 0..width {
                        let query = &queries[row * dimension..][..end];
                        let document = &documents[column * dimension..][..end];
                        // Small integers: float32 sums are exact in any order.
                        let expected: f32 = query.iter().zip(document).map(|(a, b)| a * b).sum();
                        assert_eq!(scores[row * width + column], expected, "{row}, {column} of {rows} x {width}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a score for each query and document")]
    fn a_wrong_length_is_refused() {
        add_dot_products(&[0.0; 4], &[0.0; 4], 2, 0..2, &mut [0.0; 3]);
    }
}
