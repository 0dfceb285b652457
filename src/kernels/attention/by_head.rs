//! Attention for a forward without backward: head by head, so that a single sequence has work for all threads.

use super::super::dropout::DropoutStream;
use super::super::matmul::Layout;
use super::super::team::Team;
use super::super::{room, with_scratch};
use super::{Shape, cut};

/// As [`attention`], the same numbers, but keeps nothing for backward and writes `context` head by head,
/// `[heads, tokens, head_size]`: so heads are tasks of their own, and a single sequence has work for all threads.
pub(crate) fn attention_by_head(
    team: &Team,
    shape: Shape<'_>,
    qkv: &[f32],
    dropout: Option<DropoutStream<'_>>,
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
