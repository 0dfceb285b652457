//! Layer normalisation over rows (Ba, Kiros and Hinton 2016), fused with what BERT has before it: bias, dropout and the
//! residual sum.

use super::dropout::DropoutStream;
use super::vector::{add_scaled, dot, sum, vectorized};

/// A layer norm's weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// Scale, `[columns]`.
    pub(crate) weight: &'a [f32],
    /// Shift, `[columns]`.
    pub(crate) bias: &'a [f32],
    /// Added to the variance.
    pub(crate) epsilon: f32,
}

impl Norm<'_> {
    /// Normalises a row in place, writes it scaled and shifted to `output`, and returns 1 / its standard deviation.
    #[inline(always)]
    pub(super) fn row(&self, row: &mut [f32], output: &mut [f32]) -> f32 {
        let count = row.len() as f32;
        let mean = sum(row) / count;
        for value in row.iter_mut() {
            *value -= mean;
        }
        let inverse = 1.0 / (dot(row, row) / count + self.epsilon).sqrt();
        for (((value, output), weight), bias) in row.iter_mut().zip(output).zip(self.weight).zip(self.bias) {
            *value *= inverse;
            *output = *value * weight + bias;
        }
        inverse
    }
}

/// `output = norm(residual + dropout(hidden + bias))`, all `[rows, columns]`. `hidden` is left normalised, and `inverse`
/// (`[rows]`) holds each row's 1 / standard deviation: what backward needs. `first_row` is the first one's number in the
/// batch, by which dropout's masks are named.
#[expect(clippy::too_many_arguments, reason = "four operations in one pass, each with its operands")]
pub(crate) fn dropout_residual_norm(
    first_row: usize,
    hidden: &mut [f32],
    bias: &[f32],
    dropout: Option<DropoutStream<'_>>,
    residual: &[f32],
    norm: Norm<'_>,
    output: &mut [f32],
    inverse: &mut [f32],
) {
    let columns = bias.len();
    vectorized!({
        let rows = hidden.chunks_exact_mut(columns).zip(residual.chunks_exact(columns));
        let rows = rows.zip(output.chunks_exact_mut(columns)).zip(inverse).zip(first_row..);
        for ((((hidden, residual), output), inverse), row) in rows {
            add_scaled(hidden, 1.0, bias);
            if let Some(dropout) = &dropout {
                dropout.apply(row as u32, hidden);
            }
            add_scaled(hidden, 1.0, residual);
            *inverse = norm.row(hidden, output);
        }
    });
}

/// Backward through a layer norm: turns `d_output`, the gradient by its output, into the one by its input, in place, and
/// adds to `d_weight` and `d_bias` (`[columns]`). `normalized` and `inverse` are what forward left.
pub(crate) fn norm_backward(
    d_output: &mut [f32],
    normalized: &[f32],
    inverse: &[f32],
    weight: &[f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    let columns = weight.len();
    vectorized!({
        let rows = d_output.chunks_exact_mut(columns).zip(normalized.chunks_exact(columns)).zip(inverse);
        for ((d, x), inverse) in rows {
            add_scaled(d_bias, 1.0, d);
            for (((d_weight, d), x), weight) in d_weight.iter_mut().zip(d.iter_mut()).zip(x).zip(weight) {
                *d_weight += *d * x;
                *d *= weight;
            }
            let mean = sum(d) / columns as f32;
            let along = dot(d, x) / columns as f32;
            for (d, x) in d.iter_mut().zip(x) {
                *d = inverse * (*d - mean - x * along);
            }
        }
    });
}

/// Writes to `d_hidden` the gradient by `hidden` of [`dropout_residual_norm`], given the one by the residual sum; both
/// `[rows, columns]`.
pub(crate) fn dropout_backward(
    first_row: usize,
    d_sum: &[f32],
    dropout: Option<DropoutStream<'_>>,
    columns: usize,
    d_hidden: &mut [f32],
) {
    d_hidden.copy_from_slice(d_sum);
    if let Some(dropout) = &dropout {
        for (row, d_hidden) in (first_row..).zip(d_hidden.chunks_exact_mut(columns)) {
            dropout.apply(row as u32, d_hidden);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: usize = 19;
    const EPSILON: f64 = 1e-5;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 17) as f32 * 0.25 - 2.0).collect()
    }

    fn forward64(sum: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let mean = sum.iter().sum::<f64>() / COLUMNS as f64;
        let variance = sum.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / COLUMNS as f64;
        let row = sum.iter().map(|x| (x - mean) / (variance + EPSILON).sqrt());
        row.zip(weight).zip(bias).map(|((x, w), b)| x * w + b).collect()
    }

    fn widen(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    /// Forward against the definition, backward against central differences of it in float64.
    #[test]
    fn forward_and_backward_agree_with_float64() {
        for rows in [1, 33] {
            let count = rows * COLUMNS;
            let (hidden, residual, d_output) = (numbers(count, 5), numbers(count, 3), numbers(count, 7));
            let (bias, weight, shift) = (numbers(COLUMNS, 2), numbers(COLUMNS, 4), numbers(COLUMNS, 6));
            let dropout = DropoutStream::new(1, 2, 3, 0.25);
            let norm = Norm { weight: &weight, bias: &shift, epsilon: EPSILON as f32 };
            let (mut normalized, mut output, mut inverse) = (hidden.clone(), vec![0.0; count], vec![0.0; rows]);
            dropout_residual_norm(0, &mut normalized, &bias, dropout, &residual, norm, &mut output, &mut inverse);

            let mut mask = vec![1.0; count];
            for (row, mask) in mask.chunks_exact_mut(COLUMNS).enumerate() {
                dropout.expect("the rate is above 0").apply(row as u32, mask);
            }
            let sum: Vec<f64> = (0..count)
                .map(|i| f64::from(mask[i]) * f64::from(hidden[i] + bias[i % COLUMNS]) + f64::from(residual[i]))
                .collect();
            let (weight64, shift64, d64) = (widen(&weight), widen(&shift), widen(&d_output));
            let expected: Vec<f64> = sum.chunks(COLUMNS).flat_map(|row| forward64(row, &weight64, &shift64)).collect();
            for (value, expected) in output.iter().zip(&expected) {
                assert!((f64::from(*value) - expected).abs() < 1e-5);
            }

            let (mut d_sum, mut d_weight, mut d_shift) = (d_output.clone(), vec![1.0; COLUMNS], vec![1.0; COLUMNS]);
            norm_backward(&mut d_sum, &normalized, &inverse, &weight, &mut d_weight, &mut d_shift);
            let loss = |sum: &[f64], weight: &[f64], shift: &[f64]| -> f64 {
                let outputs = sum.chunks(COLUMNS).flat_map(|row| forward64(row, weight, shift));
                outputs.zip(&d64).map(|(y, d)| y * d).sum()
            };
            let slope = |place: usize, which: usize| {
                let at = |by: f64| {
                    let mut inputs = [sum.clone(), weight64.clone(), shift64.clone()];
                    inputs[which][place] += by;
                    loss(&inputs[0], &inputs[1], &inputs[2])
                };
                (at(1e-4) - at(-1e-4)) / 2e-4
            };
            for place in (0..count).step_by(7) {
                assert!((f64::from(d_sum[place]) - slope(place, 0)).abs() < 1e-4);
            }
            for place in 0..COLUMNS {
                assert!((f64::from(d_weight[place]) - 1.0 - slope(place, 1)).abs() < 1e-3);
                assert!((f64::from(d_shift[place]) - 1.0 - slope(place, 2)).abs() < 1e-3);
            }

            let mut d_hidden = vec![0.0; count];
            dropout_backward(0, &d_sum, dropout, COLUMNS, &mut d_hidden);
            assert!((0..count).all(|i| d_hidden[i] == d_sum[i] * mask[i]));
        }
    }
}
