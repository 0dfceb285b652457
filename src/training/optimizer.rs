//! AdamW with moments that can be saved, and clipping by global norm.

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
}

impl AdamW {
    /// Starts with zero moments.
    #[must_use]
    pub fn new(_config: AdamWConfig, _specs: &[ParameterSpec]) -> Self {
        todo!("engine")
    }

    /// Clips the gradient, updates moments and weights in one pass, and returns the gradient's norm before clipping.
    /// A norm that is not finite leaves everything as it was.
    pub fn step(&mut self, _parameters: &mut Parameters, _gradients: &[f32], _learning_rate: f64) -> f64 {
        todo!("engine")
    }
}
