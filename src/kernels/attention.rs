//! Softmax attention over packed sequences: each token attends to the tokens of its own sequence, so there is neither a
//! mask nor padding. Forward keeps one number per token and head, from which backward makes the probabilities anew
//! (Dao, Fu, Ermon, Rudra and Ré 2022), so that memory grows with the tokens and not with their square.

use rayon::prelude::*;

use super::dropout::DropoutStream;
use super::matmul::{Accumulate, Layout, product};
use super::team::Team;
use super::vector::{dot, exp, max, sum, vectorized};
use super::{room, with_scratch};

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
        dropout: Option<DropoutStream>,
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
    dropout: Option<DropoutStream>,
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

/// As [`attention`], the same numbers, but keeps nothing for backward and writes `context` head by head,
/// `[heads, tokens, head_size]`: so heads are tasks of their own, and a single sequence has work for all threads.
pub(crate) fn attention_by_head(
    team: &Team,
    shape: Shape<'_>,
    qkv: &[f32],
    dropout: Option<DropoutStream>,
    context: &mut [f32],
) {
    let tokens = qkv.len() / (3 * shape.hidden());
    let heads = context.chunks_exact_mut(tokens * shape.head_size).enumerate();
    let mut tasks: Vec<_> = heads
        .flat_map(|(head, context)| {
            let parts = cut(context, shape, shape.head_size);
            shape.sequences().zip(parts).map(move |(sequence, context)| (sequence, head, context))
        })
        .collect();
    tasks.sort_by_key(|(sequence, ..)| std::cmp::Reverse(sequence.length));
    team.for_each(tasks.into_iter(), |(sequence, head, context)| {
        let length = sequence.length;
        with_scratch(|[probabilities, log_sums]| {
            let probabilities = room(probabilities, length * length);
            shape.probabilities(qkv, sequence, head, dropout, probabilities, room(log_sums, length));
            let result = (context, Layout::dense(length, shape.head_size));
            shape.mean_value(probabilities, qkv, sequence, head, result);
        });
    });
}

/// Gathers rows `first..` of a context by heads into `rows`, `[count, hidden]`.
pub(crate) fn gather_heads(shape: Shape<'_>, context: &[f32], first: usize, rows: &mut [f32]) {
    let tokens = context.len() / shape.hidden();
    for (head, context) in context.chunks_exact(tokens * shape.head_size).enumerate() {
        let values = context[first * shape.head_size..].chunks_exact(shape.head_size);
        for (row, values) in rows.chunks_exact_mut(shape.hidden()).zip(values) {
            row[head * shape.head_size..(head + 1) * shape.head_size].copy_from_slice(values);
        }
    }
}

/// From the gradient by the context writes the one by query, key and value. `qkv`, `log_sums` and `dropout` are those of
/// forward.
pub(crate) fn attention_backward(
    shape: Shape<'_>,
    qkv: &[f32],
    log_sums: &[f32],
    dropout: Option<DropoutStream>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 23) as f32 * 0.1 - 1.1).collect()
    }

    /// The definition in float64, with the masks given as `[sequence * heads + head][query * length + key]`.
    fn forward64(shape: Shape<'_>, qkv: &[f64], masks: &[Vec<f32>]) -> Vec<f64> {
        let (hidden, size) = (shape.hidden(), shape.head_size);
        let mut context = vec![0.0; qkv.len() / 3];
        for sequence in shape.sequences() {
            for head in 0..shape.heads {
                let at = |token: usize, part: usize, column: usize| {
                    qkv[(sequence.start + token) * 3 * hidden + part * hidden + head * size + column]
                };
                let mask = &masks[sequence.number * shape.heads + head];
                for query in 0..sequence.length {
                    let score = |key: usize| -> f64 {
                        (0..size).map(|c| at(query, 0, c) * at(key, 1, c)).sum::<f64>() / (size as f64).sqrt()
                    };
                    let total: f64 = (0..sequence.length).map(|key| score(key).exp()).sum();
                    for key in 0..sequence.length {
                        let p = score(key).exp() / total * f64::from(mask[query * sequence.length + key]);
                        for c in 0..size {
                            context[(sequence.start + query) * hidden + head * size + c] += p * at(key, 2, c);
                        }
                    }
                }
            }
        }
        context
    }

    /// Forward against the definition, backward against central differences of it, in float64, at every `stride`th place.
    fn check(lengths: &[usize], heads: usize, head_size: usize, dropout: Option<DropoutStream>, stride: usize) {
        let mut cu_seqlens = vec![0];
        cu_seqlens.extend(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        let shape = Shape { cu_seqlens: &cu_seqlens, heads, head_size };
        let (tokens, hidden) = (lengths.iter().sum::<usize>(), shape.hidden());
        let (qkv, d_context) = (numbers(tokens * 3 * hidden, 7), numbers(tokens * hidden, 5));
        let masks: Vec<Vec<f32>> = shape
            .sequences()
            .flat_map(|sequence| (0..heads).map(move |head| (sequence, head)))
            .map(|(sequence, head)| {
                let mut mask = vec![1.0; sequence.length * sequence.length];
                if let Some(dropout) = &dropout {
                    dropout.apply(shape.unit(sequence, head), &mut mask);
                }
                mask
            })
            .collect();
        let (mut context, mut log_sums) = (vec![f32::NAN; tokens * hidden], vec![f32::NAN; tokens * heads]);
        attention(shape, &qkv, dropout, &mut context, &mut log_sums);
        let mut qkv64: Vec<f64> = qkv.iter().map(|value| f64::from(*value)).collect();
        for (value, expected) in context.iter().zip(forward64(shape, &qkv64, &masks)) {
            assert!((f64::from(*value) - expected).abs() < 1e-5, "{lengths:?}: {value} and {expected}");
        }
        let mut d_qkv = vec![f32::NAN; qkv.len()];
        attention_backward(shape, &qkv, &log_sums, dropout, &d_context, &mut d_qkv);
        assert!(d_qkv.iter().all(|d| d.is_finite()));
        for place in (0..qkv.len()).step_by(stride) {
            let mut at = |by: f64| -> f64 {
                qkv64[place] += by;
                let context = forward64(shape, &qkv64, &masks);
                qkv64[place] -= by;
                context.iter().zip(&d_context).map(|(y, d)| y * f64::from(*d)).sum()
            };
            let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
            assert!((f64::from(d_qkv[place]) - slope).abs() < 2e-4, "{lengths:?}, {place}: {} {slope}", d_qkv[place]);
        }
    }

    #[test]
    fn forward_and_backward_agree_with_float64() {
        for dropout in [None, DropoutStream::new(1, 2, 3, 0.3)] {
            check(&[1, 7, 2, 17], 2, 5, dropout, 1);
        }
    }

    #[test]
    fn so_they_do_at_the_greatest_length() {
        check(&[512, 1], 1, 32, DropoutStream::new(1, 2, 3, 0.1), 15_013);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        #[test]
        fn so_they_do_over_random_shapes(
            lengths in proptest::collection::vec(1_usize..40, 1..6),
            heads in 1_usize..4,
            head_size in 1_usize..40,
            rate in 0.0_f32..0.5,
        ) {
            check(&lengths, heads, head_size, DropoutStream::new(5, 6, 7, rate), 997);
        }
    }
}
