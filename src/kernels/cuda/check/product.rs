//! Products, against plain sums in float64: as linear layers, their gradients, the loss and the search ask for them.

use crate::kernels::cuda::{CudaError, Device, Matrix, Numbers, Product, Tensor};

use super::{Comparison, Random};

/// One product: its sizes, and how its factors lie.
#[derive(Debug, Clone, Copy)]
struct Case {
    rows: usize,
    inner: usize,
    columns: usize,
    left_transposed: bool,
    right_transposed: bool,
    factors: Numbers,
    result: Numbers,
    bias: bool,
    add: bool,
    tf32: bool,
    batches: usize,
    /// Numbers between a row's end and the next one's beginning, in the factors.
    gap: usize,
}

const PLAIN: Case = Case {
    rows: 96,
    inner: 64,
    columns: 128,
    left_transposed: false,
    right_transposed: false,
    factors: Numbers::Bf16,
    result: Numbers::Bf16,
    bias: false,
    add: false,
    tf32: false,
    batches: 1,
    gap: 0,
};

fn cases() -> Vec<Case> {
    let linear = Case { right_transposed: true, bias: true, ..PLAIN };
    let by_weight = Case { left_transposed: true, result: Numbers::Float32, add: true, ..PLAIN };
    let float32 = |case: Case| Case { factors: Numbers::Float32, result: Numbers::Float32, ..case };
    let dots = float32(Case { rows: 32, inner: 33, columns: 32, right_transposed: true, gap: 31, batches: 4, ..PLAIN });
    let mut cases = Vec::new();
    // As many tokens as there happen to be, also fewer than a tile.
    for rows in [1, 37, 512, 1001] {
        cases.push(Case { rows, ..linear });
        cases.push(Case { rows, add: true, ..PLAIN });
        cases.push(Case { inner: rows, ..by_weight });
    }
    let all: Vec<Case> = [linear, PLAIN, by_weight].map(float32).into_iter().collect();
    cases.extend(&all);
    cases.extend(all.into_iter().map(|case| Case { tf32: true, ..case }));
    // The loss: dot products of columns, and their way back, for several micro-batches at once.
    cases.push(dots);
    cases.push(Case { add: true, ..dots });
    cases.push(float32(Case { rows: 32, inner: 32, columns: 33, gap: 31, batches: 4, add: true, ..PLAIN }));
    let back =
        Case { rows: 32, inner: 32, columns: 33, left_transposed: true, gap: 31, batches: 4, add: true, ..PLAIN };
    cases.push(float32(back));
    // The search: few queries, many documents.
    cases.push(float32(Case { rows: 3, inner: 64, columns: 1000, right_transposed: true, ..PLAIN }));
    cases
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let mut random = Random::new(11);
    cases().into_iter().map(|case| compare(device, case, &mut random)).collect()
}

/// A factor's numbers as the device has them, and where they lie.
struct Factor {
    there: Tensor,
    values: Vec<f32>,
    stride: usize,
    transposed: bool,
    batch_stride: usize,
}

impl Factor {
    fn new(
        device: &Device,
        case: Case,
        (rows, columns): (usize, usize),
        transposed: bool,
        random: &mut Random,
    ) -> Result<Self, CudaError> {
        let (rows, columns) = if transposed { (columns, rows) } else { (rows, columns) };
        let stride = columns + case.gap;
        let there = Tensor::from_slice(device, case.factors, &random.numbers(case.batches * rows * stride))?;
        let values = there.to_vec()?;
        Ok(Self { there, values, stride, transposed, batch_stride: rows * stride })
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> f64 {
        let (row, column) = if self.transposed { (column, row) } else { (row, column) };
        f64::from(self.values[batch * self.batch_stride + row * self.stride + column])
    }

    fn matrix(&self, rows: usize, columns: usize) -> Matrix {
        Matrix {
            address: self.there.address(),
            numbers: self.there.numbers(),
            rows,
            columns,
            stride: self.stride,
            transposed: self.transposed,
            batch_stride: self.batch_stride,
        }
    }
}

fn compare(device: &Device, case: Case, random: &mut Random) -> Result<Comparison, CudaError> {
    let Case { rows, inner, columns, batches, .. } = case;
    let left = Factor::new(device, case, (rows, inner), case.left_transposed, random)?;
    let right = Factor::new(device, case, (inner, columns), case.right_transposed, random)?;
    let result = Tensor::from_slice(device, case.result, &random.numbers(batches * rows * columns))?;
    let bias = Tensor::from_slice(device, case.result, &random.numbers(columns))?;
    let (before, bias_values) = (result.to_vec()?, bias.to_vec()?);
    device.multiply(&Product {
        left: left.matrix(rows, inner),
        right: right.matrix(inner, columns),
        result: Matrix::dense(result.address(), case.result, rows, columns).batched(rows * columns),
        bias: case.bias.then(|| bias.address()),
        add: case.add,
        batches,
        tf32: case.tf32,
    })?;
    let expected: Vec<f32> = (0..batches * rows * columns)
        .map(|place| {
            let (batch, row, column) = (place / (rows * columns), place / columns % rows, place % columns);
            let product: f64 = (0..inner).map(|k| left.at(batch, row, k) * right.at(batch, k, column)).sum();
            let start = if case.add { f64::from(before[place]) } else { 0.0 };
            let bias = if case.bias { f64::from(bias_values[column]) } else { 0.0 };
            (start + product + bias) as f32
        })
        .collect();
    let tolerance = match (case.result, case.tf32) {
        (Numbers::Bf16, _) => 4e-3,
        (Numbers::Float32, true) => 1e-3,
        (Numbers::Float32, false) => 3e-6,
    };
    let letters = |transposed: bool| if transposed { "ᵀ" } else { "" };
    let name = format!(
        "product [{rows}, {inner}]{} by [{inner}, {columns}]{} × {batches}, {:?} to {:?}{}{}{}",
        letters(case.left_transposed),
        letters(case.right_transposed),
        case.factors,
        case.result,
        if case.bias { ", bias" } else { "" },
        if case.add { ", added" } else { "" },
        if case.tf32 { ", TF32" } else { "" },
    );
    Ok(Comparison::new(name, &result.to_vec()?, &expected, tolerance))
}
