//! Norms with bias, dropout and residual sum, forward and backward, and sums over columns.

use crate::kernels::cuda::dropout::{Site, draw_rows, row_words};
use crate::kernels::cuda::norm::{
    Kept, NormBackward, NormPlaces, ResidualNorm, RowMask, Shape, column_sums, norm_dropout_backward, residual_norm,
    residual_norm_backward,
};
use crate::kernels::cuda::{Address, Buffer, CudaError, Device, Numbers, Tensor};
use crate::kernels::dropout::DropoutStream;
use crate::kernels::embedding::embed_dropout_backward;
use crate::kernels::layer_norm::{Norm, dropout_backward, dropout_residual_norm, norm_backward};

use super::{Comparison, Random};

const SEED: u64 = 0x1357_9bdf_0246_8ace;
const MICRO_BATCH: u32 = 11;
pub(super) const EPSILON: f32 = 1e-12;

/// Rows, columns and dropout: a lane's one piece to four, with and without gaps, rows read again, more rows than
/// blocks.
const SIZES: [(usize, usize, f32); 10] = [
    (1, 8, 0.0),
    (3, 384, 0.1),
    (33, 768, 0.1),
    (21, 1024, 0.3),
    (5, 264, 0.1),
    (19, 520, 0.0),
    (9, 1032, 0.1),
    (1, 2048, 0.0),
    (35, 4096, 0.1),
    (6500, 8, 0.5),
];

/// How far rounded results may be.
pub(super) fn tolerance(numbers: Numbers) -> f64 {
    match numbers {
        Numbers::Bf16 => 4e-3,
        Numbers::Float32 => 2e-6,
    }
}

/// How far a gradient may be that is a sum of numbers which were not rounded, against the same in float64.
pub(super) const SUM_TOLERANCE: f64 = 1e-6;

/// `before` and the sums of the columns of `values`, taken in float64: over thousands of rows that cancel each other,
/// the CPU engine's own sums would be further from the truth than the device's, which are of fewer numbers each.
pub(super) fn with_column_sums(before: &[f32], values: &[f32]) -> Vec<f32> {
    let mut sums: Vec<f64> = before.iter().map(|value| f64::from(*value)).collect();
    for row in values.chunks_exact(before.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums.iter().map(|sum| *sum as f32).collect()
}

/// A mask of rows on the device, and what the CPU draws it with.
pub(super) struct Mask {
    words: Option<(Buffer<u32>, usize, f32)>,
    pub(super) stream: Option<DropoutStream<'static>>,
}

impl Mask {
    pub(super) fn draw(device: &Device, rows: usize, columns: usize, rate: f32) -> Result<Self, CudaError> {
        let site = Site { seed: SEED, number: 3, rate };
        if site.is_off() {
            return Ok(Self { words: None, stream: None });
        }
        let units: Vec<u32> = (0..rows as u32).collect();
        let units = Buffer::from_slice(device, &units)?;
        let batches = Buffer::from_slice(device, &vec![MICRO_BATCH; rows])?;
        let words = Buffer::new(device, rows * row_words(columns))?;
        draw_rows(device, site, columns, (units.view(), batches.view()), &words)?;
        let stream = DropoutStream::new(SEED, MICRO_BATCH.into(), site.number, rate);
        Ok(Self { words: Some((words, columns, site.scale())), stream })
    }

    pub(super) fn row_mask(&self) -> RowMask {
        let mask = |(words, columns, scale): &(Buffer<u32>, usize, f32)| RowMask::new(words.view(), *columns, *scale);
        self.words.as_ref().map_or(RowMask::NONE, mask)
    }
}

/// A norm's weights, on both sides.
pub(super) struct Weights {
    pub(super) weight: Vec<f32>,
    pub(super) shift: Vec<f32>,
    there: [Buffer<f32>; 2],
}

impl Weights {
    pub(super) fn new(device: &Device, random: &mut Random, columns: usize) -> Result<Self, CudaError> {
        let (weight, shift) = (random.numbers(columns), random.numbers(columns));
        let there = [Buffer::from_slice(device, &weight)?, Buffer::from_slice(device, &shift)?];
        Ok(Self { weight, shift, there })
    }

    pub(super) fn places(&self) -> NormPlaces {
        NormPlaces { weight: self.there[0].view().address(), shift: self.there[1].view().address() }
    }

    pub(super) fn norm(&self) -> Norm<'_> {
        Norm { weight: &self.weight, bias: &self.shift, epsilon: EPSILON }
    }
}

/// Numbers on the device, and what they were rounded to.
pub(super) fn rounded(device: &Device, numbers: Numbers, values: &[f32]) -> Result<(Tensor, Vec<f32>), CudaError> {
    let tensor = Tensor::from_slice(device, numbers, values)?;
    let values = tensor.to_vec()?;
    Ok((tensor, values))
}

fn forward(
    device: &Device,
    shape: Shape,
    rate: f32,
    random: &mut Random,
    name: &str,
) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let count = rows * columns;
    let mask = Mask::draw(device, rows, columns, rate)?;
    let weights = Weights::new(device, random, columns)?;
    let bias = random.numbers(columns);
    let bias_there = Buffer::from_slice(device, &bias)?;
    let (hidden_there, mut hidden) = rounded(device, numbers, &random.numbers(count))?;
    let (residual_there, residual) = rounded(device, numbers, &random.numbers(count))?;
    let from = ResidualNorm {
        hidden: hidden_there.address(),
        bias: bias_there.view().address(),
        mask: mask.row_mask(),
        residual: residual_there.address(),
        norm: weights.places(),
        epsilon: EPSILON,
    };
    let (unkept, output_there) = (Tensor::new(device, numbers, count)?, Tensor::new(device, numbers, count)?);
    let inverse_there = Buffer::<f32>::new(device, rows)?;
    residual_norm(device, shape, &from, Kept::NOTHING, unkept.address())?;
    let kept = Kept { normalized: hidden_there.address(), inverse: inverse_there.view().address() };
    residual_norm(device, shape, &from, kept, output_there.address())?;

    let (mut output, mut inverse) = (vec![0.0; count], vec![0.0; rows]);
    let norm = weights.norm();
    dropout_residual_norm(0, &mut hidden, &bias, mask.stream, &residual, norm, &mut output, &mut inverse);
    let allowed = tolerance(numbers);
    let result = output_there.to_vec()?;
    Ok(vec![
        Comparison::new(format!("{name}, output"), &result, &output, allowed),
        Comparison::new(format!("{name}, normalized"), &hidden_there.to_vec()?, &hidden, allowed),
        Comparison::new(format!("{name}, 1 / deviation"), &inverse_there.to_vec()?, &inverse, 2e-6),
        Comparison::new(format!("{name}, nothing kept"), &unkept.to_vec()?, &result, 0.0),
    ])
}

/// What a backward leaves on the device: d_sum, d_hidden, and the gradients by weight, shift and bias. In place, or as
/// sparingly as it can be asked: d_sum elsewhere, and no d_hidden where it would be d_sum.
fn run_backward(
    device: &Device,
    shape: Shape,
    (masks_output, in_place): (bool, bool),
    mask: &Mask,
    weights: &Weights,
    (d_output, normalized, inverse, before): (&[f32], &[f32], &[f32], &[f32]),
) -> Result<[Vec<f32>; 3], CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let d_output = Tensor::from_slice(device, numbers, d_output)?;
    let elsewhere = Tensor::new(device, numbers, rows * columns)?;
    let d_sum = if in_place { &d_output } else { &elsewhere };
    let d_hidden = Tensor::new(device, numbers, rows * columns)?;
    let normalized = Tensor::from_slice(device, numbers, normalized)?;
    let inverse = Buffer::from_slice(device, inverse)?;
    let gradients = Buffer::from_slice(device, before)?;
    let mut scratch = Buffer::new(device, 0)?;
    let place = |number: usize| gradients.view().part(number * columns, columns).address();
    let backward = NormBackward {
        d_output: d_output.address(),
        d_sum: d_sum.address(),
        kept: Kept { normalized: normalized.address(), inverse: inverse.view().address() },
        weight: weights.places().weight,
        gradients: NormPlaces { weight: place(0), shift: place(1) },
    };
    let no_hidden = !in_place && mask.stream.is_none();
    let mask = mask.row_mask();
    if masks_output {
        norm_dropout_backward(device, shape, &backward, mask, place(2), &mut scratch)?;
        return Ok([d_sum.to_vec()?, Vec::new(), gradients.to_vec()?]);
    }
    let to = if no_hidden { Address::NONE } else { d_hidden.address() };
    residual_norm_backward(device, shape, &backward, mask, (to, place(2)), &mut scratch)?;
    let d_hidden = if no_hidden { d_sum } else { &d_hidden };
    Ok([d_sum.to_vec()?, d_hidden.to_vec()?, gradients.to_vec()?])
}

fn backward(
    device: &Device,
    shape: Shape,
    rate: f32,
    masks_output: bool,
    random: &mut Random,
    name: &str,
) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let count = rows * columns;
    let mask = Mask::draw(device, rows, columns, rate)?;
    let weights = Weights::new(device, random, columns)?;
    let (_, d_output) = rounded(device, numbers, &random.numbers(count))?;
    let (_, normalized) = rounded(device, numbers, &random.numbers(count))?;
    let inverse: Vec<f32> = random.numbers(rows).iter().map(|value| 1.5 + value).collect();
    let before = random.numbers(3 * columns);
    let inputs = (&d_output[..], &normalized[..], &inverse[..], &before[..]);
    let results = run_backward(device, shape, (masks_output, true), &mask, &weights, inputs)?;
    let again = run_backward(device, shape, (masks_output, false), &mask, &weights, inputs)?;

    let (mut d_sum, mut d_hidden) = (d_output.clone(), vec![0.0; count]);
    if masks_output {
        embed_dropout_backward(0, &mut d_sum, columns, mask.stream);
    }
    let products: Vec<f32> = d_sum.iter().zip(&normalized).map(|(d, x)| d * x).collect();
    let d_weight = with_column_sums(&before[..columns], &products);
    let d_shift = with_column_sums(&before[columns..2 * columns], &d_sum);
    let (mut unused, mut unused_too) = (vec![0.0; columns], vec![0.0; columns]);
    norm_backward(&mut d_sum, &normalized, &inverse, &weights.weight, &mut unused, &mut unused_too);
    dropout_backward(0, &d_sum, if masks_output { None } else { mask.stream }, columns, &mut d_hidden);
    let d_columns = with_column_sums(&before[2 * columns..], &d_hidden);
    if masks_output {
        d_hidden.clear();
    }
    let allowed = tolerance(numbers);
    // Rows that are read again have their columns summed once they are rounded.
    let of_columns = if columns <= 1024 { SUM_TOLERANCE } else { allowed };
    let gradient = |number: usize| &results[2][number * columns..(number + 1) * columns];
    let mut comparisons = vec![
        Comparison::new(format!("{name}, d_sum"), &results[0], &d_sum, allowed),
        Comparison::new(format!("{name}, d_hidden"), &results[1], &d_hidden, allowed),
        Comparison::new(format!("{name}, d_weight"), gradient(0), &d_weight, SUM_TOLERANCE),
        Comparison::new(format!("{name}, d_shift"), gradient(1), &d_shift, SUM_TOLERANCE),
        Comparison::new(format!("{name}, d_bias"), gradient(2), &d_columns, of_columns),
    ];
    for (result, again) in results.iter().zip(&again) {
        comparisons.push(Comparison::new(format!("{name}, again"), again, result, 0.0));
    }
    Ok(comparisons)
}

fn sums(device: &Device, shape: Shape, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let (there, values) = rounded(device, numbers, &random.numbers(rows * columns))?;
    let before = random.numbers(columns);
    let mut scratch = Buffer::new(device, 0)?;
    let mut run = |address: Address| -> Result<Vec<f32>, CudaError> {
        let gradient = Buffer::from_slice(device, &before)?;
        column_sums(device, shape, address, gradient.view().address(), &mut scratch)?;
        gradient.to_vec()
    };
    let (result, again) = (run(there.address())?, run(there.address())?);
    let expected = with_column_sums(&before, &values);
    let name = format!("column sums of {rows} × {columns}, {numbers:?}");
    Ok(vec![
        Comparison::new(name.clone(), &result, &expected, SUM_TOLERANCE),
        Comparison::new(format!("{name}, again"), &again, &result, 0.0),
    ])
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let (mut comparisons, mut random) = (Vec::new(), Random::new(1));
    for numbers in [Numbers::Bf16, Numbers::Float32] {
        for (rows, columns, rate) in SIZES {
            let shape = Shape { numbers, rows, columns };
            let name = format!("norm of {rows} × {columns}, {numbers:?}, dropout {rate}");
            comparisons.extend(forward(device, shape, rate, &mut random, &name)?);
            for (masks_output, which) in [(false, "backward"), (true, "backward, dropout behind")] {
                let name = format!("{name}, {which}");
                comparisons.extend(backward(device, shape, rate, masks_output, &mut random, &name)?);
            }
        }
        for (rows, columns) in [(1, 8), (77, 1152), (3000, 72), (300, 12_288)] {
            comparisons.extend(sums(device, Shape { numbers, rows, columns }, &mut random)?);
        }
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    #[test]
    fn norms_are_the_cpus() {
        let device = crate::kernels::cuda::emulator::device();
        super::super::tests::assert_all_hold(&super::check(&device).expect("the emulator fails at nothing"));
    }
}
