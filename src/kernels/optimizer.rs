//! One pass over flat weights, gradients and moments.

use rayon::prelude::*;

use super::vector::vectorized;

/// Numbers that one task takes.
const BLOCK: usize = 64 << 10;

/// What one AdamW step multiplies and adds (Loshchilov and Hutter 2019), as PyTorch's `AdamW` computes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamWStep {
    /// Gradients are multiplied by this first: the clipping.
    pub(crate) gradient_factor: f32,
    /// 1 - decay of the first moment. Taken in float64, as a difference of float32 numbers near 1 would lose digits.
    pub(crate) first_share: f32,
    /// Decay of the second moment.
    pub(crate) beta2: f32,
    /// 1 - decay of the second moment, likewise.
    pub(crate) second_share: f32,
    /// Guard against division by zero.
    pub(crate) epsilon: f32,
    /// The learning rate over the first moment's bias correction.
    pub(crate) step_size: f32,
    /// The square root of the second moment's bias correction.
    pub(crate) second_correction_sqrt: f32,
    /// Weights are multiplied by this first: 1 - learning rate × weight decay.
    pub(crate) weight_factor: f32,
}

impl AdamWStep {
    /// Updates weights and moments; all slices of one length.
    pub(crate) fn update(&self, weights: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let blocks = weights.par_chunks_mut(BLOCK).zip(gradients.par_chunks(BLOCK));
        let blocks = blocks.zip(first.par_chunks_mut(BLOCK)).zip(second.par_chunks_mut(BLOCK));
        blocks.for_each(|(((weights, gradients), first), second)| {
            vectorized!({
                let numbers = weights.iter_mut().zip(gradients).zip(first).zip(second);
                for (((weight, gradient), m), v) in numbers {
                    let gradient = gradient * self.gradient_factor;
                    *m += self.first_share * (gradient - *m);
                    *v = self.beta2 * *v + self.second_share * gradient * gradient;
                    let denominator = v.sqrt() / self.second_correction_sqrt + self.epsilon;
                    *weight = *weight * self.weight_factor - self.step_size * (*m / denominator);
                }
            });
        });
    }
}

/// The Euclidean norm, summed in float64 over blocks of fixed size.
pub(crate) fn norm(values: &[f32]) -> f64 {
    let squares: Vec<f64> = values
        .par_chunks(BLOCK)
        .map(|block| {
            vectorized!({
                let mut lanes = [0.0_f64; 8];
                let (chunks, rest) = block.as_chunks::<8>();
                for chunk in chunks {
                    for lane in 0..8 {
                        lanes[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
                    }
                }
                lanes.iter().sum::<f64>() + rest.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>()
            })
        })
        .collect();
    squares.iter().sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_euclidean_and_sees_what_is_not_finite() {
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
        assert_eq!(norm(&vec![2.0; 4 * BLOCK]), 2.0 * (4.0 * BLOCK as f64).sqrt());
        assert!(norm(&[1.0, f32::NAN]).is_nan());
        assert!(norm(&[f32::INFINITY]).is_infinite());
        assert_eq!(norm(&[]), 0.0);
    }
}
