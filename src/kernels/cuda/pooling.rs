//! From token embeddings to one per sequence, and its length set to 1.

use super::norm::{ROW_WARPS, WARP_COLUMNS};
use super::{Address, CudaError, Device, Numbers, View, kernel};

const THREADS: usize = 256;

/// How a sequence's tokens become one embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// The first token.
    Cls = 0,
    /// The tokens' mean.
    Mean = 1,
    /// The largest of each column.
    Max = 2,
}

/// Pools `tokens` (`[tokens, columns]`) into `pooled` (float32, `[sequences, columns]`). Sequence s has tokens
/// `cu_seqlens[s]` to `cu_seqlens[s + 1] - 1`, one at least.
///
/// # Errors
/// As the device says.
pub(crate) fn pool(
    device: &Device,
    numbers: Numbers,
    kind: PoolKind,
    cu_seqlens: View<u32>,
    columns: usize,
    tokens: Address,
    pooled: Address,
) -> Result<(), CudaError> {
    let sequences = cu_seqlens.len() - 1;
    if sequences == 0 {
        return Ok(());
    }
    let arguments = [pooled.into(), tokens.into(), cu_seqlens.into(), columns.into(), (kind as u32).into()];
    let grid = [sequences, columns.div_ceil(WARP_COLUMNS), 1];
    device.launch(kernel!(numbers, "pool"), grid, THREADS, 0, &arguments)
}

/// Writes the gradient by all tokens, `d_tokens` (`[tokens, columns]`), given that by the pooled embeddings, `d_pooled`
/// (float32, `[sequences, columns]`). A maximum's goes to the first token that has it; `tokens` is read for that alone.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "what pooling takes, and both gradients")]
pub(crate) fn pool_backward(
    device: &Device,
    numbers: Numbers,
    kind: PoolKind,
    cu_seqlens: View<u32>,
    columns: usize,
    tokens: Address,
    d_pooled: Address,
    d_tokens: Address,
) -> Result<(), CudaError> {
    let sequences = cu_seqlens.len() - 1;
    if sequences == 0 {
        return Ok(());
    }
    let arguments =
        [d_tokens.into(), tokens.into(), cu_seqlens.into(), d_pooled.into(), columns.into(), (kind as u32).into()];
    let grid = [sequences, columns.div_ceil(WARP_COLUMNS), 1];
    device.launch(kernel!(numbers, "pool_backward"), grid, THREADS, 0, &arguments)
}

/// Divides each row of `values` by its norm, or by 1e-12 where that is more, which goes to `norms` (`[rows]`); all
/// float32, `values` and `normalized` `[rows, columns]`.
///
/// # Errors
/// As the device says.
pub(crate) fn normalize(
    device: &Device,
    (rows, columns): (usize, usize),
    values: Address,
    normalized: Address,
    norms: Address,
) -> Result<(), CudaError> {
    if rows == 0 {
        return Ok(());
    }
    let arguments = [normalized.into(), norms.into(), values.into(), rows.into(), columns.into()];
    device.launch("normalize_rows", [rows.div_ceil(ROW_WARPS), 1, 1], 32 * ROW_WARPS, 0, &arguments)
}

/// Writes the gradient by the rows that were normalised, `d_values`, given that by the normalised ones, `d_normalized`,
/// which may be the same memory; all float32, `[rows, columns]`, `norms` `[rows]`.
///
/// # Errors
/// As the device says.
pub(crate) fn normalize_backward(
    device: &Device,
    (rows, columns): (usize, usize),
    (normalized, norms): (Address, Address),
    d_normalized: Address,
    d_values: Address,
) -> Result<(), CudaError> {
    if rows == 0 {
        return Ok(());
    }
    let arguments =
        [d_values.into(), normalized.into(), norms.into(), d_normalized.into(), rows.into(), columns.into()];
    device.launch("normalize_rows_backward", [rows.div_ceil(ROW_WARPS), 1, 1], 32 * ROW_WARPS, 0, &arguments)
}
