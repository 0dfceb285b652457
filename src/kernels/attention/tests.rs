//! Against the definition in float64 and central differences of it.

use super::super::team::with_team;
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

/// Head by head the context is the same to the bit, however its rows are gathered.
fn check_by_head(shape: Shape<'_>, qkv: &[f32], dropout: Option<DropoutStream<'_>>, expected: &[f32]) {
    let (hidden, tokens) = (shape.hidden(), expected.len() / shape.hidden());
    let mut by_head = vec![f32::NAN; expected.len()];
    with_team(|team| attention_by_head(team, shape, qkv, dropout, &mut by_head));
    for count in [1, 3, tokens] {
        let mut gathered = vec![f32::NAN; expected.len()];
        for (block, rows) in gathered.chunks_mut(count * hidden).enumerate() {
            gather_heads(shape, &by_head, block * count, rows);
        }
        assert_eq!(gathered, expected, "{count} rows at a time");
    }
}

/// Forward against the definition, backward against central differences of it, in float64, at every `stride`th place.
fn check(lengths: &[usize], heads: usize, head_size: usize, dropout: Option<DropoutStream<'_>>, stride: usize) {
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
    check_by_head(shape, &qkv, dropout, &context);
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
