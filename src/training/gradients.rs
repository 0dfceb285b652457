//! The check at job start that every tensor is really trained: a backward pass that loses a tensor on the way raises
//! no error by itself, and a run with a part of its model frozen looks alive.

use crate::model::ParameterSpec;

use super::TrainError;

/// Below this a loss has no gradient to look at: no pair had negatives, or all are told apart already.
const LEAST_LOSS: f64 = 1e-6;

/// Looks at the accumulated gradient (`[parameters]`) of a step; false where its loss leaves nothing to be seen.
///
/// # Errors
/// [`TrainError::DeadGradient`] with the first tensor whose gradient is zero throughout or not finite.
pub(super) fn check(specs: &[ParameterSpec], gradients: &[f32], loss: f64) -> Result<bool, TrainError> {
    if loss <= LEAST_LOSS {
        return Ok(false);
    }
    for spec in specs {
        let gradient = &gradients[spec.offset..spec.offset + spec.len];
        let problem = if !gradient.iter().all(|value| value.is_finite()) {
            "a gradient that is not finite"
        } else if may_be_zero(&spec.name) || gradient.iter().any(|value| *value != 0.0) {
            continue;
        } else {
            "no gradient"
        };
        return Err(TrainError::DeadGradient { tensor: spec.name.clone(), problem });
    }
    Ok(true)
}

/// A key's bias adds the same number to all scores of one softmax, which changes none of its outputs: its true gradient
/// is zero, and what is computed is rounding.
fn may_be_zero(name: &str) -> bool {
    name.ends_with(".key.bias")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<ParameterSpec> {
        let names = ["embeddings.weight", "layer.0.attention.self.key.bias", "layer.0.dense.weight"];
        let spec = |(index, name): (usize, &&str)| ParameterSpec {
            name: (*name).to_owned(),
            shape: vec![2],
            offset: index * 2,
            len: 2,
            decay: true,
        };
        names.iter().enumerate().map(spec).collect()
    }

    fn complaint(gradients: &[f32]) -> Option<String> {
        check(&specs(), gradients, 1.0).err().map(|error| error.to_string())
    }

    #[test]
    fn a_dead_tensor_is_named() {
        assert_eq!(complaint(&[0.0, 1.0, 0.0, 0.0, -1.0, 0.0]), None);
        let dead = complaint(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).expect("the last tensor is dead");
        assert!(dead.contains("`layer.0.dense.weight` got no gradient"), "{dead}");
        let broken = complaint(&[0.0, 1.0, f32::NAN, 0.0, 1.0, 0.0]).expect("a key bias must be finite too");
        assert!(broken.contains("key.bias` got a gradient that is not finite"), "{broken}");
        assert!(!check(&specs(), &[0.0; 6], 0.0).expect("a loss of 0 has no gradient"));
    }
}
