//! The gradient's norm and AdamW's step.

use std::ops::Range;

use crate::kernels::cuda::adamw::{State, Step, Stretches, euclidean_norm, step};
use crate::kernels::cuda::{Address, Buffer, CudaError, Device, Numbers, Tensor};
use crate::kernels::optimizer::{AdamWStep, norm};

use super::{Comparison, Random};

const RATE: f64 = 2e-2;
const DECAY: f64 = 0.1;
const BETA2: f64 = 0.999;

/// The scalars of step `number` at betas 0.9 and 0.999.
fn scalars(number: i32, max_grad_norm: f32) -> Step {
    Step {
        max_grad_norm,
        first_share: 0.1,
        beta2: BETA2 as f32,
        second_share: (1.0 - BETA2) as f32,
        epsilon: 1e-8,
        step_size: (RATE / (1.0 - 0.9_f64.powi(number))) as f32,
        second_correction_sqrt: (1.0 - BETA2.powi(number)).sqrt() as f32,
        decay_factor: (1.0 - RATE * DECAY) as f32,
    }
}

/// Weights, gradient, first and second moments, and the shadow where there is one.
struct Run {
    there: [Buffer<f32>; 4],
    shadow: Option<Tensor>,
    norm: Buffer<f32>,
    scratch: Buffer<f64>,
}

impl Run {
    fn new(device: &Device, weights: &[f32], shadow: Option<Numbers>) -> Result<Self, CudaError> {
        let zeros = || Buffer::zeros(device, weights.len());
        let there = [Buffer::from_slice(device, weights)?, zeros()?, zeros()?, zeros()?];
        let shadow =
            shadow.map(|numbers| Tensor::from_slice(device, numbers, &vec![7.0; weights.len()])).transpose()?;
        Ok(Self { there, shadow, norm: Buffer::new(device, 1)?, scratch: Buffer::new(device, 0)? })
    }

    /// Takes a gradient's step; returns its norm.
    fn step(
        &mut self,
        device: &Device,
        scalars: &Step,
        stretches: &Stretches,
        gradient: &[f32],
    ) -> Result<f32, CudaError> {
        self.there[1].write(0, gradient)?;
        let [weights, gradient, first, second] = self.there.each_ref().map(Buffer::view);
        let at = self.norm.view().address();
        euclidean_norm(device, gradient, at, &mut self.scratch)?;
        let (shadow, shadow_numbers) =
            self.shadow.as_ref().map_or((Address::NONE, Numbers::Bf16), |tensor| (tensor.address(), tensor.numbers()));
        step(device, scalars, stretches, &State { weights, gradient, first, second, shadow, shadow_numbers }, at)?;
        Ok(self.norm.to_vec()?[0])
    }

    fn read(&self) -> Result<Vec<Vec<f32>>, CudaError> {
        let mut all = self.there.iter().map(Buffer::to_vec).collect::<Result<Vec<_>, _>>()?;
        if let Some(shadow) = &self.shadow {
            all.push(shadow.to_vec()?);
        }
        Ok(all)
    }
}

fn check_steps(
    device: &Device,
    groups: &[(Range<usize>, bool)],
    count: usize,
    shadow: Option<Numbers>,
    random: &mut Random,
) -> Result<Vec<Comparison>, CudaError> {
    let stretches = Stretches::new(device, groups)?;
    let mut weights = random.numbers(count);
    let mut run = Run::new(device, &weights, shadow)?;
    let mut other = Run::new(device, &weights, shadow)?;
    let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
    let (mut norms, mut expected_norms, mut left) = (Vec::new(), Vec::new(), Vec::new());
    // Clipped, not clipped as it is short, not clipped as nothing says so.
    for (number, (size, most)) in [(3.0, 1.0), (1e-4, 1.0), (2.0, 0.0)].into_iter().enumerate() {
        let scalars = scalars(number as i32 + 1, most);
        let gradient: Vec<f32> = random.numbers(count).iter().map(|value| value * size).collect();
        norms.push(run.step(device, &scalars, &stretches, &gradient)?);
        other.step(device, &scalars, &stretches, &gradient)?;
        let length = norm(&gradient);
        expected_norms.push(length as f32);
        let clip = if most > 0.0 { (f64::from(most) / (length + 1e-6)).min(1.0) } else { 1.0 };
        left = gradient.clone();
        for (range, decays) in groups {
            let step = AdamWStep {
                gradient_factor: clip as f32,
                first_share: scalars.first_share,
                beta2: scalars.beta2,
                second_share: scalars.second_share,
                epsilon: scalars.epsilon,
                step_size: scalars.step_size,
                second_correction_sqrt: scalars.second_correction_sqrt,
                weight_factor: if *decays { scalars.decay_factor } else { 1.0 },
            };
            let [weights, first, second] = [&mut weights, &mut first, &mut second].map(|all| &mut all[range.clone()]);
            step.update(weights, &gradient[range.clone()], first, second);
            left[range.clone()].fill(0.0);
        }
    }
    let results = run.read()?;
    let name = format!("AdamW over {count} in {} stretches, shadow {shadow:?}", groups.len());
    let mut comparisons = vec![
        Comparison::new(format!("{name}, norms"), &norms, &expected_norms, 1e-6),
        Comparison::new(format!("{name}, weights"), &results[0], &weights, 1e-6),
        Comparison::new(format!("{name}, gradient"), &results[1], &left, 0.0),
        Comparison::new(format!("{name}, first moments"), &results[2], &first, 1e-6),
        Comparison::new(format!("{name}, second moments"), &results[3], &second, 1e-6),
    ];
    if let (Some(numbers), Some(result)) = (shadow, results.get(4)) {
        let within = |place: usize| groups.iter().any(|(range, _)| range.contains(&place));
        let expected = (0..count).map(|place| if within(place) { results[0][place] } else { 7.0 });
        let expected = Tensor::from_slice(device, numbers, &expected.collect::<Vec<_>>())?.to_vec()?;
        comparisons.push(Comparison::new(format!("{name}, shadow"), result, &expected, 0.0));
    }
    for (result, again) in results.iter().zip(&other.read()?) {
        comparisons.push(Comparison::new(format!("{name}, again"), again, result, 0.0));
    }

    for bad in [f32::NAN, f32::INFINITY] {
        let mut gradient = random.numbers(count);
        gradient[count / 2] = bad;
        let length = run.step(device, &scalars(4, 1.0), &stretches, &gradient)?;
        // What is not a number cannot be compared; the other numbers of the gradient are as they were.
        let mut after = run.read()?;
        let kept = after[1].iter().zip(&gradient).all(|(value, before)| value.to_bits() == before.to_bits());
        after[1].clone_from(&results[1]);
        let unchanged = [f32::from(u8::from(kept)), f32::from(u8::from(length.is_finite()))];
        comparisons.push(Comparison::new(format!("{name}, {bad} leaves the gradient"), &unchanged, &[1.0, 0.0], 0.0));
        comparisons.push(Comparison::new(format!("{name}, {bad}"), &after.concat(), &results.concat(), 0.0));
    }
    Ok(comparisons)
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let (mut comparisons, mut random) = (Vec::new(), Random::new(5));
    // Ends within four numbers, gaps, and several of the norm's blocks.
    let uneven = vec![(0..5, true), (5..6, false), (6..7, true), (9..1001, false), (1002..1003, true)];
    for shadow in [None, Some(Numbers::Bf16), Some(Numbers::Float32)] {
        comparisons.extend(check_steps(device, &uneven, 1007, shadow, &mut random)?);
        comparisons.extend(check_steps(device, &[(0..3, true)], 3, shadow, &mut random)?);
    }
    let large = vec![(0..70_000, true), (70_000..131_080, false)];
    comparisons.extend(check_steps(device, &large, 131_080, Some(Numbers::Bf16), &mut random)?);
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_are_the_cpus() {
        let device = crate::kernels::cuda::emulator::device();
        super::super::tests::assert_all_hold(&super::check(&device).expect("the emulator fails at nothing"));
    }
}
