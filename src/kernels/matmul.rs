//! Matrix products, through the gemm crate, on all of the current rayon pool's threads.
#![allow(unsafe_code)]

use gemm::Parallelism;
use rayon::prelude::*;

use super::ROW_BLOCK;

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

/// `output = input weightᵀ` for a linear layer's `weight` (`[outputs, inputs]`); `output` is as given by `layout`, so that
/// several layers may write beside each other.
pub(crate) fn linear(input: &[f32], weight: &[f32], output: &mut [f32], layout: Layout) {
    let inputs = weight.len() / layout.columns;
    let right = Layout::dense(layout.columns, inputs).transposed();
    product(
        (input, Layout::dense(layout.rows, inputs)),
        (weight, right),
        (output, layout),
        1.0,
        Accumulate::Replace,
        false,
    );
}

/// `d_input (+)= d_output weight`.
pub(crate) fn linear_backward_input(
    d_output: &[f32],
    layout: Layout,
    weight: &[f32],
    d_input: &mut [f32],
    into: Accumulate,
) {
    let inputs = weight.len() / layout.columns;
    let right = Layout::dense(layout.columns, inputs);
    product((d_output, layout), (weight, right), (d_input, Layout::dense(layout.rows, inputs)), 1.0, into, false);
}

/// `d_weight += d_outputᵀ input`.
pub(crate) fn linear_backward_weight(d_output: &[f32], layout: Layout, input: &[f32], d_weight: &mut [f32]) {
    let inputs = d_weight.len() / layout.columns;
    let result = (d_weight, Layout::dense(layout.columns, inputs));
    let right = (input, Layout::dense(layout.rows, inputs));
    product((d_output, layout.transposed()), right, result, 1.0, Accumulate::Add, false);
}

/// Adds `bias` (`[columns]`) to each row of `values` (`[rows, columns]`).
pub(crate) fn add_to_rows(values: &mut [f32], bias: &[f32]) {
    values.par_chunks_mut(ROW_BLOCK * bias.len()).for_each(|rows| {
        super::vector::vectorized(|| {
            for row in rows.chunks_exact_mut(bias.len()) {
                super::vector::add_scaled(row, 1.0, bias);
            }
        });
    });
}

/// Adds to `sums` (`[columns]`) the sum over the rows of `values` (`[rows, columns]`): a bias's gradient.
pub(crate) fn add_column_sums(values: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    let partial: Vec<Vec<f32>> = values
        .par_chunks(ROW_BLOCK * columns)
        .map(|rows| {
            let mut partial = vec![0.0; columns];
            super::vector::vectorized(|| {
                for row in rows.chunks_exact(columns) {
                    super::vector::add_scaled(&mut partial, 1.0, row);
                }
            });
            partial
        })
        .collect();
    for partial in &partial {
        super::vector::add_scaled(sums, 1.0, partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 13) as f32 - 6.0).collect()
    }

    fn expected(left: &[f32], l: Layout, right: &[f32], r: Layout, row: usize, column: usize) -> f32 {
        let at = |layout: Layout, i: usize, j: usize| layout.offset + i * layout.row_stride + j * layout.column_stride;
        (0..l.columns).map(|k| left[at(l, row, k)] * right[at(r, k, column)]).sum()
    }

    #[test]
    fn linear_layers_go_forward_and_back_by_definition() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (70, 64, 96), (129, 33, 65), (1, 384, 384)] {
            let (input, weight) = (numbers(rows * inputs, 5), numbers(outputs * inputs, 7));
            // The layer's output lies in the middle of wider rows.
            let (stride, first) = (outputs + 3, 2);
            let layout = Layout::columns_of(0, rows, stride, first, outputs);
            let mut output = vec![9.0; rows * stride];
            linear(&input, &weight, &mut output, layout);
            let (x, w) = (Layout::dense(rows, inputs), Layout::dense(outputs, inputs));
            for row in 0..rows {
                assert_eq!(output[row * stride], 9.0);
                for column in 0..outputs {
                    let value = output[row * stride + first + column];
                    // Small integers: sums are exact in any order.
                    assert_eq!(value, expected(&input, x, &weight, w.transposed(), row, column));
                }
            }
            let d_output = numbers(rows * stride, 3);
            let (mut d_input, mut d_weight) = (vec![1.0; rows * inputs], vec![1.0; outputs * inputs]);
            linear_backward_input(&d_output, layout, &weight, &mut d_input, Accumulate::Add);
            linear_backward_weight(&d_output, layout, &input, &mut d_weight);
            for (index, value) in d_input.iter().enumerate() {
                let sum = expected(&d_output, layout, &weight, w, index / inputs, index % inputs);
                assert_eq!(*value, 1.0 + sum);
            }
            for (index, value) in d_weight.iter().enumerate() {
                let sum = expected(&d_output, layout.transposed(), &input, x, index / inputs, index % inputs);
                assert_eq!(*value, 1.0 + sum);
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
        linear(&[0.0; 4], &[0.0; 4], &mut [0.0; 3], Layout::dense(2, 2));
    }
}
