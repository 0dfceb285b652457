//! MatryoshkaLoss over MultipleNegativesRankingLoss, as sentence-transformers defines them.
//!
//! For each dimension d, embeddings are cut to their first d numbers and normalised; an anchor's scores are its cosine
//! similarities with all positives of the batch, times `scale`; the loss is the mean cross entropy of each anchor's own
//! positive (Henderson et al. 2017), and the total is the weighted sum over dimensions (Kusupati et al. 2022).
//!
//! All dimensions come from one pass: the products over the columns from one dimension to the next add up to each
//! dimension's dot products, and the gradients by dot products, added from the largest dimension down, go back through
//! the same columns once. A block of anchors at a time is held against all positives, so memory does not grow with the
//! square of the batch.

use std::ops::Range;

use crate::kernels::matmul::{Accumulate, Layout, product};
use crate::kernels::similarity::add_dot_products;
use crate::kernels::vector::{add_scaled, dot, exp, max, sum};

/// Scores that a block of anchors may have at each dimension.
const BLOCK_SCORES: usize = 1 << 20;
/// What a norm is raised to before something is divided by it, as torch's `normalize` does it.
const LEAST_NORM: f32 = 1e-12;

/// The dimensions, their weights and the scale.
#[derive(Debug, Clone, PartialEq)]
pub struct MatryoshkaLoss {
    /// Lengths to which embeddings are cut, in descending order.
    pub dims: Vec<usize>,
    /// Each dimension's weight.
    pub weights: Vec<f64>,
    /// Multiplies cosine similarities.
    pub scale: f64,
}

/// One batch's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LossOutput {
    /// The weighted sum over dimensions.
    pub total: f64,
    /// Each dimension's loss before weighting.
    pub per_dim: Vec<f64>,
}

/// The inverse norm of each row's beginning, by dimension: `[dims][rows]`.
fn inverse_norms(rows: &[f32], dimension: usize, dims: &[usize]) -> Vec<Vec<f32>> {
    let of_row = |row: &[f32], dim: usize| 1.0 / dot(&row[..dim], &row[..dim]).sqrt().max(LEAST_NORM);
    dims.iter().map(|dim| rows.chunks_exact(dimension).map(|row| of_row(row, *dim)).collect()).collect()
}

impl MatryoshkaLoss {
    /// The loss of one micro-batch and its gradient. `anchors` and `positives` are `[pairs, dimension]`; row i of
    /// `positives` answers row i of `anchors`, and the other rows are its negatives. Writes `factor` times the gradient
    /// into `d_anchors` and `d_positives` (same shapes).
    pub fn forward_backward(
        &self,
        anchors: &[f32],
        positives: &[f32],
        dimension: usize,
        factor: f32,
        d_anchors: &mut [f32],
        d_positives: &mut [f32],
    ) -> LossOutput {
        d_anchors.fill(0.0);
        d_positives.fill(0.0);
        let pairs = anchors.len() / dimension;
        let pass = Pass {
            loss: self,
            positives,
            dimension,
            pairs,
            anchor_norms: inverse_norms(anchors, dimension, &self.dims),
            positive_norms: inverse_norms(positives, dimension, &self.dims),
        };
        let mut per_dim = vec![0.0; self.dims.len()];
        // For each positive, how far its gradient goes along itself: what normalising takes back.
        let mut along_positives = vec![vec![0.0; pairs]; self.dims.len()];
        let block = (BLOCK_SCORES / pairs.max(1)).clamp(1, pairs.max(1));
        for first in (0..pairs).step_by(block) {
            let rows = first..(first + block).min(pairs);
            let place = rows.start * dimension..rows.end * dimension;
            let (anchors, d_anchors) = (&anchors[place.clone()], &mut d_anchors[place]);
            pass.block(rows, anchors, d_anchors, d_positives, &mut along_positives, &mut per_dim, factor);
        }
        for (dim, along) in self.dims.iter().zip(&along_positives) {
            take_back(positives, along, dimension, *dim, d_positives);
        }
        let total = per_dim.iter().zip(&self.weights).map(|(loss, weight)| loss * weight).sum();
        LossOutput { total, per_dim }
    }
}

/// Subtracts from each row's gradient, over the first `dim` columns, `along` times the row.
fn take_back(rows: &[f32], along: &[f32], dimension: usize, dim: usize, d_rows: &mut [f32]) {
    let rows = rows.chunks_exact(dimension).zip(d_rows.chunks_exact_mut(dimension));
    for ((row, d_row), along) in rows.zip(along) {
        add_scaled(&mut d_row[..dim], -along, &row[..dim]);
    }
}

/// What all blocks of one batch share.
struct Pass<'a> {
    loss: &'a MatryoshkaLoss,
    positives: &'a [f32],
    dimension: usize,
    pairs: usize,
    anchor_norms: Vec<Vec<f32>>,
    positive_norms: Vec<Vec<f32>>,
}

impl Pass<'_> {
    /// The loss and gradient of the anchors in `rows`.
    #[expect(clippy::too_many_arguments, reason = "a block's inputs and the batch's sums")]
    fn block(
        &self,
        rows: Range<usize>,
        anchors: &[f32],
        d_anchors: &mut [f32],
        d_positives: &mut [f32],
        along_positives: &mut [Vec<f32>],
        per_dim: &mut [f64],
        factor: f32,
    ) {
        let mut dots = self.dots(anchors, rows.len());
        let mut gradient = vec![0.0; rows.len() * self.pairs];
        for (number, dim) in self.loss.dims.iter().enumerate() {
            // From here on `dots` of this dimension hold the gradient by them.
            let mut along_anchors = vec![0.0; rows.len()];
            let along = (&mut along_anchors[..], &mut along_positives[number][..]);
            per_dim[number] += self.cross_entropy(number, rows.clone(), &mut dots[number], along, factor);
            add_scaled(&mut gradient, 1.0, &dots[number]);
            let next = self.loss.dims.get(number + 1).copied().unwrap_or(0);
            self.through_columns(next..*dim, anchors, &gradient, d_anchors, d_positives);
            take_back(anchors, &along_anchors, self.dimension, *dim, d_anchors);
        }
    }

    /// Dot products at each dimension, `[dims][rows * pairs]`.
    fn dots(&self, anchors: &[f32], rows: usize) -> Vec<Vec<f32>> {
        let mut running = vec![0.0; rows * self.pairs];
        let mut start = 0;
        let mut ascending: Vec<Vec<f32>> = Vec::with_capacity(self.loss.dims.len());
        for dim in self.loss.dims.iter().rev() {
            add_dot_products(anchors, self.positives, self.dimension, start..*dim, &mut running);
            start = *dim;
            ascending.push(running.clone());
        }
        ascending.reverse();
        ascending
    }

    /// Adds up one dimension's loss, as a share of the mean, and turns `dots` into `factor` times the weighted gradient by
    /// them. `along` gets, for each anchor and positive, the gradient along itself that its normalising takes back.
    fn cross_entropy(
        &self,
        number: usize,
        rows: Range<usize>,
        dots: &mut [f32],
        (along_anchors, along_positives): (&mut [f32], &mut [f32]),
        factor: f32,
    ) -> f64 {
        let (scale, weight) = (self.loss.scale as f32, self.loss.weights[number] as f32);
        let (anchor_norms, positive_norms) = (&self.anchor_norms[number], &self.positive_norms[number]);
        let share = factor * weight / self.pairs as f32;
        let mut loss = 0.0;
        let mut probabilities = vec![0.0; self.pairs];
        for ((own, dots), along) in rows.zip(dots.chunks_exact_mut(self.pairs)).zip(along_anchors) {
            let scaled = scale * anchor_norms[own];
            for ((p, dot), norm) in probabilities.iter_mut().zip(&*dots).zip(positive_norms) {
                *p = scaled * norm * dot;
            }
            let (most, target) = (max(&probabilities), probabilities[own]);
            probabilities.iter_mut().for_each(|score| *score = exp(*score - most));
            let total = sum(&probabilities);
            loss += f64::from(most) + f64::from(total).ln() - f64::from(target);
            for (column, (p, dot)) in probabilities.iter().zip(dots).enumerate() {
                let by_score = share * (p / total - if column == own { 1.0 } else { 0.0 });
                let by_dot = by_score * scaled * positive_norms[column];
                let along_both = by_dot * *dot;
                *along += along_both;
                along_positives[column] += along_both * positive_norms[column] * positive_norms[column];
                *dot = by_dot;
            }
            *along *= anchor_norms[own] * anchor_norms[own];
        }
        loss / self.pairs as f64
    }

    /// Carries the gradient by dot products back through the columns that they share.
    fn through_columns(
        &self,
        columns: Range<usize>,
        anchors: &[f32],
        gradient: &[f32],
        d_anchors: &mut [f32],
        d_positives: &mut [f32],
    ) {
        let rows = gradient.len() / self.pairs;
        let part = |rows: usize| Layout::columns_of(0, rows, self.dimension, columns.start, columns.len());
        let square = Layout::dense(rows, self.pairs);
        let positives = (self.positives, part(self.pairs));
        product((gradient, square), positives, (d_anchors, part(rows)), 1.0, Accumulate::Add, false);
        let result = (d_positives, part(self.pairs));
        product((gradient, square.transposed()), (anchors, part(rows)), result, 1.0, Accumulate::Add, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 12;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 29) as f32 * 0.1 - 1.4).collect()
    }

    /// The definition in float64.
    fn loss64(loss: &MatryoshkaLoss, anchors: &[f64], positives: &[f64]) -> (f64, Vec<f64>) {
        let pairs = anchors.len() / DIMENSION;
        let unit = |row: &[f64], dim: usize| -> Vec<f64> {
            let norm = row[..dim].iter().map(|x| x * x).sum::<f64>().sqrt();
            row[..dim].iter().map(|x| x / norm).collect()
        };
        let of_dim = |dim: usize| -> f64 {
            let units = |rows: &[f64]| rows.chunks(DIMENSION).map(|row| unit(row, dim)).collect::<Vec<_>>();
            let (anchors, positives) = (units(anchors), units(positives));
            let score =
                |i: usize, j: usize| loss.scale * anchors[i].iter().zip(&positives[j]).map(|(a, b)| a * b).sum::<f64>();
            let of_anchor = |i: usize| (0..pairs).map(|j| score(i, j).exp()).sum::<f64>().ln() - score(i, i);
            (0..pairs).map(of_anchor).sum::<f64>() / pairs as f64
        };
        let per_dim: Vec<f64> = loss.dims.iter().map(|dim| of_dim(*dim)).collect();
        (per_dim.iter().zip(&loss.weights).map(|(loss, weight)| loss * weight).sum(), per_dim)
    }

    /// Against the definition, and its central differences, in float64.
    #[test]
    fn loss_and_gradient_agree_with_float64() {
        let loss = MatryoshkaLoss { dims: vec![12, 7, 3], weights: vec![1.0, 0.5, 2.0], scale: 5.0 };
        for pairs in [1, 2, 9] {
            let inputs = [numbers(pairs * DIMENSION, 11), numbers(pairs * DIMENSION, 17)];
            let mut gradients = [vec![f32::NAN; pairs * DIMENSION], vec![f32::NAN; pairs * DIMENSION]];
            let [d_anchors, d_positives] = &mut gradients;
            let output = loss.forward_backward(&inputs[0], &inputs[1], DIMENSION, 0.25, d_anchors, d_positives);
            let wide: Vec<Vec<f64>> = inputs.iter().map(|rows| rows.iter().map(|x| f64::from(*x)).collect()).collect();
            let (total, per_dim) = loss64(&loss, &wide[0], &wide[1]);
            assert!((output.total - total).abs() < 1e-5 * (1.0 + total), "{} and {total}", output.total);
            for (loss, expected) in output.per_dim.iter().zip(per_dim) {
                assert!((loss - expected).abs() < 1e-5 * (1.0 + expected));
            }
            for side in 0..2 {
                for place in 0..pairs * DIMENSION {
                    let at = |by: f64| {
                        let mut moved = wide.clone();
                        moved[side][place] += by;
                        loss64(&loss, &moved[0], &moved[1]).0
                    };
                    let slope = 0.25 * (at(1e-5) - at(-1e-5)) / 2e-5;
                    let gradient = f64::from(gradients[side][place]);
                    assert!((gradient - slope).abs() < 1e-5, "{side} {place}: {gradient} and {slope}");
                }
            }
        }
    }

    #[test]
    fn blocks_of_anchors_add_up() {
        // More pairs than one block holds scores for.
        let pairs = 1200;
        let inputs = [numbers(pairs * DIMENSION, 11), numbers(pairs * DIMENSION, 17)];
        let loss = MatryoshkaLoss { dims: vec![12, 4], weights: vec![1.0, 1.0], scale: 20.0 };
        let wide: Vec<Vec<f64>> = inputs.iter().map(|rows| rows.iter().map(|x| f64::from(*x)).collect()).collect();
        let (mut d_anchors, mut d_positives) = (vec![0.0; pairs * DIMENSION], vec![0.0; pairs * DIMENSION]);
        let output = loss.forward_backward(&inputs[0], &inputs[1], DIMENSION, 1.0, &mut d_anchors, &mut d_positives);
        let (total, _) = loss64(&loss, &wide[0], &wide[1]);
        assert!((output.total - total).abs() < 1e-5 * total, "{} and {total}", output.total);
        assert!(pairs * pairs > BLOCK_SCORES);
    }
}
