//! A product of row-major matrices as cuBLAS takes it, which is column-major.
//!
//! A row-major matrix read as a column-major one is its transpose, and `C = A B` is `Cᵀ = Bᵀ Aᵀ`: so the right factor
//! comes first, and nothing has to be moved.

use crate::kernels::cuda::{CudaError, Matrix, Product};

/// A column-major product: `result[m, n] = op(first)[m, k] op(second)[k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ColumnMajor {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// The row-major right factor.
    pub(super) first: Layout,
    /// The row-major left factor.
    pub(super) second: Layout,
    pub(super) result: Layout,
    pub(super) batches: usize,
}

/// How a column-major matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// Rows, before any transposing.
    pub(super) rows: usize,
    /// Columns, before any transposing.
    pub(super) columns: usize,
    /// From the beginning of a column to that of the next, in numbers.
    pub(super) leading: usize,
    /// True where the product takes its transpose.
    pub(super) transposed: bool,
    /// From one matrix of a batch to the next, in numbers.
    pub(super) batch_stride: usize,
}

impl Layout {
    fn of(matrix: &Matrix) -> Self {
        // What lies in memory as rows are the columns.
        let (rows, columns) =
            if matrix.transposed { (matrix.rows, matrix.columns) } else { (matrix.columns, matrix.rows) };
        let Matrix { stride: leading, transposed, batch_stride, .. } = *matrix;
        Self { rows, columns, leading, transposed, batch_stride }
    }
}

impl ColumnMajor {
    /// The same product.
    ///
    /// # Errors
    /// Where sizes or numbers do not agree.
    pub(super) fn of(product: &Product) -> Result<Self, CudaError> {
        let Product { left, right, result, batches, .. } = product;
        let agree = left.columns == right.rows
            && (left.rows, right.columns) == (result.rows, result.columns)
            && left.numbers == right.numbers
            && !result.transposed;
        if !agree {
            return Err(CudaError::Failed { what: "multiply matrices", message: format!("sizes differ: {product:?}") });
        }
        Ok(Self {
            m: result.columns,
            n: result.rows,
            k: left.columns,
            first: Layout::of(right),
            second: Layout::of(left),
            result: Layout::of(result),
            batches: *batches,
        })
    }

    /// True where there is nothing to compute.
    pub(super) fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.batches == 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::cuda::check::Random;
    use crate::kernels::cuda::{Address, Buffer, Numbers, emulator};

    /// A column-major product, number by number, as BLAS defines it.
    pub(crate) fn multiply(product: &ColumnMajor, first: &[f32], second: &[f32], result: &mut [f32]) {
        let at = |layout: &Layout, batch: usize, row: usize, column: usize| {
            let (row, column) = if layout.transposed { (column, row) } else { (row, column) };
            assert!(row < layout.rows && column < layout.columns && layout.rows <= layout.leading);
            batch * layout.batch_stride + column * layout.leading + row
        };
        for batch in 0..product.batches {
            for column in 0..product.n {
                for row in 0..product.m {
                    let term = |inner| {
                        first[at(&product.first, batch, row, inner)] * second[at(&product.second, batch, inner, column)]
                    };
                    result[at(&product.result, batch, row, column)] = (0..product.k).map(term).sum();
                }
            }
        }
    }

    /// A factor of `rows` by `columns` that lies in memory with gaps, and how many numbers that takes.
    pub(crate) fn factor(rows: usize, columns: usize, transposed: bool, gap: usize, batches: usize) -> (Matrix, usize) {
        let lying = if transposed { (columns, rows) } else { (rows, columns) };
        let dense = Matrix::dense(Address::NONE, Numbers::Float32, lying.0, lying.1);
        let each = lying.0 * (lying.1 + gap) + gap;
        let matrix = dense.strided(lying.1 + gap).batched(each);
        (if transposed { matrix.transposed() } else { matrix }, each * batches)
    }

    #[test]
    fn it_is_the_row_major_product() {
        let device = emulator::device();
        let mut random = Random::new(3);
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (7, 2, 9), (1, 8, 4), (4, 8, 1)] {
            for case in 0..16 {
                let (batches, gap) = (if case & 4 == 0 { 1 } else { 3 }, if case & 8 == 0 { 0 } else { 3 });
                let (mut left, left_size) = factor(rows, inner, case & 1 != 0, gap, batches);
                let (mut right, right_size) = factor(inner, columns, case & 2 != 0, gap, batches);
                let (mut result, result_size) = factor(rows, columns, false, gap, batches);
                let (first, second) = (random.numbers(right_size), random.numbers(left_size));
                let zeros = vec![0.0; result_size];
                let [lefts, rights, results] =
                    [&second, &first, &zeros].map(|values| Buffer::from_slice(&device, values).unwrap());
                left.address = lefts.view().address();
                right.address = rights.view().address();
                result.address = results.view().address();
                let product = Product { left, right, result, bias: None, add: false, batches, tf32: false };
                device.multiply(&product).unwrap();

                let mut expected = zeros;
                multiply(&ColumnMajor::of(&product).unwrap(), &first, &second, &mut expected);
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6;
                assert!(results.to_vec().unwrap().iter().zip(&expected).all(close), "{product:?}");
            }
        }
    }

    #[test]
    fn sizes_as_cublas_is_told_them() {
        let dense = |rows, columns| Matrix::dense(Address::NONE, Numbers::Bf16, rows, columns);
        // 100 tokens of 384 numbers times the transpose of a weight of [1536, 384].
        let product = Product {
            left: dense(100, 384),
            right: dense(1536, 384).transposed(),
            result: dense(100, 1536),
            bias: None,
            add: false,
            batches: 1,
            tf32: false,
        };
        let ColumnMajor { m, n, k, first, second, result, .. } = ColumnMajor::of(&product).unwrap();
        assert_eq!((m, n, k), (1536, 100, 384));
        let layout = |rows, columns, transposed| Layout { rows, columns, leading: rows, transposed, batch_stride: 0 };
        assert_eq!(first, layout(384, 1536, true));
        assert_eq!(second, layout(384, 100, false));
        assert_eq!(result, layout(1536, 100, false));
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let dense = |rows, columns| Matrix::dense(Address::NONE, Numbers::Float32, rows, columns);
        let product = |left, right, result| {
            let product = Product { left, right, result, bias: None, add: false, batches: 1, tf32: false };
            ColumnMajor::of(&product).is_ok()
        };
        assert!(product(dense(2, 3), dense(3, 4), dense(2, 4)));
        assert!(!product(dense(2, 3), dense(4, 4), dense(2, 4)));
        assert!(!product(dense(2, 3), dense(3, 4), dense(4, 2)));
        assert!(!product(dense(2, 3), dense(3, 2), dense(2, 2).transposed()));
        let rounded = Matrix { numbers: Numbers::Bf16, ..dense(3, 4) };
        assert!(!product(dense(2, 3), rounded, dense(2, 4)));
    }
}
