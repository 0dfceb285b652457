//! Each kernel on a device held against the CPU's, on fresh random numbers: the tests' on the emulator, and those that
//! `matryo gpu-check` makes on a GPU.

mod adamw;
mod attention;
mod dropout;
mod embedding;
mod gelu;
mod matryoshka;
mod norm;
mod pooling;
mod search;

use super::{CudaError, Description, Device};
use crate::kernels::{GpuDescription, KernelCheck, KernelComparison};

/// How far a kernel's result is from the CPU's.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    /// The kernel, its sizes and numbers.
    pub(crate) name: String,
    /// ‖result − expected‖ / ‖expected‖; infinite where something is not a number.
    pub(crate) error: f64,
    /// The most that is allowed.
    pub(crate) tolerance: f64,
}

impl Comparison {
    /// Compares what the device computed with what it should have.
    pub(crate) fn new(name: impl Into<String>, result: &[f32], expected: &[f32], tolerance: f64) -> Self {
        assert_eq!(result.len(), expected.len(), "as many numbers");
        let square = |value: f64| value * value;
        let difference: f64 = result.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
        let size: f64 = expected.iter().map(|value| square(f64::from(*value))).sum();
        let error = if size > 0.0 { (difference / size).sqrt() } else { difference.sqrt() };
        Self { name: name.into(), error: if error.is_finite() { error } else { f64::INFINITY }, tolerance }
    }

    /// True where the error is within what is allowed.
    pub(crate) fn holds(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// All kernels.
///
/// # Errors
/// As the device says.
pub(crate) fn check_all(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let checks = [
        dropout::check,
        embedding::check,
        norm::check,
        gelu::check,
        attention::check,
        pooling::check,
        matryoshka::check,
        adamw::check,
        search::check,
    ];
    let mut comparisons = Vec::new();
    for check in checks {
        comparisons.extend(check(device)?);
    }
    Ok(comparisons)
}

/// All kernels, for people.
///
/// # Errors
/// As the device says.
pub(crate) fn report(device: &Device) -> Result<KernelCheck, CudaError> {
    let Description { name, compute_capability: (major, minor), multiprocessors, memory, .. } = device.description();
    let description = GpuDescription {
        name: name.clone(),
        compute_capability: format!("{major}.{minor}"),
        memory_bytes: *memory,
        multiprocessors: *multiprocessors,
    };
    let comparisons = check_all(device)?.into_iter().map(|comparison| KernelComparison {
        holds: comparison.holds(),
        error: Some(comparison.error).filter(|error| error.is_finite()),
        tolerance: comparison.tolerance,
        name: comparison.name,
    });
    Ok(KernelCheck { device: description, comparisons: comparisons.collect() })
}

/// Numbers from a generator of its own for each check, evenly between -1 and 1.
pub(crate) struct Random(rand_pcg::Pcg64Mcg);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(rand_pcg::Pcg64Mcg::new(u128::from(seed) << 64 | 0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        use rand_pcg::rand_core::Rng as _;
        (self.0.next_u64() % end as u64) as usize
    }

    /// `count` numbers, evenly between -1 and 1.
    pub(crate) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::emulator;

    /// Each check's own test says what it covers; this is the run that `matryo gpu-check` makes.
    pub(super) fn assert_all_hold(comparisons: &[Comparison]) {
        let failed: Vec<_> = comparisons.iter().filter(|comparison| !comparison.holds()).collect();
        assert!(!comparisons.is_empty() && failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn every_kernel_computes_what_the_cpu_does() {
        assert_all_hold(&check_all(&emulator::device()).expect("the emulator fails at nothing"));
    }

    #[test]
    fn a_wrong_number_is_noticed() {
        assert!(Comparison::new("same", &[1.0, 2.0], &[1.0, 2.0], 0.0).holds());
        assert!(!Comparison::new("other", &[1.0, 2.1], &[1.0, 2.0], 1e-2).holds());
        assert!(!Comparison::new("none", &[1.0, f32::NAN], &[1.0, 2.0], 1e9).holds());
    }
}
