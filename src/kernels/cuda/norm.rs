//! Layer norms with what stands before them (bias, dropout, residual sum), and sums over columns.

use super::{Address, Buffer, CudaError, Device, Numbers, View, kernel};

/// Warps of a block where each takes a row.
pub(super) const ROW_WARPS: usize = 4;
/// Columns up to which a warp holds a row in registers.
const MOST_HELD: usize = 1024;
/// Columns that a warp's lanes take at once, 8 each.
pub(super) const WARP_COLUMNS: usize = 256;
/// Blocks of a norm's backward at most, and rows of each at least.
const MOST_NORM_BLOCKS: usize = 3 * 132;
const LEAST_NORM_ROWS: usize = 4 * ROW_WARPS;
/// Warps of a block that sums columns, and of one that adds partial sums.
const SUM_WARPS: usize = 8;
const ADDING_WARPS: usize = 16;

/// The instance of a kernel of rows that holds as many columns as there are.
macro_rules! instance {
    ($shape:expr, $name:literal) => {
        match ($shape.columns.div_ceil($crate::kernels::cuda::norm::WARP_COLUMNS), $shape.numbers) {
            (1, $crate::kernels::cuda::Numbers::Bf16) => concat!($name, "_1_bf16"),
            (2, $crate::kernels::cuda::Numbers::Bf16) => concat!($name, "_2_bf16"),
            (3, $crate::kernels::cuda::Numbers::Bf16) => concat!($name, "_3_bf16"),
            (4, $crate::kernels::cuda::Numbers::Bf16) => concat!($name, "_4_bf16"),
            (_, $crate::kernels::cuda::Numbers::Bf16) => concat!($name, "_any_bf16"),
            (1, $crate::kernels::cuda::Numbers::Float32) => concat!($name, "_1_f32"),
            (2, $crate::kernels::cuda::Numbers::Float32) => concat!($name, "_2_f32"),
            (3, $crate::kernels::cuda::Numbers::Float32) => concat!($name, "_3_f32"),
            (4, $crate::kernels::cuda::Numbers::Float32) => concat!($name, "_4_f32"),
            (_, $crate::kernels::cuda::Numbers::Float32) => concat!($name, "_any_f32"),
        }
    };
}
pub(super) use instance;

/// A matrix of activations, `[rows, columns]`, without gaps; columns are a multiple of 8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Its numbers.
    pub(crate) numbers: Numbers,
    /// Tokens.
    pub(crate) rows: usize,
    /// Numbers of a token.
    pub(crate) columns: usize,
}

/// The dropout mask of rows, `[rows, row_words]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMask {
    words: Address,
    row_words: usize,
    scale: f32,
}

impl RowMask {
    /// Nothing is dropped.
    pub(crate) const NONE: Self = Self { words: Address::NONE, row_words: 0, scale: 1.0 };

    /// What [`super::dropout::draw_rows`] drew for rows of `columns` numbers; what is kept is multiplied by `scale`.
    pub(crate) fn new(words: View<u32>, columns: usize, scale: f32) -> Self {
        Self { words: words.address(), row_words: super::dropout::row_words(columns), scale }
    }

    pub(super) fn words(&self) -> Address {
        self.words
    }

    pub(super) fn row_words(&self) -> usize {
        self.row_words
    }

    pub(super) fn scale(&self) -> f32 {
        self.scale
    }
}

/// A layer norm's weights, or their gradients: float32, `[columns]` each, from multiples of 16 bytes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormPlaces {
    /// The scale.
    pub(crate) weight: Address,
    /// The shift.
    pub(crate) shift: Address,
}

/// What a norm's forward keeps for its backward.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// The rows before scale and shift, `[rows, columns]`.
    pub(crate) normalized: Address,
    /// 1 / each row's standard deviation, float32, `[rows]`.
    pub(crate) inverse: Address,
}

impl Kept {
    /// There will be no backward.
    pub(crate) const NOTHING: Self = Self { normalized: Address::NONE, inverse: Address::NONE };
}

/// What [`residual_norm`] reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResidualNorm {
    /// `[rows, columns]`, a linear layer's output without its bias.
    pub(crate) hidden: Address,
    /// That bias, float32, `[columns]`.
    pub(crate) bias: Address,
    /// What is dropped of `hidden + bias`.
    pub(crate) mask: RowMask,
    /// `[rows, columns]`.
    pub(crate) residual: Address,
    /// The norm's weights.
    pub(crate) norm: NormPlaces,
    /// Added to the variance.
    pub(crate) epsilon: f32,
}

/// `output = norm(residual + dropout(hidden + bias))`, `[rows, columns]`. `kept.normalized` may be `hidden`.
///
/// # Errors
/// As the device says.
pub(crate) fn residual_norm(
    device: &Device,
    shape: Shape,
    from: &ResidualNorm,
    kept: Kept,
    output: Address,
) -> Result<(), CudaError> {
    if shape.rows == 0 {
        return Ok(());
    }
    let arguments = [
        kept.normalized.into(),
        kept.inverse.into(),
        output.into(),
        from.hidden.into(),
        from.residual.into(),
        from.bias.into(),
        from.norm.weight.into(),
        from.norm.shift.into(),
        from.mask.words.into(),
        shape.rows.into(),
        shape.columns.into(),
        from.mask.row_words.into(),
        from.mask.scale.into(),
        from.epsilon.into(),
    ];
    let blocks = shape.rows.div_ceil(ROW_WARPS);
    device.launch(instance!(shape, "residual_norm"), [blocks, 1, 1], 32 * ROW_WARPS, 0, &arguments)
}

/// What both backwards of a norm read and write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NormBackward {
    /// The gradient by the norm's output, `[rows, columns]`.
    pub(crate) d_output: Address,
    /// Gets the gradient by its input, `[rows, columns]`; may be `d_output`.
    pub(crate) d_sum: Address,
    /// What forward kept.
    pub(crate) kept: Kept,
    /// The norm's scale, float32, `[columns]`.
    pub(crate) weight: Address,
    /// Where the gradients by scale and shift are added to.
    pub(crate) gradients: NormPlaces,
}

/// Backward of [`residual_norm`]: writes `d_sum`, then `d_hidden` (`[rows, columns]`), which is `d_sum` times the mask
/// that forward took; adds to the gradients of the norm and, the sums of d_hidden's columns, to that of the bias,
/// `d_bias`. `d_hidden` may be none where nothing was dropped, as it equals `d_sum` then. Partial sums go to `scratch`.
///
/// # Errors
/// As the device says.
pub(crate) fn residual_norm_backward(
    device: &Device,
    shape: Shape,
    backward: &NormBackward,
    mask: RowMask,
    (d_hidden, d_bias): (Address, Address),
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let (masks, scale) = ([mask.words, Address::NONE], mask.scale);
    norm_backward(device, shape, backward, (masks, mask.row_words, scale), d_hidden, d_bias, scratch)
}

/// Backward of a norm whose output was dropped out (the embeddings'): multiplies `d_output` by the mask, writes
/// `d_sum`, adds to the gradients of the norm, and the sums of d_sum's columns to `d_columns` (float32, `[columns]`).
///
/// # Errors
/// As the device says.
pub(crate) fn norm_dropout_backward(
    device: &Device,
    shape: Shape,
    backward: &NormBackward,
    mask: RowMask,
    d_columns: Address,
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let masks = [Address::NONE, mask.words];
    norm_backward(device, shape, backward, (masks, mask.row_words, mask.scale), Address::NONE, d_columns, scratch)
}

/// Both, with the masks of the norm's input and output.
fn norm_backward(
    device: &Device,
    shape: Shape,
    backward: &NormBackward,
    ([input_mask, output_mask], row_words, scale): ([Address; 2], usize, f32),
    d_hidden: Address,
    d_columns: Address,
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let Shape { numbers, rows, columns } = shape;
    if rows == 0 {
        return Ok(());
    }
    let NormBackward { d_output, d_sum, kept, weight, gradients } = *backward;
    if columns <= MOST_HELD {
        // As many blocks as an H100's 132 multiprocessors run at once, three or two each as registers allow, whatever
        // the device; and a few rows at least for each warp, as each block writes three rows of sums.
        let most_blocks = match (columns.div_ceil(WARP_COLUMNS), numbers) {
            (1 | 2, _) | (3, Numbers::Bf16) => MOST_NORM_BLOCKS,
            _ => 2 * 132,
        };
        let block_rows = rows.div_ceil(most_blocks).max(LEAST_NORM_ROWS).next_multiple_of(ROW_WARPS);
        let blocks = rows.div_ceil(block_rows);
        scratch.grow(blocks * 3 * columns)?;
        let arguments = [
            d_sum.into(),
            d_hidden.into(),
            scratch.view().into(),
            d_output.into(),
            kept.normalized.into(),
            kept.inverse.into(),
            weight.into(),
            input_mask.into(),
            output_mask.into(),
            rows.into(),
            columns.into(),
            row_words.into(),
            block_rows.into(),
            scale.into(),
        ];
        let shared = ROW_WARPS * columns * size_of::<f32>();
        let name = instance!(shape, "norm_backward");
        device.launch(name, [blocks, 1, 1], 32 * ROW_WARPS, shared, &arguments)?;
        return add_partials(device, scratch, blocks, columns, [gradients.weight, gradients.shift, d_columns]);
    }
    let SumLaunch { grid, threads, block_rows } = SumLaunch::new(rows, columns);
    scratch.grow(grid[1] * 2 * columns)?;
    let arguments = [
        scratch.view().into(),
        d_output.into(),
        kept.normalized.into(),
        output_mask.into(),
        rows.into(),
        columns.into(),
        row_words.into(),
        block_rows.into(),
        scale.into(),
    ];
    device.launch(kernel!(numbers, "norm_sums"), grid, threads, 0, &arguments)?;
    add_partials(device, scratch, grid[1], columns, [gradients.weight, gradients.shift])?;
    let arguments = [
        d_sum.into(),
        d_hidden.into(),
        d_output.into(),
        kept.normalized.into(),
        kept.inverse.into(),
        weight.into(),
        input_mask.into(),
        output_mask.into(),
        rows.into(),
        columns.into(),
        row_words.into(),
        scale.into(),
    ];
    let blocks = rows.div_ceil(ROW_WARPS);
    device.launch(kernel!(numbers, "norm_backward_rows"), [blocks, 1, 1], 32 * ROW_WARPS, 0, &arguments)?;
    let summed = if d_hidden == Address::NONE { d_sum } else { d_hidden };
    column_sums(device, shape, summed, d_columns, scratch)
}

/// Adds the sums of the columns of `values` (`[rows, columns]`) to `gradient` (float32, `[columns]`).
///
/// # Errors
/// As the device says.
pub(crate) fn column_sums(
    device: &Device,
    shape: Shape,
    values: Address,
    gradient: Address,
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let Shape { numbers, rows, columns } = shape;
    if rows == 0 {
        return Ok(());
    }
    let SumLaunch { grid, threads, block_rows } = SumLaunch::new(rows, columns);
    scratch.grow(grid[1] * columns)?;
    let arguments = [scratch.view().into(), values.into(), rows.into(), columns.into(), block_rows.into()];
    device.launch(kernel!(numbers, "column_sums"), grid, threads, 0, &arguments)?;
    add_partials(device, scratch, grid[1], columns, [gradient])
}

/// Numbers of scratch that backward of norms of `columns` and sums over the columns of matrices of these `widths` take
/// at most, of up to `rows` rows.
pub(crate) fn most_partials(rows: usize, columns: usize, widths: impl IntoIterator<Item = usize>) -> usize {
    let sums = |columns: usize| SumLaunch::most_parts(columns).min(rows.div_ceil(SumLaunch::LEAST_ROWS)) * columns;
    let norms = 3 * columns * MOST_NORM_BLOCKS.min(rows.div_ceil(LEAST_NORM_ROWS));
    widths.into_iter().map(sums).fold(norms.max(2 * sums(columns)), usize::max)
}

/// How a kernel is launched that sums columns (`sum_tile`).
pub(super) struct SumLaunch {
    /// Blocks: of columns, of rows.
    pub(super) grid: [usize; 3],
    /// Threads of each.
    pub(super) threads: usize,
    /// Rows of each.
    pub(super) block_rows: usize,
}

impl SumLaunch {
    /// Rows of a block at least.
    const LEAST_ROWS: usize = 4 * SUM_WARPS;

    /// Blocks of rows at most: about as many blocks as the largest devices run at once, whatever the device, since the
    /// sums' order depends on it.
    fn most_parts(columns: usize) -> usize {
        (1056 / columns.div_ceil(WARP_COLUMNS)).clamp(1, 256)
    }

    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let block_rows = rows.div_ceil(Self::most_parts(columns)).max(Self::LEAST_ROWS).next_multiple_of(SUM_WARPS);
        let across = columns.div_ceil(WARP_COLUMNS);
        Self { grid: [across, rows.div_ceil(block_rows), 1], threads: 32 * SUM_WARPS, block_rows }
    }
}

/// Adds `parts` partial sums of each gradient (`[parts, gradients, columns]`), in an order of theirs alone.
///
/// # Errors
/// As the device says.
pub(super) fn add_partials<const N: usize>(
    device: &Device,
    partials: &Buffer<f32>,
    parts: usize,
    columns: usize,
    gradients: [Address; N],
) -> Result<(), CudaError> {
    let width = N * columns;
    let gradient = |number: usize| gradients.get(number).copied().unwrap_or(Address::NONE);
    let arguments = [
        gradient(0).into(),
        gradient(1).into(),
        gradient(2).into(),
        partials.view().into(),
        parts.into(),
        width.into(),
        columns.into(),
    ];
    device.launch("add_partials", [width.div_ceil(32), 1, 1], 32 * ADDING_WARPS, 0, &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::emulator;
    use crate::kernels::cuda::gelu::gelu_backward;

    /// Whatever a step takes after it has begun, it might lack.
    #[test]
    fn partial_sums_of_fewer_rows_fit_those_of_more() {
        let (device, columns, inner) = (emulator::device(), 16, 40);
        let most = most_partials(700, columns, [inner, 3 * columns]);
        for rows in [1, 15, 16, 17, 33, 100, 330, 635, 700] {
            let shape = Shape { numbers: Numbers::Bf16, rows, columns };
            let mut scratch = Buffer::new(&device, most).unwrap();
            let room = Buffer::<u8>::zeros(&device, 16 * rows * inner).unwrap();
            let matrix = |number: usize| room.view().part(4 * number * rows * inner, 0).address();
            let sums = Buffer::<f32>::zeros(&device, 3 * inner).unwrap();
            let sum = |number: usize| sums.view().part(number * inner, 0).address();
            let backward = NormBackward {
                d_output: matrix(0),
                d_sum: matrix(0),
                kept: Kept { normalized: matrix(1), inverse: matrix(2) },
                weight: sum(0),
                gradients: NormPlaces { weight: sum(1), shift: sum(2) },
            };
            let branch = (matrix(3), sum(0));
            residual_norm_backward(&device, shape, &backward, RowMask::NONE, branch, &mut scratch).unwrap();
            column_sums(&device, Shape { columns: 3 * columns, ..shape }, matrix(0), sum(0), &mut scratch).unwrap();
            let wide = Shape { columns: inner, ..shape };
            gelu_backward(&device, wide, matrix(0), matrix(1), matrix(2), sum(0), &mut scratch).unwrap();
            assert_eq!(scratch.len(), most, "{rows} rows");
        }
    }
}
