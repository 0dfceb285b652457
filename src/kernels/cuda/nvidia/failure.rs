//! CUDA's errors in its own words.

use std::ffi::CStr;

use cudarc::cublaslt::{result::CublasError, sys as cublaslt};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

use crate::kernels::cuda::CudaError;

/// An error's name and what CUDA says of it.
pub(super) fn text(error: DriverError) -> String {
    let known = |text: Result<&CStr, DriverError>| text.ok().map(|text| text.to_string_lossy().into_owned());
    match (known(error.error_name()), known(error.error_string())) {
        (Some(name), Some(text)) => format!("{name}: {text}"),
        (Some(name), None) => name,
        _ => format!("error {}", error.0 as u32),
    }
}

/// What failed. A call may report what an earlier one lacked: `asked` is what was last asked for.
pub(super) fn failed(what: &'static str, error: DriverError, asked: usize) -> CudaError {
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => CudaError::OutOfMemory { asked },
        _ => CudaError::Failed { what, message: text(error) },
    }
}

/// As [`failed`], of cuBLASLt.
pub(super) fn product_failed(what: &'static str, error: CublasError, asked: usize) -> CudaError {
    if error.0 == cublaslt::cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED {
        return CudaError::OutOfMemory { asked };
    }
    let words = |text: *const std::ffi::c_char| {
        // SAFETY: cuBLASLt's texts are constants of the library.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    };
    // SAFETY: both only look the status up; `libraries` found them.
    let (name, text) =
        unsafe { (words(cublaslt::cublasLtGetStatusName(error.0)), words(cublaslt::cublasLtGetStatusString(error.0))) };
    let name = name.unwrap_or_else(|| format!("cuBLASLt's status {}", error.0 as u32));
    CudaError::Failed { what, message: text.map_or_else(|| name.clone(), |text| format!("{name}: {text}")) }
}
