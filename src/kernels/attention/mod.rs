//! Softmax attention over packed sequences: each token attends to the tokens of its own sequence, so there is neither a
//! mask nor padding. Forward keeps one number per token and head, from which backward makes the probabilities anew
//! (Dao, Fu, Ermon, Rudra and Ré 2022), so that memory grows with the tokens and not with their square.

mod by_head;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::dropout::DropoutStream;
use super::matmul::{Accumulate, Layout, product};
use super::vector::{dot, exp, max, sum, vectorized};
use super::{room, with_scratch};
pub(crate) use by_head::{attention_by_head, gather_heads};

/// The shape of packed attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Where each sequence starts, and the end: `[sequences + 1]`.
    pub(crate) cu_seqlens: &'a [usize],
    /// Heads.
    pub(crate) heads: usize,
    /// Each head's size; the factor before the softmax is one over its square root.
    pub(crate) head_size: usize,
}

/// One sequence's place.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    number: usize,
    start: usize,
    length: usize,
}

impl<'a> Shape<'a> {
    fn hidden(&self) -> usize {
        self.heads * self.head_size
    }

    fn factor(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    fn sequences(&self) -> impl Iterator<Item = Sequence> + use<'a> {
        let ends = self.cu_seqlens.windows(2).enumerate();
        ends.map(|(number, ends)| Sequence { number, start: ends[0], length: ends[1] - ends[0] })
    }

    /// Query (0), key (1) or value (2) of one head, as columns of `[tokens, 3 * hidden]` from row `start` on.
    fn part(&self, start: usize, length: usize, part: usize, head: usize) -> Layout {
        let row = 3 * self.hidden();
        Layout::columns_of(start * row, length, row, part * self.hidden() + head * self.head_size, self.head_size)
    }

    /// One head's columns of `[tokens, hidden]` from row `start` on.
    fn head(&self, start: usize, length: usize, head: usize) -> Layout {
        let row = self.hidden();
        Layout::columns_of(start * row, length, row, head * self.head_size, self.head_size)
    }

    /// Scaled scores of one head, `[length, length]`.
    fn scores(&self, qkv: &[f32], sequence: Sequence, head: usize, scores: &mut [f32]) {
        let Sequence { start, length, .. } = sequence;
        let query = (qkv, self.part(start, length, 0, head));
        let key = (qkv, self.part(start, length, 1, head).transposed());
        let result = (scores, Layout::dense(length, length));
        product(query, key, result, self.factor(), Accumulate::Replace, true);
    }

    /// Names the dropout mask of one head of one sequence.
    fn unit(&self, sequence: Sequence, head: usize) -> u32 {
        (sequence.number * self.heads + head) as u32
    }
}

/// Cuts a slice of `[tokens, width]` into the sequences' parts.
fn cut<'s>(mut values: &'s mut [f32], shape: Shape<'_>, width: usize) -> Vec<&'s mut [f32]> {
    let mut parts = Vec::with_capacity(shape.cu_seqlens.len());
    for sequence in shape.sequences() {
        let (part, rest) = values.split_at_mut(sequence.length * width);
        parts.push(part);
        values = rest;
    }
    parts
}

/// Works on each sequence with its part of the results, on all threads. The longest go first and each is a task of its
/// own: their cost grows with the square of the length, and one that came last would leave the other threads idle.
fn for_each_sequence<P: Send>(parts: impl Iterator<Item = (Sequence, P)>, work: impl Fn(Sequence, P) + Sync) {
    let mut tasks: Vec<_> = parts.collect();
    tasks.sort_by_key(|(sequence, _)| std::cmp::Reverse(sequence.length));
    tasks.into_par_iter().with_max_len(1).for_each(|(sequence, part)| work(sequence, part));
}

impl Shape<'_> {
    /// One head's probabilities, `[length, length]`, dropped out; `log_sums` (`[length]`) gets the logarithm of each row's
    /// sum.
    fn probabilities(
        &self,
        qkv: &[f32],
        sequence: Sequence,
        head: usize,
        dropout: Option<DropoutStream<'_>>,
        probabilities: &mut [f32],
        log_sums: &mut [f32],
    ) {
        let length = sequence.length;
        self.scores(qkv, sequence, head, probabilities);
        // The exponentials are taken of all rows at once: rows are short, and what does not fill a register at the end of
        // each would be taken one by one.
        vectorized!({
            for (row, log_sum) in probabilities.chunks_exact_mut(length).zip(&mut *log_sums) {
                let most = max(row);
                row.iter_mut().for_each(|score| *score -= most);
                *log_sum = most;
            }
            probabilities.iter_mut().for_each(|score| *score = exp(*score));
            for (row, log_sum) in probabilities.chunks_exact_mut(length).zip(log_sums) {
                let total = sum(row);
                let share = 1.0 / total;
                row.iter_mut().for_each(|value| *value *= share);
                *log_sum += total.ln();
            }
        });
        if let Some(dropout) = &dropout {
            dropout.apply(self.unit(sequence, head), probabilities);
        }
    }

    /// The probabilities' mean of one head's values, to where `result` says.
    fn mean_value(
        &self,
        probabilities: &[f32],
        qkv: &[f32],
        sequence: Sequence,
        head: usize,
        result: (&mut [f32], Layout),
    ) {
        let Sequence { start, length, .. } = sequence;
        let value = (qkv, self.part(start, length, 2, head));
        product((probabilities, Layout::dense(length, length)), value, result, 1.0, Accumulate::Replace, true);
    }
}

/// `context = dropout(softmax(query keyᵀ / √head_size)) value`, per sequence and head. `qkv` is `[tokens, 3 * hidden]`,
/// `context` `[tokens, hidden]`; `log_sums` (`[tokens * heads]`) holds for backward the logarithm of each softmax's sum.
pub(crate) fn attention(
    shape: Shape<'_>,
    qkv: &[f32],
    dropout: Option<DropoutStream<'_>>,
    context: &mut [f32],
    log_sums: &mut [f32],
) {
    let parts = shape.sequences().zip(cut(context, shape, shape.hidden())).zip(cut(log_sums, shape, shape.heads));
    for_each_sequence(
        parts.map(|((sequence, context), log_sums)| (sequence, (context, log_sums))),
        |sequence, (context, log_sums)| {
            let length = sequence.length;
            with_scratch(|[probabilities]| {
                for (head, log_sums) in log_sums.chunks_exact_mut(length).enumerate() {
                    let probabilities = room(probabilities, length * length);
                    shape.probabilities(qkv, sequence, head, dropout, probabilities, log_sums);
                    let result = (&mut *context, shape.head(0, length, head));
                    shape.mean_value(probabilities, qkv, sequence, head, result);
                }
            });
        },
    );
}

/// From the gradient by the context writes the one by query, key and value. `qkv`, `log_sums` and `dropout` are those of
/// forward.
pub(crate) fn attention_backward(
    shape: Shape<'_>,
    qkv: &[f32],
    log_sums: &[f32],
    dropout: Option<DropoutStream<'_>>,
    d_context: &[f32],
    d_qkv: &mut [f32],
) {
    let parts = shape.sequences().zip(cut(d_qkv, shape, 3 * shape.hidden()));
    for_each_sequence(parts, |sequence, d_qkv| {
        let Sequence { start, length, .. } = sequence;
        with_scratch(|[probabilities, mask, masked, gradient]| {
            let square = Layout::dense(length, length);
            let log_sums = &log_sums[start * shape.heads..][..length * shape.heads];
            for (head, log_sums) in log_sums.chunks_exact(length).enumerate() {
                let probabilities = room(probabilities, length * length);
                shape.scores(qkv, sequence, head, probabilities);
                vectorized!({
                    for (row, log_sum) in probabilities.chunks_exact_mut(length).zip(log_sums) {
                        row.iter_mut().for_each(|score| *score -= log_sum);
                    }
                    probabilities.iter_mut().for_each(|score| *score = exp(*score));
                });
                let d_head = (d_context, shape.head(start, length, head));
                let d_part = |part: usize| shape.part(0, length, part, head);

                let mask = room(mask, length * length);
                let masked = match &dropout {
                    None => &*probabilities,
                    Some(dropout) => {
                        mask.fill(1.0);
                        dropout.apply(shape.unit(sequence, head), mask);
                        let masked = room(masked, length * length);
                        vectorized!(for ((masked, p), factor) in masked.iter_mut().zip(&*probabilities).zip(&*mask) {
                            *masked = p * factor;
                        });
                        &*masked
                    }
                };
                product((masked, square.transposed()), d_head, (d_qkv, d_part(2)), 1.0, Accumulate::Replace, true);

                let gradient = room(gradient, length * length);
                let value = (qkv, shape.part(start, length, 2, head).transposed());
                product(d_head, value, (gradient, square), 1.0, Accumulate::Replace, true);
                if dropout.is_some() {
                    vectorized!(for (d, factor) in gradient.iter_mut().zip(&*mask) {
                        *d *= factor;
                    });
                }
                vectorized!({
                    for (d, p) in gradient.chunks_exact_mut(length).zip(probabilities.chunks_exact(length)) {
                        let along = dot(d, p);
                        for (d, p) in d.iter_mut().zip(p) {
                            *d = p * (*d - along);
                        }
                    }
                });
                let (query, key) = (shape.part(start, length, 0, head), shape.part(start, length, 1, head));
                let factor = shape.factor();
                product((gradient, square), (qkv, key), (d_qkv, d_part(0)), factor, Accumulate::Replace, true);
                let turned = (&*gradient, square.transposed());
                product(turned, (qkv, query), (d_qkv, d_part(1)), factor, Accumulate::Replace, true);
            }
        });
    });
}
