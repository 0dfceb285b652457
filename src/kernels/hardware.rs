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
    Cuda {
        number: usize,
        device: Device,
    },
}

impl Hardware {
    /// The CPU, which is always there.
    #[must_use]
    pub fn cpu() -> Self {
        Self(Kind::Cpu)
    }

    /// GPU `number`, counted from 0. Its kernels are compiled when a GPU of its kind is first opened, and kept in the folder
    /// `cache`.
    ///
    /// # Errors
    /// Where there is no such GPU, or a library of CUDA is missing; the error says what to do.
    #[cfg(feature = "cuda")]
    pub fn cuda(number: usize, cache: &Path) -> Result<Self, CudaError> {
        Ok(Self(Kind::Cuda { number, device: nvidia::open(number, cache)? }))
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

    /// True where it is a GPU.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        !matches!(self.0, Kind::Cpu)
    }

    /// The GPU, where it is one.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&Device> {
        match &self.0 {
            Kind::Cpu => None,
            Kind::Cuda { device, .. } => Some(device),
        }
    }

    /// Times each kernel from now on, where it is a GPU: the program then waits for each.
    pub fn start_profile(&self) {
        #[cfg(feature = "cuda")]
        if let Some(device) = self.gpu() {
            device.start_profile();
        }
    }

    /// What the kernels took since [`Hardware::start_profile`], the longest first.
    #[must_use]
    pub fn profile(&self) -> Vec<KernelTime> {
        #[cfg(feature = "cuda")]
        if let Some(device) = self.gpu() {
            return device.profile();
        }
        Vec::new()
    }

    /// Computes each kernel there and on the CPU.
    ///
    /// # Errors
    /// Where it is no GPU, and as the GPU says.
    pub fn check_kernels(&self) -> Result<KernelCheck, String> {
        #[cfg(feature = "cuda")]
        if let Some(device) = self.gpu() {
            return super::cuda::check::report(device).map_err(|error| error.to_string());
        }
        Err("this is no GPU".into())
    }
}

/// What one of a GPU's kernels took.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KernelTime {
    /// Its name; of products, with their sizes.
    pub name: String,
    /// How often it ran.
    pub launches: u64,
    /// Seconds of all of them, with the waiting for each.
    pub seconds: f64,
}

/// A GPU's kernels held against the CPU's.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KernelCheck {
    /// The GPU.
    pub device: GpuDescription,
    /// One for each kernel, number type and size.
    pub comparisons: Vec<KernelComparison>,
}

/// A GPU.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GpuDescription {
    /// Its name.
    pub name: String,
    /// Its generation, such as `9.0`.
    pub compute_capability: String,
    /// Bytes of its memory.
    pub memory_bytes: usize,
    /// Processors that run blocks.
    pub multiprocessors: u32,
}

/// A kernel's result against the CPU's.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KernelComparison {
    /// The kernel, its numbers and sizes.
    pub name: String,
    /// How far apart they are, as a share of the CPU's size; none where something is not a number.
    pub error: Option<f64>,
    /// The most that is allowed.
    pub tolerance: f64,
    /// True where it is within.
    pub holds: bool,
}
