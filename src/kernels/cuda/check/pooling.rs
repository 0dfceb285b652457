//! Pooling and normalised rows, against plain loops in float64: what the CPU engine has of it belongs to models.

use crate::kernels::cuda::pooling::{PoolKind, normalize, normalize_backward, pool, pool_backward};
use crate::kernels::cuda::{Buffer, CudaError, Device, Numbers, Tensor};

use super::norm::{rounded, tolerance};
use super::{Comparison, Random};

/// Sequences of one token, fewer tokens than warps, as many, and more.
const CU_SEQLENS: [u32; 7] = [0, 1, 4, 12, 13, 14, 61];

/// The pooled embeddings, and the gradient by the tokens.
fn reference(kind: PoolKind, tokens: &[f32], columns: usize, d_pooled: &[f32]) -> [Vec<f32>; 2] {
    let (mut pooled, mut d_tokens) = (Vec::new(), vec![0.0; tokens.len()]);
    for (sequence, ends) in CU_SEQLENS.windows(2).enumerate() {
        let (first, end) = (ends[0] as usize, ends[1] as usize);
        for column in 0..columns {
            let place = |token: usize| token * columns + column;
            let d = f64::from(d_pooled[sequence * columns + column]);
            let count = (end - first) as f64;
            match kind {
                PoolKind::Cls => {
                    pooled.push(tokens[place(first)]);
                    d_tokens[place(first)] = d as f32;
                }
                PoolKind::Mean => {
                    let sum: f64 = (first..end).map(|token| f64::from(tokens[place(token)])).sum();
                    pooled.push((sum / count) as f32);
                    (first..end).for_each(|token| d_tokens[place(token)] = (d / count) as f32);
                }
                PoolKind::Max => {
                    let mut most = first;
                    for token in first..end {
                        if tokens[place(token)] > tokens[place(most)] {
                            most = token;
                        }
                    }
                    pooled.push(tokens[place(most)]);
                    d_tokens[place(most)] = d as f32;
                }
            }
        }
    }
    [pooled, d_tokens]
}

fn check_pool(
    device: &Device,
    numbers: Numbers,
    kind: PoolKind,
    columns: usize,
    random: &mut Random,
) -> Result<Vec<Comparison>, CudaError> {
    let (sequences, tokens) = (CU_SEQLENS.len() - 1, CU_SEQLENS[CU_SEQLENS.len() - 1] as usize);
    // Few values, so that several tokens have the maximum.
    let values: Vec<f32> = (0..tokens * columns).map(|_| random.below(9) as f32 * 0.37 - 1.4).collect();
    let (there, values) = rounded(device, numbers, &values)?;
    let d_pooled = random.numbers(sequences * columns);
    let d_pooled_there = Buffer::from_slice(device, &d_pooled)?;
    let cu_seqlens = Buffer::from_slice(device, &CU_SEQLENS)?;
    let run = || -> Result<[Vec<f32>; 2], CudaError> {
        let pooled = Buffer::<f32>::new(device, sequences * columns)?;
        let d_tokens = Tensor::new(device, numbers, tokens * columns)?;
        let (seqlens, d_there) = (cu_seqlens.view(), d_pooled_there.view().address());
        pool(device, numbers, kind, seqlens, columns, there.address(), pooled.view().address())?;
        pool_backward(device, numbers, kind, seqlens, columns, there.address(), d_there, d_tokens.address())?;
        Ok([pooled.to_vec()?, d_tokens.to_vec()?])
    };
    let (results, again) = (run()?, run()?);
    let expected = reference(kind, &values, columns, &d_pooled);
    let name = format!("{kind:?} of {columns} columns, {numbers:?}");
    Ok(vec![
        Comparison::new(name.clone(), &results[0], &expected[0], 1e-6),
        Comparison::new(format!("{name}, backward"), &results[1], &expected[1], tolerance(numbers)),
        Comparison::new(format!("{name}, again"), &again[0], &results[0], 0.0),
        Comparison::new(format!("{name}, backward again"), &again[1], &results[1], 0.0),
    ])
}

fn check_normalize(
    device: &Device,
    rows: usize,
    columns: usize,
    random: &mut Random,
) -> Result<Vec<Comparison>, CudaError> {
    let (mut values, d) = (random.numbers(rows * columns), random.numbers(rows * columns));
    // Nothing is divided by zero.
    values[..columns].fill(0.0);
    let [values_there, d_there] = [Buffer::from_slice(device, &values)?, Buffer::from_slice(device, &d)?];
    let (normalized_there, norms_there) =
        (Buffer::<f32>::new(device, rows * columns)?, Buffer::<f32>::new(device, rows)?);
    let (normalized_at, norms_at) = (normalized_there.view().address(), norms_there.view().address());
    normalize(device, (rows, columns), values_there.view().address(), normalized_at, norms_at)?;
    let d_at = d_there.view().address();
    normalize_backward(device, (rows, columns), (normalized_at, norms_at), d_at, d_at)?;

    let (mut normalized, mut norms, mut d_values) = (Vec::new(), Vec::new(), Vec::new());
    for (row, d) in values.chunks(columns).zip(d.chunks(columns)) {
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        let along: f64 = row.iter().zip(d).map(|(x, d)| f64::from(*x) / norm * f64::from(*d)).sum();
        norms.push(norm as f32);
        normalized.extend(row.iter().map(|x| (f64::from(*x) / norm) as f32));
        // The gradient of the row of zeros would outweigh all others.
        let scale = if norm > 1e-6 { 1.0 } else { 1e-12 };
        d_values.extend(
            row.iter().zip(d).map(|(x, d)| ((f64::from(*d) - f64::from(*x) / norm * along) / norm * scale) as f32),
        );
    }
    let mut d_result = d_there.to_vec()?;
    d_result[..columns].iter_mut().for_each(|value| *value *= 1e-12);
    let name = format!("{rows} × {columns} normalised");
    Ok(vec![
        Comparison::new(name.clone(), &normalized_there.to_vec()?, &normalized, 1e-6),
        Comparison::new(format!("{name}, norms"), &norms_there.to_vec()?, &norms, 1e-6),
        Comparison::new(format!("{name}, backward"), &d_result, &d_values, 2e-6),
    ])
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let (mut comparisons, mut random) = (Vec::new(), Random::new(4));
    for numbers in [Numbers::Bf16, Numbers::Float32] {
        for kind in [PoolKind::Cls, PoolKind::Mean, PoolKind::Max] {
            for columns in [8, 384, 1032] {
                comparisons.extend(check_pool(device, numbers, kind, columns, &mut random)?);
            }
        }
    }
    for (rows, columns) in [(1, 8), (9, 384), (6, 4096)] {
        comparisons.extend(check_normalize(device, rows, columns, &mut random)?);
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    #[test]
    fn pooling_is_that_of_plain_loops() {
        let device = crate::kernels::cuda::emulator::device();
        super::super::tests::assert_all_hold(&super::check(&device).expect("the emulator fails at nothing"));
    }
}
