//! The Matryoshka loss and its gradient, against the definition in float64.

use crate::kernels::cuda::matryoshka::Matryoshka;
use crate::kernels::cuda::{Buffer, CudaError, Device};

use super::{Comparison, Random};

const SCALE: f32 = 20.0;
const SHARE: f32 = 0.25;
/// What stands in the sum before.
const BEFORE: f64 = 0.5;

/// A list of dimensions with weights.
struct Case {
    dimension: usize,
    dims: Vec<usize>,
    weights: Vec<f32>,
    /// Of each micro-batch.
    pairs: Vec<usize>,
    tile_bytes: Option<usize>,
}

impl Case {
    /// The sum after the group, and its gradient.
    fn run(&self, device: &Device, embeddings: &[f32]) -> Result<(f64, Vec<f32>), CudaError> {
        let mut loss = Matryoshka::new(device, &self.dims, &self.weights, SCALE)?;
        if let Some(bytes) = self.tile_bytes {
            loss = loss.with_tile_bytes(bytes);
        }
        let sum = Buffer::from_slice(device, &[BEFORE])?;
        let gradient = run(&mut loss, device, self.dimension, &self.pairs, embeddings, &sum)?;
        Ok((sum.to_vec()?[0], gradient))
    }

    /// The same by the definition: what is added to the sum, and the gradient.
    fn expected(&self, embeddings: &[f32]) -> (f64, Vec<f32>) {
        let (mut sum, mut gradient) = (0.0, vec![0.0; embeddings.len()]);
        let mut first = 0;
        for pairs in &self.pairs {
            let place = first..first + 2 * pairs * self.dimension;
            let rows: Vec<f64> = embeddings[place.clone()].iter().map(|value| f64::from(*value)).collect();
            for (dim, weight) in self.dims.iter().zip(&self.weights) {
                let factor = f64::from(SHARE * weight) / *pairs as f64;
                sum += factor * add_loss(&rows, self.dimension, *dim, factor, &mut gradient[place.clone()]);
            }
            first = place.end;
        }
        (sum, gradient.into_iter().map(|value| value as f32).collect())
    }
}

/// Adds a group's loss to `sum`; its gradient.
fn run(
    loss: &mut Matryoshka,
    device: &Device,
    dimension: usize,
    pairs: &[usize],
    embeddings: &[f32],
    sum: &Buffer<f64>,
) -> Result<Vec<f32>, CudaError> {
    let there = Buffer::from_slice(device, embeddings)?;
    let gradient = Buffer::from_slice(device, &vec![f32::NAN; embeddings.len()])?;
    loss.forward_backward(there.view(), dimension, pairs, SHARE, gradient.view(), sum.view())?;
    gradient.to_vec()
}

/// The sum of a micro-batch's cross entropies at one dimension, and `factor` times its gradient added to `gradient`.
fn add_loss(rows: &[f64], dimension: usize, dim: usize, factor: f64, gradient: &mut [f64]) -> f64 {
    let (scale, pairs) = (f64::from(SCALE), rows.len() / dimension / 2);
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norms: Vec<f64> = rows.chunks(dimension).map(|row| product(&row[..dim], &row[..dim]).sqrt()).collect();
    let units: Vec<Vec<f64>> = rows
        .chunks(dimension)
        .zip(&norms)
        .map(|(row, norm)| row[..dim].iter().map(|value| value / norm).collect())
        .collect();
    let (anchors, positives) = units.split_at(pairs);
    let mut by_unit = vec![vec![0.0; dim]; 2 * pairs];
    let mut loss = 0.0;
    for own in 0..pairs {
        let scores: Vec<f64> = positives.iter().map(|positive| scale * product(&anchors[own], positive)).collect();
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        loss += total.ln() - scores[own];
        for (column, score) in scores.iter().enumerate() {
            let by_score = scale * factor * (score.exp() / total - if column == own { 1.0 } else { 0.0 });
            for place in 0..dim {
                by_unit[own][place] += by_score * positives[column][place];
                by_unit[pairs + column][place] += by_score * anchors[own][place];
            }
        }
    }
    for (row, (by_unit, unit)) in by_unit.iter().zip(&units).enumerate() {
        let along = product(by_unit, unit);
        for place in 0..dim {
            gradient[row * dimension + place] += (by_unit[place] - along * unit[place]) / norms[row];
        }
    }
    loss
}

/// Anchors and positives, the latter somewhat like the former.
fn embeddings(random: &mut Random, case: &Case) -> Vec<f32> {
    let mut all = Vec::new();
    for pairs in &case.pairs {
        let anchors = random.numbers(pairs * case.dimension);
        let noise = random.numbers(pairs * case.dimension);
        all.extend(&anchors);
        all.extend(anchors.iter().zip(noise).map(|(anchor, noise)| 0.2 * anchor + noise));
    }
    all
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let case = |dimension, dims: &[usize], weights: &[f32], pairs: &[usize], tile_bytes| Case {
        dimension,
        dims: dims.to_vec(),
        weights: weights.to_vec(),
        pairs: pairs.to_vec(),
        tile_bytes,
    };
    let cases = [
        // A recipe's, with a last micro-batch that is shorter.
        case(128, &[128, 96, 64, 32, 16], &[1.0; 5], &[32, 32, 32, 32, 9], None),
        case(64, &[64], &[1.0], &[2], None),
        case(48, &[33, 7, 3], &[1.0, 0.5, 2.0], &[9, 9, 2, 65], None),
        case(12, &[12, 1], &[1.0, 1.0], &[9, 2], None),
        case(31, &[31, 30], &[0.25, 1.0], &[1, 65, 65], None),
        // In any order, and one twice.
        case(40, &[8, 40, 8], &[0.5, 1.0, 0.75], &[33, 33], None),
        // Tiles of some micro-batches, and of some anchors: 64, 64 and 2 of 130; 10 at a time.
        case(24, &[24, 8], &[1.0, 1.0], &[9; 7], Some(2 * 12 * 4 * 20)),
        case(24, &[24, 8], &[1.0, 1.0], &[130, 9, 9], Some(2 * 132 * 4 * 70)),
        case(24, &[24, 8, 4], &[1.0, 2.0, 1.0], &[65], Some(3 * 68 * 4 * 10)),
    ];
    let mut random = Random::new(7);
    let mut comparisons = Vec::new();
    for case in &cases {
        let embeddings = embeddings(&mut random, case);
        let (sum, gradient) = case.run(device, &embeddings)?;
        let (expected_sum, expected) = case.expected(&embeddings);
        let tiles = if case.tile_bytes.is_some() { ", in tiles" } else { "" };
        let name = format!("Matryoshka loss at {:?} of {:?} pairs{tiles}", case.dims, case.pairs);
        let sums = ([(sum - BEFORE) as f32], [expected_sum as f32]);
        comparisons.push(Comparison::new(format!("{name}: sum"), &sums.0, &sums.1, 1e-5));
        // At dimension 1 a cosine is 1 or -1 and has no slope: all that comes is taken back, up to rounding.
        let tolerance = if case.dims.contains(&1) { 1e-4 } else { 1e-5 };
        comparisons.push(Comparison::new(format!("{name}: gradient"), &gradient, &expected, tolerance));
        let again = case.run(device, &embeddings)?;
        comparisons.push(Comparison::new(format!("{name}: again"), &again.1, &gradient, 0.0));
        comparisons.push(Comparison::new(format!("{name}: sum again"), &[(again.0 - sum) as f32], &[0.0], 0.0));
    }
    comparisons.extend(one_by_one(device, &mut random, &cases[0])?);
    comparisons.extend(not_finite(device, &mut random, &cases[2])?);
    Ok(comparisons)
}

/// A group gives what its micro-batches give one by one; where a library chooses its products by how many there are,
/// they may differ in the last bits, which the scale and the exponential make more of.
fn one_by_one(device: &Device, random: &mut Random, case: &Case) -> Result<Vec<Comparison>, CudaError> {
    let all = embeddings(random, case);
    let (sum, gradient) = case.run(device, &all)?;
    // The shortest first, so that its room must grow, and what others left there must not show.
    let mut loss = Matryoshka::new(device, &case.dims, &case.weights, SCALE)?;
    let one_sum = Buffer::from_slice(device, &[BEFORE])?;
    let mut one_gradient = Vec::new();
    let mut rest = &all[..];
    for pairs in case.pairs.iter().rev() {
        let (others, mine) = rest.split_at(rest.len() - 2 * pairs * case.dimension);
        rest = others;
        one_gradient.push(run(&mut loss, device, case.dimension, &[*pairs], mine, &one_sum)?);
    }
    one_gradient.reverse();
    let (one_sum, one_gradient) = (one_sum.to_vec()?[0], one_gradient.concat());
    Ok(vec![
        Comparison::new("Matryoshka loss one by one: sum", &[sum as f32], &[one_sum as f32], 5e-6),
        Comparison::new("Matryoshka loss one by one: gradient", &gradient, &one_gradient, 5e-6),
    ])
}

/// One number that is none, in an anchor or in a positive, shows in the sum.
fn not_finite(device: &Device, random: &mut Random, case: &Case) -> Result<Vec<Comparison>, CudaError> {
    let all = embeddings(random, case);
    let mut shown = Vec::new();
    for wrong in [f32::NAN, f32::INFINITY] {
        for row in [3, 11] {
            let mut all = all.clone();
            all[row * case.dimension] = wrong;
            shown.push(f32::from(u8::from(!case.run(device, &all)?.0.is_finite())));
        }
    }
    Ok(vec![Comparison::new("Matryoshka loss of what is not finite", &shown, &vec![1.0; shown.len()], 0.0)])
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_hold;
    use super::*;
    use crate::kernels::cuda::emulator;

    #[test]
    fn the_loss_is_the_definition_s() {
        let comparisons = check(&emulator::device()).expect("the emulator fails at nothing");
        assert_all_hold(&comparisons);
    }
}
