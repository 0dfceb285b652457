//! What can go wrong on a device.

/// A device's failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CudaError {
    /// There is no such device, or no driver.
    #[error("{0}")]
    Unavailable(String),
    /// The device has no memory left.
    #[error("the GPU is out of memory: {asked} bytes more were asked for")]
    OutOfMemory {
        /// Bytes that there were not.
        asked: usize,
    },
    /// The sources did not compile.
    #[error("the GPU's kernels do not compile: {0}")]
    Compilation(String),
    /// CUDA reported an error.
    #[error("CUDA failed to {what}: {message}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What CUDA says.
        message: String,
    },
}
