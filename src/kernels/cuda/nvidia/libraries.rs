//! Whether CUDA's libraries are there, with all that is called of them, and of versions that go together. cudarc opens
//! a library when one of its functions is first called, and panics where it is missing or lacks the function: nothing
//! else in `nvidia` may be called before the library's function here has found it.

use std::fmt;

use cudarc::{cublaslt, driver, nvrtc};

use crate::kernels::cuda::CudaError;

/// The oldest CUDA whose driver and libraries are used.
const OLDEST: u32 = 12;

/// A version of CUDA or of a library of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// What of the driver is called.
const DRIVER: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetDefaultMemPool",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuStreamDestroy_v2",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemPoolSetAttribute",
    "cuMemPoolGetAttribute",
    "cuMemPoolTrimTo",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuMemGetInfo_v2",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
];

/// What of the compiler is called.
const NVRTC: &[&str] = &[
    "nvrtcVersion",
    "nvrtcGetErrorString",
    "nvrtcGetNumSupportedArchs",
    "nvrtcGetSupportedArchs",
    "nvrtcCreateProgram",
    "nvrtcCompileProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetProgramLogSize",
    "nvrtcGetProgramLog",
    "nvrtcGetCUBINSize",
    "nvrtcGetCUBIN",
    "nvrtcGetPTXSize",
    "nvrtcGetPTX",
];

/// What of cuBLASLt is called.
const CUBLASLT: &[&str] = &[
    "cublasLtGetVersion",
    "cublasLtGetStatusName",
    "cublasLtGetStatusString",
    "cublasLtCreate",
    "cublasLtDestroy",
    "cublasLtMatmul",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatrixLayoutSetAttribute",
];

/// The first of the functions that a library lacks.
macro_rules! missing {
    ($library:path, $names:expr) => {{
        // SAFETY: the library is there, which the caller has looked up.
        let library = unsafe { $library() };
        // SAFETY: the function's address is not called.
        $names.iter().find(|name| unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err())
    }};
}

/// True where a driver is installed.
pub(super) fn has_driver() -> bool {
    // SAFETY: opening NVIDIA's driver runs its initialisers alone.
    unsafe { driver::sys::is_culib_present() }
}

/// The driver, and the latest CUDA that it is for.
///
/// # Errors
/// [`CudaError::Unavailable`] where it is missing or too old.
pub(super) fn driver() -> Result<Version, CudaError> {
    if !has_driver() {
        return Err(CudaError::Unavailable(
            "there is no NVIDIA driver: libcuda.so.1 cannot be opened. Install the driver (nvidia-smi then lists the \
             GPUs); a container has it when it was started with --gpus all, which takes NVIDIA's container toolkit; \
             where it is in a folder of its own, name that in LD_LIBRARY_PATH"
                .into(),
        ));
    }
    let too_old = |what: String| {
        CudaError::Unavailable(format!(
            "NVIDIA's driver is too old: {what}; CUDA {OLDEST} or later is needed, as of the driver's version 525"
        ))
    };
    if let Some(name) = missing!(driver::sys::culib, DRIVER) {
        return Err(too_old(format!("libcuda has no function {name}")));
    }
    let mut version = 0;
    // SAFETY: the function is there, and writes one number.
    let status = unsafe { driver::sys::cuDriverGetVersion(&raw mut version) };
    status.result().map_err(|error| super::failed("tell the driver's version", error, 0))?;
    let version = u32::try_from(version).unwrap_or(0);
    let version = Version { major: version / 1000, minor: version % 1000 / 10 };
    if version.major < OLDEST { Err(too_old(format!("it is for CUDA {version}"))) } else { Ok(version) }
}

/// The compiler of kernels, which must not be later than the driver's CUDA.
///
/// # Errors
/// [`CudaError::Unavailable`] where it is missing, too old or too new.
pub(super) fn nvrtc(driver: Version) -> Result<Version, CudaError> {
    let library = Library { name: "libnvrtc", purpose: "it compiles the GPU's kernels", packages: NVRTC_PACKAGES };
    // SAFETY: opening the library runs its initialisers alone.
    if !unsafe { nvrtc::sys::is_culib_present() } {
        return Err(library.unavailable(driver, "cannot be opened"));
    }
    if let Some(name) = missing!(nvrtc::sys::culib, NVRTC) {
        return Err(library.unavailable(driver, &format!("has no function {name}")));
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the function is there, and writes two numbers.
    let status = unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    if status.result().is_err() {
        return Err(library.unavailable(driver, "does not tell its version"));
    }
    let version = |number| u32::try_from(number).unwrap_or(0);
    library.goes_with(driver, Version { major: version(major), minor: version(minor) })
}

/// The library of products, which must not be later than the driver's CUDA.
///
/// # Errors
/// [`CudaError::Unavailable`] where it is missing, too old or too new.
pub(super) fn cublaslt(driver: Version) -> Result<Version, CudaError> {
    let library = Library { name: "libcublasLt", purpose: "it multiplies matrices", packages: CUBLASLT_PACKAGES };
    // SAFETY: opening the library runs its initialisers alone.
    if !unsafe { cublaslt::sys::is_culib_present() } {
        return Err(library.unavailable(driver, "cannot be opened"));
    }
    if let Some(name) = missing!(cublaslt::sys::culib, CUBLASLT) {
        return Err(library.unavailable(driver, &format!("has no function {name}")));
    }
    // SAFETY: the function is there, and only tells a number.
    let version = unsafe { cublaslt::sys::cublasLtGetVersion() };
    library.goes_with(driver, cublaslt_version(version))
}

/// 120805 is 12.8 and 131000 is 13.10, of the library: its major version alone is CUDA's. Those of CUDA 11 and before
/// counted otherwise, with fewer digits.
fn cublaslt_version(number: usize) -> Version {
    if number < 100_000 {
        return Version { major: (number / 1000).min(11) as u32, minor: 0 };
    }
    Version { major: (number / 10_000) as u32, minor: (number % 10_000 / 100) as u32 }
}

/// A library that ships with CUDA, or alone in a package.
struct Library {
    name: &'static str,
    purpose: &'static str,
    packages: [Packages; 2],
}

/// Where a library is had.
struct Packages {
    pip: &'static str,
    folder: &'static str,
    apt: &'static str,
}

const NVRTC_PACKAGES: [Packages; 2] = [
    Packages { pip: "nvidia-cuda-nvrtc-cu12", folder: "nvidia/cuda_nvrtc/lib", apt: "cuda-nvrtc-12-8" },
    Packages { pip: "nvidia-cuda-nvrtc", folder: "nvidia/cu13/lib", apt: "cuda-nvrtc-13-0" },
];

const CUBLASLT_PACKAGES: [Packages; 2] = [
    Packages { pip: "nvidia-cublas-cu12", folder: "nvidia/cublas/lib", apt: "libcublas-12-8" },
    Packages { pip: "nvidia-cublas", folder: "nvidia/cu13/lib", apt: "libcublas-13-0" },
];

impl Library {
    /// Why it cannot be used, and where one that can is had.
    fn unavailable(&self, driver: Version, why: &str) -> CudaError {
        let Self { name, purpose, packages } = self;
        let [of_12, of_13] = packages;
        let (file, Packages { pip, folder, apt }) =
            if driver.major <= 12 { (format!("{name}.so.12"), of_12) } else { (format!("{name}.so.13"), of_13) };
        CudaError::Unavailable(format!(
            "{name} {why}; {purpose}. Where {file} is installed, name its folder in LD_LIBRARY_PATH; otherwise install \
             NVIDIA's apt package {apt}, or `pip install {pip}` and name site-packages/{folder} in LD_LIBRARY_PATH"
        ))
    }

    fn goes_with(&self, driver: Version, version: Version) -> Result<Version, CudaError> {
        if version.major < OLDEST {
            Err(self.unavailable(driver, &format!("is of version {version}, which is too old")))
        } else if version.major > driver.major {
            // Within a major version, later libraries run with earlier drivers.
            Err(self.unavailable(driver, &format!("is of version {version} and the driver for CUDA {driver}")))
        } else {
            Ok(version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(major: u32, minor: u32) -> Version {
        Version { major, minor }
    }

    #[test]
    fn cublaslt_tells_its_version_as_one_number() {
        assert_eq!(cublaslt_version(120_805), version(12, 8));
        assert_eq!(cublaslt_version(131_000), version(13, 10));
        assert_eq!(cublaslt_version(12_103).major, 11);
    }

    #[test]
    fn libraries_may_be_older_than_the_driver_and_of_the_same_cuda() {
        let library = Library { name: "libnvrtc", purpose: "it compiles", packages: NVRTC_PACKAGES };
        assert_eq!(library.goes_with(version(12, 2), version(12, 9)).unwrap(), version(12, 9));
        assert_eq!(library.goes_with(version(13, 0), version(12, 4)).unwrap(), version(12, 4));
        let newer = library.goes_with(version(12, 8), version(13, 0)).unwrap_err().to_string();
        assert!(newer.starts_with("libnvrtc is of version 13.0 and the driver for CUDA 12.8; it compiles."), "{newer}");
        assert!(newer.contains("libnvrtc.so.12") && newer.contains("pip install nvidia-cuda-nvrtc-cu12`"), "{newer}");
        let older = library.goes_with(version(13, 0), version(11, 8)).unwrap_err().to_string();
        assert!(older.contains("too old") && older.contains("nvidia/cu13/lib in LD_LIBRARY_PATH"), "{older}");
    }
}
