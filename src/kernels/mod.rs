//! The numeric kernels, and the only place where `unsafe` is allowed (calls into the `gemm` crate, and
//! instructions that only some CPUs have).
//!
//! Every kernel works on flat row-major `f32` slices and knows nothing of models. Elementwise loops are written plainly
//! and compiled several times, for the widest vectors that the CPU turns out to have ([`vector::vectorized`]). Work is
//! divided into blocks whose size does not depend on the number of threads, and partial sums are added in the order of
//! the blocks, so that results are the same for any number of threads.

use std::cell::RefCell;

pub mod attention;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod dropout;
pub mod embedding;
pub mod gelu;
mod hardware;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
pub mod optimizer;
pub mod packed;
pub mod similarity;
pub(crate) mod team;
pub mod vector;

pub use hardware::{GpuDescription, Hardware, KernelCheck, KernelComparison, KernelTime};

/// Rows that one task takes of a batch with so many: few enough that a block's numbers stay in a core's second-level
/// cache, enough that weights are read seldom, and tasks for several cores also where there are few rows. It depends on
/// the batch alone, since sums over blocks are part of the result.
pub(crate) fn row_block(rows: usize) -> usize {
    const MOST: usize = 96;
    const TASKS: usize = 8;
    const WHOLE_TILES: usize = 6;
    rows.div_ceil(TASKS).next_multiple_of(WHOLE_TILES).clamp(WHOLE_TILES, MOST)
}

/// Rows that one task takes where nothing is summed over blocks, so that the threads may decide: as few tasks as occupy
/// all of them evenly, since each reads all weights.
pub(crate) fn even_row_block(rows: usize, threads: usize) -> usize {
    const MOST: usize = 96;
    let rounds = rows.div_ceil(threads * MOST).max(1);
    rows.div_ceil(threads * rounds).max(1)
}

/// Runs a computation of many parallel parts on the pool's own threads. From outside, each part would put the caller to
/// sleep and wake it again, which takes as long as a small part.
pub(crate) fn on_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// Room for `N` intermediate results of a task, kept by each thread; their contents are whatever was left there.
pub(crate) fn with_scratch<const N: usize, R>(work: impl FnOnce(&mut [Vec<f32>; N]) -> R) -> R {
    thread_local!(static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) });
    // Taken rather than borrowed: the work may be divided, and this thread then lent to a task that comes here too.
    let mut kept = SCRATCH.take();
    let mut buffers = std::array::from_fn(|_| kept.pop().unwrap_or_default());
    let result = work(&mut buffers);
    // Put back in the order in which they will be taken again, so that each grows to one use's size.
    kept.extend(buffers.into_iter().rev());
    SCRATCH.set(kept);
    result
}

/// Adds partial sums to a total, in the order of the blocks that they come from.
pub(crate) fn add_in_order<'p>(partial: impl Iterator<Item = &'p [f32]>, total: &mut [f32]) {
    for partial in partial {
        vector::add_scaled(total, 1.0, partial);
    }
}

/// The first `length` numbers of a buffer that grows where it must and never shrinks. What stood there is lost when it
/// grows: old numbers are not worth copying, and a little more than is asked for saves growing again for the next batch.
pub(crate) fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        let more = if buffer.is_empty() { 0 } else { length / 8 };
        *buffer = Vec::new();
        *buffer = vec![0.0; length + more];
    }
    &mut buffer[..length]
}
