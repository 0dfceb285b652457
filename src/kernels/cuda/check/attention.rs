//! Attention: forward and the gradients by query, key and value, with and without dropout.

use crate::kernels::attention::{Shape, attention as on_cpu, attention_backward as backward_on_cpu};
use crate::kernels::cuda::attention::{
    Attention, AttentionKept, AttentionPlan, DroppedProbabilities, attention, attention_backward,
};
use crate::kernels::cuda::dropout::{Site, draw_probabilities, mask_starts, probability_words};
use crate::kernels::cuda::{Buffer, CudaError, Device, Numbers, Tensor};
use crate::kernels::dropout::DropoutStream;

use super::{Comparison, Random};

const SEED: u64 = 0x0123_4567_89ab_cdef;
const MICRO_BATCH: u32 = 3;

/// A batch.
#[derive(Debug, Clone, Copy)]
struct Case {
    lengths: &'static [usize],
    heads: usize,
    head_size: usize,
    /// The share of probabilities that are dropped.
    rate: f32,
}

/// Numbers of a test as the device's type holds them.
fn rounded(values: Vec<f32>, numbers: Numbers) -> Vec<f32> {
    match numbers {
        Numbers::Float32 => values,
        Numbers::Bf16 => values.into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect(),
    }
}

/// What the CPU computes: the context, the logarithms of sums as `[heads, tokens]`, and the gradient.
fn expected(case: Case, qkv: &[f32], d_context: &[f32]) -> [Vec<f32>; 3] {
    let Case { lengths, heads, head_size, rate } = case;
    let mut starts = vec![0];
    starts.extend(lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    }));
    let shape = Shape { cu_seqlens: &starts, heads, head_size };
    let dropout = DropoutStream::new(SEED, MICRO_BATCH.into(), site(rate).number, rate);
    let tokens = starts[lengths.len()];
    let (mut context, mut sums) = (vec![0.0; d_context.len()], vec![0.0; tokens * heads]);
    on_cpu(shape, qkv, dropout, &mut context, &mut sums);
    let mut d_qkv = vec![0.0; qkv.len()];
    backward_on_cpu(shape, qkv, &sums, dropout, d_context, &mut d_qkv);
    // The CPU's are those of a sequence's heads, then the next sequence's.
    let mut by_head = vec![0.0; tokens * heads];
    for (start, length) in starts.iter().zip(lengths) {
        for head in 0..heads {
            let from = &sums[start * heads + head * length..][..*length];
            by_head[head * tokens + start..][..*length].copy_from_slice(from);
        }
    }
    [context, by_head, d_qkv]
}

fn site(rate: f32) -> Site {
    Site { seed: SEED, number: 7, rate }
}

/// What the device computes, as `expected`, and the context of a forward that keeps nothing.
fn computed(device: &Device, case: Case, numbers: Numbers, given: [&[f32]; 2]) -> Result<[Vec<f32>; 4], CudaError> {
    let Case { lengths, heads, head_size, rate } = case;
    let tokens: usize = lengths.iter().sum();
    let [qkv, d_context] = given;
    let plan = AttentionPlan::new(lengths.iter().copied());
    let tiles = Buffer::from_slice(device, plan.tiles())?;

    let starts = mask_starts(lengths.iter().copied());
    let mask = Buffer::new(device, probability_words(starts[lengths.len()], heads))?;
    let starts = Buffer::from_slice(device, &starts)?;
    let units: Vec<u32> = (0..lengths.len() as u32).collect();
    let places = (Buffer::from_slice(device, &units)?, Buffer::from_slice(device, &vec![MICRO_BATCH; lengths.len()])?);
    let mut dropout = None;
    if !site(rate).is_off() {
        draw_probabilities(device, site(rate), heads, starts.view(), (places.0.view(), places.1.view()), &mask)?;
        dropout = Some(DroppedProbabilities { mask: mask.view(), starts: starts.view(), scale: site(rate).scale() });
    }
    let shape = Attention { numbers, heads, head_size, tokens, plan: &plan, tiles: tiles.view(), dropout };

    let (qkv, d_context) = (Tensor::from_slice(device, numbers, qkv)?, Tensor::from_slice(device, numbers, d_context)?);
    let [context, d_qkv] = [1, 3].map(|width| Tensor::new(device, numbers, tokens * width * heads * head_size));
    let (context, d_qkv) = (context?, d_qkv?);
    let (log_sums, deltas) = (Buffer::new(device, heads * tokens)?, Buffer::new(device, heads * tokens)?);
    attention(device, &shape, qkv.address(), context.address(), Some(log_sums.view()))?;
    let kept = AttentionKept { qkv: qkv.address(), context: context.address(), log_sums: log_sums.view() };
    attention_backward(device, &shape, kept, d_context.address(), deltas.view(), d_qkv.address())?;

    let bare = Tensor::new(device, numbers, tokens * heads * head_size)?;
    attention(device, &shape, qkv.address(), bare.address(), None)?;
    Ok([context.to_vec()?, log_sums.to_vec()?, d_qkv.to_vec()?, bare.to_vec()?])
}

/// One part of the rows of a gradient: by queries (0), keys (1) or values (2).
fn part(d_qkv: &[f32], hidden: usize, part: usize) -> Vec<f32> {
    d_qkv.chunks(3 * hidden).flat_map(|row| &row[part * hidden..(part + 1) * hidden]).copied().collect()
}

fn compare(device: &Device, case: Case, numbers: Numbers, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let (tokens, hidden) = (case.lengths.iter().sum::<usize>(), case.heads * case.head_size);
    // Scores of about one and more, so that the softmax has something to do.
    let wide = random.numbers(tokens * 3 * hidden).iter().map(|value| 2.5 * value).collect();
    let (qkv, d_context) = (rounded(wide, numbers), rounded(random.numbers(tokens * hidden), numbers));
    let first = computed(device, case, numbers, [&qkv, &d_context])?;
    let again = computed(device, case, numbers, [&qkv, &d_context])?;
    let [expected_context, expected_sums, expected_gradient] = expected(case, &qkv, &d_context);

    let tolerances = match numbers {
        Numbers::Float32 => [3e-6, 3e-6, 5e-6],
        Numbers::Bf16 => [4e-3, 1e-5, 8e-3],
    };
    let Case { lengths, heads, head_size, rate } = case;
    let longest = lengths.iter().max().copied().unwrap_or_default();
    let name = |what: &str| {
        let count = lengths.len();
        format!(
            "{what}, {count} sequences of up to {longest}, {heads} heads of {head_size}, dropout {rate}, {numbers:?}"
        )
    };
    // The same bits again, also where nothing is kept.
    let [context, log_sums, d_qkv, _] = &first;
    let kept = [&context[..], log_sums, d_qkv, context].concat();
    let mut comparisons = vec![
        Comparison::new(name("attention twice"), &again.concat(), &kept, 0.0),
        Comparison::new(name("attention"), context, &expected_context, tolerances[0]),
        Comparison::new(name("attention's sums"), log_sums, &expected_sums, tolerances[1]),
    ];
    for (place, what) in ["query", "key", "value"].into_iter().enumerate() {
        let [result, expected] = [d_qkv, &expected_gradient].map(|gradient| part(gradient, hidden, place));
        comparisons.push(Comparison::new(name(&format!("attention's d {what}")), &result, &expected, tolerances[2]));
    }
    Ok(comparisons)
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let cases = [
        Case { lengths: &[1, 15, 16, 7], heads: 2, head_size: 16, rate: 0.0 },
        Case { lengths: &[64, 1, 33, 17, 16, 150], heads: 2, head_size: 32, rate: 0.0 },
        Case { lengths: &[3, 130, 65, 31], heads: 2, head_size: 32, rate: 0.1 },
        Case { lengths: &[100, 18, 1, 9], heads: 2, head_size: 64, rate: 0.1 },
        Case { lengths: &[128, 1, 63], heads: 1, head_size: 64, rate: 0.0 },
        Case { lengths: &[20, 90], heads: 1, head_size: 128, rate: 0.2 },
        Case { lengths: &[600, 5], heads: 1, head_size: 16, rate: 0.1 },
    ];
    let mut random = Random::new(5);
    let mut comparisons = Vec::new();
    for case in cases {
        for numbers in [Numbers::Float32, Numbers::Bf16] {
            if crate::kernels::cuda::attention::is_supported(numbers, case.head_size) {
                comparisons.extend(compare(device, case, numbers, &mut random)?);
            }
        }
    }
    Ok(comparisons)
}
