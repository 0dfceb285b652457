//! The numeric kernels, and the only place where `unsafe` is allowed (the calls into the `gemm` crate).
//!
//! Every kernel works on flat row-major `f32` slices and knows nothing of models. Elementwise loops are written plainly
//! and compiled several times, for the widest vectors that the CPU turns out to have ([`vector::vectorized`]). Work is
//! divided into blocks whose size does not depend on the number of threads, and partial sums are added in the order of
//! the blocks, so that results are the same for any number of threads.

pub mod attention;
pub mod dropout;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod matmul;
pub mod optimizer;
pub mod similarity;
pub mod vector;

/// Rows that one task of a row-wise kernel takes.
pub(crate) const ROW_BLOCK: usize = 32;

/// The first `length` numbers of a buffer that grows where it must and never shrinks.
pub(crate) fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}
