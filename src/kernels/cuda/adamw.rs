//! AdamW over flat parameters, and the gradient's norm, which never leaves the device in between.

use std::ops::Range;

use super::{Address, Buffer, CudaError, Device, Numbers, View, kernel};

/// Numbers whose squares one block adds; the source knows it too.
const SQUARES_BLOCK: usize = 64 << 10;
const SQUARES_THREADS: usize = 256;
const NORM_THREADS: usize = 1024;
const STEP_THREADS: usize = 256;

/// Writes the Euclidean norm of `values` to `norm`, a float32 on the device. Where a square is beyond float32, it is
/// infinite. Partial sums go to `scratch`.
///
/// # Errors
/// As the device says.
pub(crate) fn euclidean_norm(
    device: &Device,
    values: View<f32>,
    norm: Address,
    scratch: &mut Buffer<f64>,
) -> Result<(), CudaError> {
    let parts = values.len().div_ceil(SQUARES_BLOCK);
    scratch.grow(parts)?;
    if parts > 0 {
        let arguments = [scratch.view().into(), values.into(), values.len().into()];
        device.launch("sum_of_squares", [parts, 1, 1], SQUARES_THREADS, 0, &arguments)?;
    }
    let arguments = [norm.into(), scratch.view().into(), parts.into()];
    device.launch("norm_of_squares", [1, 1, 1], NORM_THREADS, 0, &arguments)
}

/// Stretches of the flat parameters that a step changes, on the device.
#[derive(Debug)]
pub(crate) struct Stretches {
    /// Where each begins, where it ends, and whether its weights decay, `[3, count]`.
    words: Buffer<u32>,
    count: usize,
    end: usize,
}

impl Stretches {
    /// Ascending ranges without overlap, each with whether weights decay there.
    ///
    /// # Errors
    /// As the device says.
    ///
    /// # Panics
    /// Where they are not so, or beyond 32 bits.
    pub(crate) fn new(device: &Device, groups: &[(Range<usize>, bool)]) -> Result<Self, CudaError> {
        let word = |value: usize| u32::try_from(value).expect("the parameters' number fits 32 bits");
        let groups: Vec<_> = groups.iter().filter(|(range, _)| !range.is_empty()).collect();
        assert!(groups.is_sorted_by(|one, next| one.0.end <= next.0.start), "ascending, without overlap");
        let firsts = groups.iter().map(|(range, _)| word(range.start));
        let ends = groups.iter().map(|(range, _)| word(range.end));
        let decays = groups.iter().map(|(_, decay)| u32::from(*decay));
        let words: Vec<u32> = firsts.chain(ends).chain(decays).collect();
        let end = groups.last().map_or(0, |(range, _)| range.end);
        Ok(Self { words: Buffer::from_slice(device, &words)?, count: groups.len(), end })
    }
}

/// What one step multiplies and adds; [`crate::kernels::optimizer::AdamWStep`] says more of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// The gradient is scaled down to this norm where it is longer; 0 leaves it as it is.
    pub(crate) max_grad_norm: f32,
    /// 1 - decay of the first moment.
    pub(crate) first_share: f32,
    /// Decay of the second moment.
    pub(crate) beta2: f32,
    /// 1 - decay of the second moment.
    pub(crate) second_share: f32,
    /// Guard against division by zero.
    pub(crate) epsilon: f32,
    /// The learning rate over the first moment's bias correction.
    pub(crate) step_size: f32,
    /// The square root of the second moment's bias correction.
    pub(crate) second_correction_sqrt: f32,
    /// Weights that decay are multiplied by this first: 1 - learning rate × weight decay.
    pub(crate) decay_factor: f32,
}

/// What a step changes: all float32 and of the flat parameters' length, but the shadow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    /// The parameters.
    pub(crate) weights: View<f32>,
    /// Their gradient; 0 afterwards.
    pub(crate) gradient: View<f32>,
    /// First moments.
    pub(crate) first: View<f32>,
    /// Second moments.
    pub(crate) second: View<f32>,
    /// Gets the weights rounded, at the same places; may be none.
    pub(crate) shadow: Address,
    /// The shadow's numbers.
    pub(crate) shadow_numbers: Numbers,
}

/// One step over `stretches`; what lies outside of them stays. `norm` is that of the gradient ([`euclidean_norm`]):
/// where it is not finite, nothing changes at all, not even the gradient.
///
/// # Errors
/// As the device says.
pub(crate) fn step(
    device: &Device,
    step: &Step,
    stretches: &Stretches,
    state: &State,
    norm: Address,
) -> Result<(), CudaError> {
    let (count, end) = (stretches.count, stretches.end);
    if count == 0 {
        return Ok(());
    }
    let (words, weights) = (stretches.words.view(), state.weights.part(0, end));
    let arguments = [
        weights.into(),
        state.gradient.part(0, end).into(),
        state.first.part(0, end).into(),
        state.second.part(0, end).into(),
        state.shadow.into(),
        norm.into(),
        words.part(0, count).into(),
        words.part(count, count).into(),
        words.part(2 * count, count).into(),
        count.into(),
        end.into(),
        step.max_grad_norm.into(),
        step.first_share.into(),
        step.beta2.into(),
        step.second_share.into(),
        step.epsilon.into(),
        step.step_size.into(),
        step.second_correction_sqrt.into(),
        step.decay_factor.into(),
    ];
    let blocks = end.div_ceil(4 * STEP_THREADS);
    device.launch(kernel!(state.shadow_numbers, "adamw"), [blocks, 1, 1], STEP_THREADS, 0, &arguments)
}
