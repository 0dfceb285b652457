//! GELU and its derivative.

use super::norm::{Shape, SumLaunch, add_partials};
use super::{Address, Buffer, CudaError, Device, Numbers, kernel};

const THREADS: usize = 256;

/// `activated = gelu(hidden)`, `count` numbers each, a multiple of 8; `hidden` has its bias.
///
/// # Errors
/// As the device says.
pub(crate) fn gelu(
    device: &Device,
    numbers: Numbers,
    hidden: Address,
    activated: Address,
    count: usize,
) -> Result<(), CudaError> {
    let pieces = count / 8;
    if pieces == 0 {
        return Ok(());
    }
    let arguments = [activated.into(), hidden.into(), pieces.into()];
    device.launch(kernel!(numbers, "gelu"), [pieces.div_ceil(THREADS), 1, 1], THREADS, 0, &arguments)
}

/// Turns `d`, the gradient by GELU's output, into that by its input, `hidden`, in place; writes the output to
/// `activated` once more, so that it need not be kept; and adds the sums of d's columns to `d_bias` (float32,
/// `[columns]`). All three are `[rows, columns]`, none the same memory as another. Partial sums go to `scratch`.
///
/// # Errors
/// As the device says.
pub(crate) fn gelu_backward(
    device: &Device,
    shape: Shape,
    hidden: Address,
    d: Address,
    activated: Address,
    d_bias: Address,
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let Shape { numbers, rows, columns } = shape;
    if rows == 0 {
        return Ok(());
    }
    let SumLaunch { grid, threads, block_rows } = SumLaunch::new(rows, columns);
    scratch.grow(grid[1] * columns)?;
    let arguments = [
        d.into(),
        activated.into(),
        scratch.view().into(),
        hidden.into(),
        rows.into(),
        columns.into(),
        block_rows.into(),
    ];
    device.launch(kernel!(numbers, "gelu_backward"), grid, threads, 0, &arguments)?;
    add_partials(device, scratch, grid[1], columns, [d_bias])
}
