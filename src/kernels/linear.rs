//! Linear layers: their products forward and back, in float32 or in bfloat16.
//!
//! Weights change once per optimizer step and are read by many products in between, so they are laid out for those once
//! per step. Forward and back work on a few rows at a time, on the thread that calls, so that a block of the model can go
//! through all its layers while its numbers are in the caches; the gradient by the weights needs all rows, and takes all threads.

use std::cell::RefCell;

use rayon::prelude::*;

use super::matmul::{Accumulate, Layout, product};
use super::packed::{self, Panels, Rows, Unit};
use super::team::Team;

/// How matrix products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// In float32, through the gemm crate: on any CPU.
    Gemm,
    /// In a unit's numbers, of factors that are packed once for many products.
    Packed(Unit),
}

impl Arithmetic {
    /// The fastest for float32 on this CPU.
    #[must_use]
    pub fn float32() -> Self {
        Unit::for_float32().map_or(Self::Gemm, Self::Packed)
    }
}

/// Words of a stretch of tokens in a weight's gradient: enough to write the gradient seldom, few enough that a panel stays
/// in the second-level cache.
const STRETCH_WORDS: usize = 512;
/// Rows of a weight's gradient that one task takes: whole tiles of every unit.
const GRADIENT_ROWS: usize = 96;

/// One side of a layer's products.
#[derive(Debug, Clone)]
enum Factor {
    Gemm(Vec<f32>),
    Packed(Unit, Panels),
}

/// The weights of one linear layer, or of several that read the same input and are computed as one, made ready for
/// products.
#[derive(Debug, Clone)]
pub(crate) struct PackedLinear {
    inputs: usize,
    outputs: usize,
    /// `[inputs, outputs]`.
    forward: Factor,
    /// `[outputs, inputs]`; none where there is no backward, or where the weights themselves serve.
    backward: Option<Factor>,
}

impl PackedLinear {
    /// Packs weights (each `[outputs, inputs]`), whose outputs will lie side by side.
    pub(crate) fn pack(weights: &[&[f32]], inputs: usize, arithmetic: Arithmetic, for_backward: bool) -> Self {
        let outputs = weights.iter().map(|weight| weight.len()).sum::<usize>() / inputs;
        let mut packed = match arithmetic {
            Arithmetic::Gemm => {
                Self { inputs, outputs, forward: Factor::Gemm(vec![0.0; inputs * outputs]), backward: None }
            }
            Arithmetic::Packed(unit) => {
                let empty = || Factor::Packed(unit, Panels::default());
                Self { inputs, outputs, forward: empty(), backward: for_backward.then(empty) }
            }
        };
        packed.repack(weights);
        packed
    }

    /// Packs changed weights of the same shapes.
    pub(crate) fn repack(&mut self, weights: &[&[f32]]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        match &mut self.forward {
            Factor::Gemm(turned) => turn(weights, inputs, outputs, turned),
            Factor::Packed(unit, panels) => {
                let joined = weights.concat();
                panels.pack(*unit, &joined, Layout::dense(outputs, inputs).transposed());
                if let Some(Factor::Packed(unit, panels)) = &mut self.backward {
                    panels.pack(*unit, &joined, Layout::dense(outputs, inputs));
                }
            }
        }
    }

    /// Bytes held besides the weights themselves.
    pub(crate) fn bytes(&self) -> usize {
        let of = |factor: &Factor| match factor {
            Factor::Gemm(values) => size_of_val(&**values),
            Factor::Packed(_, panels) => panels.bytes(),
        };
        of(&self.forward) + self.backward.as_ref().map_or(0, of)
    }

    /// `output = input weightᵀ`: `[rows, outputs]` from `[rows, inputs]`, on this thread.
    pub(crate) fn forward(&self, input: &[f32], output: &mut [f32]) {
        let rows = input.len() / self.inputs;
        self.multiply(&self.forward, input, rows, output, Accumulate::Replace);
    }

    /// As [`PackedLinear::forward`], by the threads of a team where the factors are packed.
    pub(crate) fn forward_by_team(&self, team: &Team, input: &[f32], output: &mut [f32]) {
        match &self.forward {
            Factor::Gemm(_) => self.forward(input, output),
            Factor::Packed(unit, panels) => with_words(|words| {
                let rows = Rows::pack(*unit, input, Layout::dense(input.len() / self.inputs, self.inputs), words);
                packed::multiply_by_team(team, *unit, rows, panels, output);
            }),
        }
    }

    /// `d_input = d_output weight`, or added to it: `[rows, inputs]` from `[rows, outputs]`, on this thread. `weights`
    /// are those that were packed.
    pub(crate) fn backward(&self, weights: &[&[f32]], d_output: &[f32], d_input: &mut [f32], into: Accumulate) {
        let rows = d_output.len() / self.outputs;
        if let Some(factor) = &self.backward {
            return self.multiply(factor, d_output, rows, d_input, into);
        }
        let mut first = 0;
        for weight in weights {
            let outputs = weight.len() / self.inputs;
            let into = if first == 0 { into } else { Accumulate::Add };
            let left = (d_output, Layout::columns_of(0, rows, self.outputs, first, outputs));
            let result = (&mut *d_input, Layout::dense(rows, self.inputs));
            product(left, (weight, Layout::dense(outputs, self.inputs)), result, 1.0, into, true);
            first += outputs;
        }
    }

    fn multiply(&self, factor: &Factor, left: &[f32], rows: usize, result: &mut [f32], into: Accumulate) {
        if rows == 0 {
            return;
        }
        let (inner, columns) = (left.len() / rows, result.len() / rows);
        match factor {
            Factor::Gemm(right) => {
                let (left, right) = ((left, Layout::dense(rows, inner)), (&**right, Layout::dense(inner, columns)));
                product(left, right, (result, Layout::dense(rows, columns)), 1.0, into, true);
            }
            Factor::Packed(unit, panels) => with_words(|words| {
                let left = Rows::pack(*unit, left, Layout::dense(rows, inner), words);
                packed::multiply(*unit, left, panels, result, into);
            }),
        }
    }
}

/// Writes weights (each `[outputs, inputs]`) turned and side by side: `[inputs, outputs]`.
fn turn(weights: &[&[f32]], inputs: usize, outputs: usize, turned: &mut [f32]) {
    const BLOCK: usize = 16;
    turned.par_chunks_mut(BLOCK * outputs).enumerate().for_each(|(block, turned)| {
        let rows = weights.iter().flat_map(|weight| weight.chunks_exact(inputs)).enumerate();
        for (output, row) in rows {
            for (input, value) in row[block * BLOCK..].iter().take(BLOCK).enumerate() {
                turned[input * outputs + output] = *value;
            }
        }
    });
}

/// Adds to each of `d_weights` (`[outputs, inputs]`) its part of `d_outputᵀ input`, on all threads. `d_output` is
/// `[rows, outputs of all]`, side by side in the order of `d_weights`; `input` is `[rows, inputs]`.
pub(crate) fn weight_gradients(
    arithmetic: Arithmetic,
    d_output: &[f32],
    input: &[f32],
    inputs: usize,
    d_weights: &mut [&mut [f32]],
) {
    let rows = input.len() / inputs;
    if rows == 0 {
        return;
    }
    let outputs = d_output.len() / rows;
    let unit = match arithmetic {
        Arithmetic::Packed(unit) if !unit.is_float32() => unit,
        // In float32 packing all rows costs more than it gains: the gemm crate is as fast.
        _ => {
            let mut first = 0;
            for d_weight in d_weights {
                let part = d_weight.len() / inputs;
                let left = Layout::columns_of(0, rows, outputs, first, part).transposed();
                let result = (&mut **d_weight, Layout::dense(part, inputs));
                product((d_output, left), (input, Layout::dense(rows, inputs)), result, 1.0, Accumulate::Add, false);
                first += part;
            }
            return;
        }
    };
    with_gradient_room(|words, panels| {
        let stretch = STRETCH_WORDS * unit.numbers();
        for start in (0..rows).step_by(stretch) {
            let count = stretch.min(rows - start);
            panels.pack(unit, input, Layout::dense(rows, inputs).rows_from(start, count));
            let left = Layout::dense(rows, outputs).rows_from(start, count).transposed();
            let left = Rows::pack_in_parallel(unit, d_output, left, words);
            let mut first = 0;
            for d_weight in &mut *d_weights {
                let blocks = d_weight.par_chunks_mut(GRADIENT_ROWS * inputs).enumerate();
                blocks.for_each(|(block, d_weight)| {
                    let left = left.part(first + block * GRADIENT_ROWS, d_weight.len() / inputs);
                    packed::multiply(unit, left, panels, d_weight, Accumulate::Add);
                });
                first += d_weight.len() / inputs;
            }
        }
    });
}

/// Room for a block's packed rows, kept by each thread.
fn with_words<R>(work: impl FnOnce(&mut Vec<u32>) -> R) -> R {
    thread_local!(static WORDS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) });
    WORDS.with_borrow_mut(work)
}

/// Room for both factors of a weight's gradient, kept by the thread that asks for them.
fn with_gradient_room<R>(work: impl FnOnce(&mut Vec<u32>, &mut Panels) -> R) -> R {
    thread_local!(static ROOM: RefCell<(Vec<u32>, Panels)> = RefCell::default());
    // Taken rather than borrowed: while the pool works, this thread may be lent to a task that comes here too.
    let (mut words, mut panels) = ROOM.take();
    let result = work(&mut words, &mut panels);
    ROOM.set((words, panels));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        // Integers of few bits: exact in bfloat16, and their sums in any order.
        (0..count).map(|index| ((index * step) % 13) as f32 - 6.0).collect()
    }

    const SHAPES: [(usize, usize, usize); 6] =
        [(1, 1, 1), (3, 5, 7), (70, 64, 32), (129, 33, 65), (2, 96, 128), (2100, 8, 3)];

    fn arithmetics() -> impl Iterator<Item = Arithmetic> {
        let units = [Unit::Float32, Unit::Float32Avx2, Unit::Amx, Unit::Avx512, Unit::Portable].into_iter();
        [Arithmetic::Gemm].into_iter().chain(units.filter(|unit| unit.is_available()).map(Arithmetic::Packed))
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        #[test]
        fn layers_of_random_shapes_go_forward_and_back(
            rows in 1_usize..150, inputs in 1_usize..150, outputs in 1_usize..80,
        ) {
            check(&[(rows, inputs, outputs)]);
        }
    }

    #[test]
    fn layers_go_forward_and_back_by_definition() {
        check(&SHAPES);
    }

    /// Three layers of one input, as attention has them, in every arithmetic, against the definition.
    fn check(shapes: &[(usize, usize, usize)]) {
        for arithmetic in arithmetics() {
            for (rows, inputs, outputs) in shapes.iter().copied() {
                let input = numbers(rows * inputs, 5);
                let weights: Vec<Vec<f32>> = [7, 3, 11].map(|step| numbers(outputs * inputs, step)).into();
                let weights: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
                let all = 3 * outputs;
                let weight = |output: usize, k: usize| weights[output / outputs][output % outputs * inputs + k];
                let packed = PackedLinear::pack(&weights, inputs, arithmetic, true);

                let mut output = vec![f32::NAN; rows * all];
                packed.forward(&input, &mut output);
                for (place, value) in output.iter().enumerate() {
                    let (row, column) = (place / all, place % all);
                    let sum: f32 = (0..inputs).map(|k| input[row * inputs + k] * weight(column, k)).sum();
                    assert_eq!(*value, sum, "{arithmetic:?}, {rows} rows, {inputs} to {outputs}: {row}, {column}");
                }

                let d_output = numbers(rows * all, 3);
                let by_input = |row: usize, k: usize| -> f32 {
                    (0..all).map(|column| d_output[row * all + column] * weight(column, k)).sum()
                };
                for into in [Accumulate::Replace, Accumulate::Add] {
                    let before = if into == Accumulate::Add { 1.0 } else { 0.0 };
                    let mut d_input = vec![1.0; rows * inputs];
                    packed.backward(&weights, &d_output, &mut d_input, into);
                    for (place, value) in d_input.iter().enumerate() {
                        assert_eq!(*value, before + by_input(place / inputs, place % inputs), "{arithmetic:?}");
                    }
                }

                let mut d_weights = vec![vec![1.0; outputs * inputs]; 3];
                let mut parts: Vec<&mut [f32]> = d_weights.iter_mut().map(Vec::as_mut_slice).collect();
                weight_gradients(arithmetic, &d_output, &input, inputs, &mut parts);
                for (place, value) in d_weights.concat().iter().enumerate() {
                    let (column, k) = (place / inputs, place % inputs);
                    let sum: f32 = (0..rows).map(|row| d_output[row * all + column] * input[row * inputs + k]).sum();
                    assert_eq!(*value, 1.0 + sum, "{arithmetic:?}, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn changed_weights_are_packed_anew() {
        for arithmetic in arithmetics() {
            let mut packed = PackedLinear::pack(&[&[1.0, 2.0]], 2, arithmetic, false);
            packed.repack(&[&[3.0, 4.0]]);
            let mut output = [0.0];
            packed.forward(&[1.0, 1.0], &mut output);
            assert_eq!(output, [7.0], "{arithmetic:?}");
        }
    }
}
