//! From token embeddings to one per sequence, and its length set to 1.

use rayon::prelude::*;

use crate::domain::Pooling;

/// What a norm is raised to before something is divided by it, as torch's `normalize` does it.
const LEAST_NORM: f32 = 1e-12;

fn ranges(cu_seqlens: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    cu_seqlens.windows(2).map(|ends| ends[0]..ends[1])
}

/// Pools `tokens` (`[tokens, dimension]`) into `pooled` (`[sequences, dimension]`).
pub(in crate::model) fn pool(
    kind: Pooling,
    tokens: &[f32],
    cu_seqlens: &[usize],
    dimension: usize,
    pooled: &mut [f32],
) {
    for (range, pooled) in ranges(cu_seqlens).zip(pooled.chunks_exact_mut(dimension)) {
        let rows = &tokens[range.start * dimension..range.end * dimension];
        match kind {
            Pooling::Cls => pooled.copy_from_slice(&rows[..dimension]),
            Pooling::Mean => {
                pooled.fill(0.0);
                for row in rows.chunks_exact(dimension) {
                    pooled.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                let count = range.len() as f32;
                pooled.iter_mut().for_each(|sum| *sum /= count);
            }
            Pooling::Max => {
                pooled.copy_from_slice(&rows[..dimension]);
                for row in rows.chunks_exact(dimension).skip(1) {
                    pooled.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(*value));
                }
            }
        }
    }
}

/// Writes the gradient by `tokens`, given that by the pooled embeddings. A maximum's gradient goes to the first token that
/// has it.
pub(in crate::model) fn pool_backward(
    kind: Pooling,
    tokens: &[f32],
    cu_seqlens: &[usize],
    dimension: usize,
    d_pooled: &[f32],
    d_tokens: &mut [f32],
) {
    for (range, d_pooled) in ranges(cu_seqlens).zip(d_pooled.chunks_exact(dimension)) {
        let place = range.start * dimension..range.end * dimension;
        let (rows, d_rows) = (&tokens[place.clone()], &mut d_tokens[place]);
        match kind {
            Pooling::Cls => {
                d_rows.fill(0.0);
                d_rows[..dimension].copy_from_slice(d_pooled);
            }
            Pooling::Mean => {
                let share = 1.0 / range.len() as f32;
                for d_row in d_rows.chunks_exact_mut(dimension) {
                    d_row.iter_mut().zip(d_pooled).for_each(|(d, d_pooled)| *d = share * d_pooled);
                }
            }
            Pooling::Max => {
                d_rows.fill(0.0);
                for (column, d) in d_pooled.iter().enumerate() {
                    let value = |row: usize| rows[row * dimension + column];
                    let first = (1..range.len()).fold(0, |best, row| if value(row) > value(best) { row } else { best });
                    d_rows[first * dimension + column] = *d;
                }
            }
        }
    }
}

/// Divides each row by its norm; the norms go to `norms` (`[rows]`).
pub(in crate::model) fn normalize(rows: &[f32], dimension: usize, norms: &mut [f32], normalized: &mut [f32]) {
    let rows = rows.par_chunks_exact(dimension).zip(normalized.par_chunks_exact_mut(dimension)).zip(norms);
    rows.for_each(|((row, normalized), norm)| {
        *norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(LEAST_NORM);
        normalized.iter_mut().zip(row).for_each(|(normalized, value)| *normalized = value / *norm);
    });
}

/// Writes the gradient by the rows that were normalised, given that by the normalised ones.
pub(in crate::model) fn normalize_backward(
    normalized: &[f32],
    norms: &[f32],
    dimension: usize,
    d_normalized: &[f32],
    d_rows: &mut [f32],
) {
    let rows = normalized.chunks_exact(dimension).zip(d_normalized.chunks_exact(dimension)).zip(norms);
    for (((normalized, d), norm), d_row) in rows.zip(d_rows.chunks_exact_mut(dimension)) {
        let along: f32 = normalized.iter().zip(d).map(|(a, b)| a * b).sum();
        for ((d_row, d), value) in d_row.iter_mut().zip(d).zip(normalized) {
            *d_row = (d - value * along) / norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 3;
    const CU_SEQLENS: [usize; 4] = [0, 1, 5, 7];

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        // Distinct values, so that each maximum has one place.
        (0..count).map(|index| ((index * step) % 101) as f32 * 0.07 - 3.0).collect()
    }

    /// The gradient of `sum(d * f(tokens))` by central differences; `f` is exact enough in float32 for these sizes.
    fn check(forward: impl Fn(&[f32]) -> Vec<f32>, inputs: &[f32], d: &[f32], gradient: &[f32]) {
        for place in 0..inputs.len() {
            let at = |by: f32| -> f64 {
                let mut moved = inputs.to_vec();
                moved[place] += by;
                forward(&moved).iter().zip(d).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum()
            };
            let slope = (at(0.01) - at(-0.01)) / 0.02;
            assert!((f64::from(gradient[place]) - slope).abs() < 1e-3, "{place}: {} and {slope}", gradient[place]);
        }
    }

    #[test]
    fn each_pooling_and_its_gradient() {
        let (tokens, d) = (numbers(7 * DIMENSION, 37), numbers(3 * DIMENSION, 29));
        for kind in [Pooling::Cls, Pooling::Mean, Pooling::Max] {
            let forward = |tokens: &[f32]| {
                let mut pooled = vec![f32::NAN; 3 * DIMENSION];
                pool(kind, tokens, &CU_SEQLENS, DIMENSION, &mut pooled);
                pooled
            };
            let pooled = forward(&tokens);
            // A sequence of one token is that token, however it is pooled.
            assert_eq!(pooled[..DIMENSION], tokens[..DIMENSION]);
            let mut d_tokens = vec![f32::NAN; tokens.len()];
            pool_backward(kind, &tokens, &CU_SEQLENS, DIMENSION, &d, &mut d_tokens);
            check(forward, &tokens, &d, &d_tokens);
        }
    }

    #[test]
    fn normalized_rows_have_length_one_and_the_right_gradient() {
        let (rows, d) = (numbers(2 * DIMENSION, 37), numbers(2 * DIMENSION, 29));
        let forward = |rows: &[f32]| {
            let (mut norms, mut normalized) = (vec![0.0; 2], vec![0.0; rows.len()]);
            normalize(rows, DIMENSION, &mut norms, &mut normalized);
            (norms, normalized)
        };
        let (norms, normalized) = forward(&rows);
        for row in normalized.chunks(DIMENSION) {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let mut d_rows = vec![0.0; rows.len()];
        normalize_backward(&normalized, &norms, DIMENSION, &d, &mut d_rows);
        check(|rows| forward(rows).1, &rows, &d, &d_rows);
        // Nothing is divided by zero.
        assert!(forward(&[0.0; DIMENSION]).1.iter().all(|x| *x == 0.0));
    }
}
