//! AdamW with moments that can be saved, and clipping by global norm.

use std::ops::Range;

use crate::kernels::optimizer::{AdamWStep, norm};
use crate::model::{ParameterSpec, Parameters};

/// AdamW's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Guard against division by zero.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The gradient is scaled down to this norm where it is longer; 0 leaves it as it is.
    pub max_grad_norm: f64,
}

/// AdamW's state over flat parameters.
#[derive(Debug, Clone)]
pub struct AdamW {
    /// Its constants.
    pub config: AdamWConfig,
    /// Steps done.
    pub step: u64,
    /// First moments, `[parameters]`.
    pub first_moments: Vec<f32>,
    /// Second moments, `[parameters]`.
    pub second_moments: Vec<f32>,
    /// The parameters in stretches, each with whether weights decay there.
    groups: Vec<(Range<usize>, bool)>,
}

impl AdamW {
    /// Starts with zero moments.
    #[must_use]
    pub fn new(config: AdamWConfig, specs: &[ParameterSpec]) -> Self {
        let mut groups: Vec<(Range<usize>, bool)> = Vec::new();
        for spec in specs {
            match groups.last_mut() {
                Some((range, decay)) if *decay == spec.decay && range.end == spec.offset => range.end += spec.len,
                _ => groups.push((spec.offset..spec.offset + spec.len, spec.decay)),
            }
        }
        let count = specs.iter().map(|spec| spec.offset + spec.len).max().unwrap_or(0);
        Self { config, step: 0, first_moments: vec![0.0; count], second_moments: vec![0.0; count], groups }
    }

    /// Clips the gradient, updates moments and weights in one pass, and returns the gradient's norm before clipping.
    /// A norm that is not finite leaves everything as it was.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &[f32], learning_rate: f64) -> f64 {
        let norm = norm(gradients);
        if !norm.is_finite() {
            return norm;
        }
        self.step += 1;
        let max_grad_norm = self.config.max_grad_norm;
        // The small number is torch's clip_grad_norm_'s.
        let clip = if max_grad_norm > 0.0 { (max_grad_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let decaying = AdamWStep { gradient_factor: clip as f32, ..self.scalars(self.step, learning_rate) };
        let step = AdamWStep { weight_factor: 1.0, ..decaying };
        for (range, decay) in &self.groups {
            let step = if *decay { &decaying } else { &step };
            step.update(
                &mut parameters.flat[range.clone()],
                &gradients[range.clone()],
                &mut self.first_moments[range.clone()],
                &mut self.second_moments[range.clone()],
            );
        }
        norm
    }

    /// What step number `step`, from 1, multiplies and adds where weights decay, without clipping.
    pub(crate) fn scalars(&self, step: u64, learning_rate: f64) -> AdamWStep {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay, .. } = self.config;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        AdamWStep {
            gradient_factor: 1.0,
            first_share: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            second_share: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
            step_size: (learning_rate / correction(beta1)) as f32,
            second_correction_sqrt: correction(beta2).sqrt() as f32,
            weight_factor: (1.0 - learning_rate * weight_decay) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, offset: usize, len: usize, decay: bool) -> ParameterSpec {
        ParameterSpec { name: name.into(), shape: vec![len], offset, len, decay }
    }

    const NORMS: [f64; 3] = [0.377491713, 3.77491713, 1.14564395];
    const WEIGHTS: [f32; 4] = [0.34905556, -1.3909471, 1.9183339, 0.09256444];

    fn parameters() -> Parameters {
        let specs = vec![spec("a.weight", 0, 2, true), spec("b.bias", 2, 1, false), spec("c.weight", 3, 1, true)];
        Parameters { flat: vec![0.5, -1.5, 2.0, 0.25], specs }
    }

    /// Weights after three steps, made with torch 2.15 (`tests/python/adamw.py`): `torch.optim.AdamW` with two groups,
    /// `weight_decay` 0.1 and 0, after `clip_grad_norm_(parameters, 1.0)`, at learning rates 0.1, 0.05 and 0.01.
    #[test]
    fn three_steps_are_those_of_torch() {
        let mut parameters = parameters();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0 };
        let mut optimizer = AdamW::new(config, &parameters.specs);
        assert_eq!(optimizer.groups.len(), 3);
        let gradients = [[0.1, -0.2, 0.3, 0.05], [3.0, 1.0, -2.0, 0.5], [-0.5, 0.25, 0.0, 1.0]];
        let norms: Vec<f64> = gradients
            .iter()
            .zip([0.1, 0.05, 0.01])
            .map(|(gradient, rate)| optimizer.step(&mut parameters, gradient, rate))
            .collect();
        for (norm, expected) in norms.iter().zip(NORMS) {
            assert!((norm - expected).abs() < 1e-6, "{norm} and {expected}");
        }
        for (weight, expected) in parameters.flat.iter().zip(WEIGHTS) {
            assert!((weight - expected).abs() < 1e-6, "{:?}", parameters.flat);
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut parameters = parameters();
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1.0 };
        let mut optimizer = AdamW::new(config, &parameters.specs);
        let before = parameters.flat.clone();
        assert!(!optimizer.step(&mut parameters, &[0.0, f32::NAN, 0.0, 0.0], 0.1).is_finite());
        assert_eq!((parameters.flat, optimizer.step), (before, 0));
        assert!(optimizer.first_moments.iter().all(|moment| *moment == 0.0));
    }
}
