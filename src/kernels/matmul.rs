//! Matrix products in float32, through the gemm crate.
#![allow(unsafe_code)]

use gemm::Parallelism;

use super::vector::{add_scaled, vectorized};

/// Multiplications below which a product is not worth dividing among threads.
const SERIAL: usize = 1 << 18;

/// A matrix that lies in a slice: element (i, j) at `offset + i * row_stride + j * column_stride`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Rows.
    pub(crate) rows: usize,
    /// Columns.
    pub(crate) columns: usize,
    /// The first element.
    pub(crate) offset: usize,
    /// From a row to the next.
    pub(crate) row_stride: usize,
    /// From a column to the next.
    pub(crate) column_stride: usize,
}

impl Layout {
    /// A matrix whose rows lie end to end.
    pub(crate) fn dense(rows: usize, columns: usize) -> Self {
        Self { rows, columns, offset: 0, row_stride: columns, column_stride: 1 }
    }

    /// `columns` columns from `first` on of a matrix whose rows are `row_stride` apart, from element `offset` on.
    pub(crate) fn columns_of(offset: usize, rows: usize, row_stride: usize, first: usize, columns: usize) -> Self {
        Self { rows, columns, offset: offset + first, row_stride, column_stride: 1 }
    }

    /// Rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Where element (`row`, `column`) lies.
    pub(crate) fn at(&self, row: usize, column: usize) -> usize {
        self.offset + row * self.row_stride + column * self.column_stride
    }

    /// `count` rows from `first` on.
    pub(crate) fn rows_from(self, first: usize, count: usize) -> Self {
        Self { rows: count, offset: self.at(first, 0), ..self }
    }

    /// `count` columns from `first` on.
    pub(crate) fn columns_from(self, first: usize, count: usize) -> Self {
        Self { columns: count, offset: self.at(0, first), ..self }
    }

    fn check(&self, length: usize) {
        if self.rows > 0 && self.columns > 0 {
            let last = self.offset + (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
            assert!(last < length, "{self:?} lies within {length} numbers");
        }
    }
}

/// How a product goes into its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accumulate {
    /// Instead of what is there.
    Replace,
    /// Added to what is there.
    Add,
}

/// `result = factor * left right`, or added to it. On this thread alone where `serial`.
///
/// # Panics
/// Where shapes do not fit each other or their slices.
pub(crate) fn product(
    left: (&[f32], Layout),
    right: (&[f32], Layout),
    result: (&mut [f32], Layout),
    factor: f32,
    into: Accumulate,
    serial: bool,
) {
    let ((left, l), (right, r), (result, c)) = (left, right, result);
    assert!(l.columns == r.rows && c.rows == l.rows && c.columns == r.columns, "{l:?} times {r:?} does not give {c:?}");
    l.check(left.len());
    r.check(right.len());
    c.check(result.len());
    let parallel = !serial && l.rows * l.columns * r.columns > SERIAL && rayon::current_num_threads() > 1;
    let parallelism = if parallel { Parallelism::Rayon(rayon::current_num_threads()) } else { Parallelism::None };
    // SAFETY: every element that a layout names lies within its slice, as checked above; the result's slice is borrowed
    // mutably, so nothing else reads or writes it, and no layout used for a result names an element twice (rows are at
    // least as far apart as they are long).
    unsafe {
        gemm::gemm(
            c.rows,
            c.columns,
            l.columns,
            result.as_mut_ptr().add(c.offset),
            c.column_stride as isize,
            c.row_stride as isize,
            into == Accumulate::Add,
            left.as_ptr().add(l.offset),
            l.column_stride as isize,
            l.row_stride as isize,
            right.as_ptr().add(r.offset),
            r.column_stride as isize,
            r.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Adds `bias` to each row of `values` (rows of `columns`), from column `first` on.
pub(crate) fn add_to_columns(values: &mut [f32], columns: usize, first: usize, bias: &[f32]) {
    vectorized!({
        for row in values.chunks_exact_mut(columns) {
            add_scaled(&mut row[first..first + bias.len()], 1.0, bias);
        }
    });
}

/// Adds to `sums` (`[columns]`) the sum over the rows of `values` (`[rows, columns]`): a bias's gradient.
pub(crate) fn add_column_sums(values: &[f32], sums: &mut [f32]) {
    vectorized!({
        for row in values.chunks_exact(sums.len()) {
            add_scaled(sums, 1.0, row);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 13) as f32 - 6.0).collect()
    }

    /// Factors within wider matrices, as they are and turned, replacing and adding.
    #[test]
    fn products_are_right_by_definition() {
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 7), (70, 64, 96), (129, 33, 65), (1, 384, 384)] {
            let (left, right) = (numbers(rows * (inner + 2), 5), numbers(columns * (inner + 3), 7));
            let l = Layout::columns_of(0, rows, inner + 2, 1, inner);
            let r = Layout::columns_of(0, columns, inner + 3, 2, inner).transposed();
            let c = Layout::columns_of(0, rows, columns + 4, 3, columns);
            for into in [Accumulate::Replace, Accumulate::Add] {
                let mut result = vec![9.0; rows * (columns + 4)];
                product((&left, l), (&right, r), (&mut result, c), 2.0, into, false);
                for row in 0..rows {
                    assert_eq!(result[row * (columns + 4)], 9.0, "beside the result nothing is written");
                    for column in 0..columns {
                        // Small integers: sums are exact in any order.
                        let sum: f32 = (0..inner).map(|k| left[l.at(row, k)] * right[r.at(k, column)]).sum();
                        let before = if into == Accumulate::Add { 9.0 } else { 0.0 };
                        assert_eq!(result[c.at(row, column)], before + 2.0 * sum);
                    }
                }
            }
        }
    }

    #[test]
    fn column_sums_add_up() {
        let (rows, columns) = (131, 9);
        let values = numbers(rows * columns, 5);
        let mut sums = vec![2.0; columns];
        add_column_sums(&values, &mut sums);
        for (column, sum) in sums.iter().enumerate() {
            assert_eq!(*sum, 2.0 + values.iter().skip(column).step_by(columns).sum::<f32>());
        }
    }

    #[test]
    #[should_panic(expected = "lies within")]
    fn a_matrix_beyond_its_slice_is_refused() {
        let whole = Layout::dense(2, 2);
        product((&[0.0; 4], whole), (&[0.0; 4], whole), (&mut [0.0; 3], whole), 1.0, Accumulate::Replace, true);
    }
}
