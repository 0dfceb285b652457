//! What computes jobs: the CPU, or a GPU that was opened when the program started.

#[cfg(feature = "cuda")]
use std::path::Path;

#[cfg(feature = "cuda")]
use super::cuda::{CudaError, Device, nvidia};

/// What computes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hardware(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda { number: usize, device: Device },
}

impl Hardware {
    /// The CPU, which is always there.
    #[must_use]
    pub fn cpu() -> Self {
        Self(Kind::Cpu)
    }

    /// GPU `number`, counted from 0. Its kernels are compiled when a GPU of its kind is first opened, and kept in the folder
    /// `cache`. What it is used for waits after each kernel where `timed` is set, and is timed ([`Hardware::profile`]).
    ///
    /// # Errors
    /// Where there is no such GPU, or a library of CUDA is missing; the error says what to do.
    #[cfg(feature = "cuda")]
    pub fn cuda(number: usize, cache: &Path, timed: bool) -> Result<Self, CudaError> {
        let device = nvidia::open(number, cache, timed)?;
        Ok(Self(Kind::Cuda { number, device }))
    }

    /// How many GPUs there are.
    ///
    /// # Errors
    /// Where there is a driver that does not start.
    #[cfg(feature = "cuda")]
    pub fn gpus() -> Result<usize, CudaError> {
        nvidia::count()
    }

    #[cfg(all(test, feature = "cuda"))]
    pub(crate) fn emulated(device: Device) -> Self {
        Self(Kind::Cuda { number: 0, device })
    }

    /// In words: `cpu`, or `cuda:0 (NVIDIA H100 80GB HBM3)`.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.0 {
            Kind::Cpu => "cpu".into(),
            #[cfg(feature = "cuda")]
            Kind::Cuda { number, device } => format!("cuda:{number} ({})", device.description().name),
        }
    }

    /// The GPU, where it is one.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&Device> {
        match &self.0 {
            Kind::Cpu => None,
            Kind::Cuda { device, .. } => Some(device),
        }
    }
}
