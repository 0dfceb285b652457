//! GELU, forward and backward.

use crate::kernels::cuda::gelu::{gelu, gelu_backward};
use crate::kernels::cuda::norm::Shape;
use crate::kernels::cuda::{Buffer, CudaError, Device, Numbers, Tensor};
use crate::kernels::gelu::bias_gelu;

use super::norm::{rounded, tolerance, with_column_sums};
use super::{Comparison, Random};

/// Results of one backward: d, what was activated, the bias's gradient.
fn backward(
    device: &Device,
    shape: Shape,
    hidden: &Tensor,
    d: &[f32],
    before: &[f32],
) -> Result<[Vec<f32>; 3], CudaError> {
    let d = Tensor::from_slice(device, shape.numbers, d)?;
    let activated = Tensor::new(device, shape.numbers, shape.rows * shape.columns)?;
    let gradient = Buffer::from_slice(device, before)?;
    let (d_bias, mut scratch) = (gradient.view().address(), Buffer::new(device, 0)?);
    gelu_backward(device, shape, hidden.address(), d.address(), activated.address(), d_bias, &mut scratch)?;
    Ok([d.to_vec()?, activated.to_vec()?, gradient.to_vec()?])
}

fn check_shape(device: &Device, shape: Shape, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let count = rows * columns;
    // Also where it is nearly linear, and nearly 0.
    let wide: Vec<f32> = random.numbers(count).iter().map(|value| value * 6.0).collect();
    let (hidden_there, hidden) = rounded(device, numbers, &wide)?;
    let (_, d) = rounded(device, numbers, &random.numbers(count))?;
    let before = random.numbers(columns);
    let output_there = Tensor::new(device, numbers, count)?;
    gelu(device, numbers, hidden_there.address(), output_there.address(), count)?;
    let results = backward(device, shape, &hidden_there, &d, &before)?;
    let again = backward(device, shape, &hidden_there, &d, &before)?;

    let (mut output, mut d_hidden, mut activated) = (hidden.clone(), d.clone(), vec![0.0; count]);
    bias_gelu(&mut output, &vec![0.0; columns], None);
    crate::kernels::gelu::gelu_backward(&hidden, &mut d_hidden, &mut activated);
    let d_bias = with_column_sums(&before, &d_hidden);
    let (name, allowed) = (format!("GELU of {rows} × {columns}, {numbers:?}"), tolerance(numbers));
    let mut comparisons = vec![
        Comparison::new(name.clone(), &output_there.to_vec()?, &output, allowed),
        Comparison::new(format!("{name}, d"), &results[0], &d_hidden, allowed),
        Comparison::new(format!("{name}, activated"), &results[1], &activated, allowed),
        Comparison::new(format!("{name}, d_bias"), &results[2], &d_bias, 2e-6),
    ];
    for (result, again) in results.iter().zip(&again) {
        comparisons.push(Comparison::new(format!("{name}, again"), again, result, 0.0));
    }
    Ok(comparisons)
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let (mut comparisons, mut random) = (Vec::new(), Random::new(2));
    for numbers in [Numbers::Bf16, Numbers::Float32] {
        for (rows, columns) in [(1, 8), (37, 1536), (11, 3072), (700, 40)] {
            comparisons.extend(check_shape(device, Shape { numbers, rows, columns }, &mut random)?);
        }
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    #[test]
    fn gelu_is_the_cpus() {
        let device = crate::kernels::cuda::emulator::device();
        super::super::tests::assert_all_hold(&super::check(&device).expect("the emulator fails at nothing"));
    }
}
