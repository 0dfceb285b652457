//! NVIDIA's GPUs, from compute capability 8.0 on. Its libraries (`libcuda`, `libnvrtc`, `libcublasLt`) are opened when
//! a device is, and none of them is needed to build the program or to start it: where one is missing, opening says
//! which, and what to do.
//!
//! `unsafe` stands here for calls into those libraries. What they need is kept in one place each: `libraries` proves
//! that a library has every function that is called, `context` binds the context to the calling thread before each
//! call, and addresses are those of buffers, which `memory` keeps as long as they are in use.
#![allow(unsafe_code)]

mod column_major;
mod compile;
mod context;
mod failure;
mod kernels;
mod libraries;
mod multiply;
mod recent;
mod ring;
mod staging;

#[cfg(test)]
mod simulated;

use std::path::Path;
use std::sync::Mutex;

use cudarc::driver::result::{DriverError, device};
use cudarc::driver::sys;

use super::driver::{Address, Argument, Description, Driver, Free, Launch, Product};
use super::source::SOURCE;
use super::{CudaError, Device};
use context::Context;
use failure::{failed, text};
use kernels::Kernels;
use libraries::Version;
use multiply::Multiplier;
use staging::{Downloads, Uploads};

/// The oldest generation that has what the kernels use: tensor cores for bfloat16.
const OLDEST: (u32, u32) = (8, 0);

/// A GPU. Fields are dropped in their order: the context, which the others' memory belongs to, is the last.
#[derive(Debug)]
struct Nvidia {
    description: Description,
    uploads: Mutex<Uploads>,
    downloads: Mutex<Downloads>,
    multiplier: Multiplier,
    kernels: Kernels,
    context: Context,
}

/// How many GPUs there are; none where there is no driver.
///
/// # Errors
/// Where there is a driver and it does not start.
pub(crate) fn count() -> Result<usize, CudaError> {
    if !libraries::has_driver() {
        return Ok(0);
    }
    let driver = libraries::driver()?;
    match start(driver) {
        Err(Start::NoDevice) => Ok(0),
        Err(Start::Failed(error)) => Err(error),
        Ok(count) => Ok(count),
    }
}

/// Opens GPU `number`, counted from 0 as the driver does. Its kernels are compiled for it, or read from the folder
/// `cache`, which is made where it is missing, if they were compiled before.
///
/// # Errors
/// [`CudaError::Unavailable`] where there is no such GPU, it is too old, or a library is missing, with what to do;
/// [`CudaError::Compilation`], [`CudaError::OutOfMemory`] and as CUDA says.
pub(crate) fn open(number: usize, cache: &Path) -> Result<Device, CudaError> {
    let driver = libraries::driver()?;
    let count = start(driver).map_err(|error| match error {
        Start::NoDevice => no_gpu(),
        Start::Failed(error) => error,
    })?;
    let (device, description) = describe(number, count)?;
    let nvrtc = libraries::nvrtc(driver)?;
    let cublaslt = libraries::cublaslt(driver)?;
    let image = compile::kernels(SOURCE, description.compute_capability, nvrtc, cache)?;

    // SAFETY: the device is one that the driver told of.
    let context = unsafe { Context::new(device) }?;
    let kernels = Kernels::load(&context, &image, description.shared_memory_per_block)?;
    let multiplier = Multiplier::new(&context)?;
    let (uploads, downloads) = (Uploads::new(&context)?.into(), Downloads::new(&context)?.into());
    let name = &description.name;
    tracing::info!(number, name, %driver, %nvrtc, %cublaslt, "opened the GPU");
    Ok(Device::new(Nvidia { description, uploads, downloads, multiplier, kernels, context }))
}

/// Why the driver shows no device.
enum Start {
    NoDevice,
    Failed(CudaError),
}

/// Starts the driver, which costs nothing the second time, and counts the devices.
fn start(driver: Version) -> Result<usize, Start> {
    let fails = |error: DriverError| match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => Start::NoDevice,
        _ => Start::Failed(CudaError::Unavailable(format!(
            "NVIDIA's driver (for CUDA {driver}) does not start: {}. See what nvidia-smi says; after an update of the \
             driver, restart the machine or the container",
            text(error)
        ))),
    };
    cudarc::driver::result::init().map_err(fails)?;
    let count = device::get_count().map_err(fails)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn no_gpu() -> CudaError {
    CudaError::Unavailable(
        "NVIDIA's driver shows no GPU. See what nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides it; a \
         container sees a GPU when it was started with --gpus all"
            .into(),
    )
}

/// Device `number` of `count`, and what the driver tells of it.
fn describe(number: usize, count: usize) -> Result<(sys::CUdevice, Description), CudaError> {
    if count == 0 {
        return Err(no_gpu());
    }
    let ordinal = i32::try_from(number).ok().filter(|_| number < count).ok_or_else(|| {
        let there = if count == 1 { "there is one, number 0".into() } else { format!("there are 0 to {}", count - 1) };
        CudaError::Unavailable(format!(
            "there is no GPU {number}: {there}. See what nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides some"
        ))
    })?;
    let fails = |error| failed("describe the GPU", error, 0);
    let device = device::get(ordinal).map_err(fails)?;
    let attribute = |attribute| {
        // SAFETY: the device was got above.
        let value = unsafe { device::get_attribute(device, attribute) }.map_err(fails)?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    use sys::CUdevice_attribute as Attribute;
    let name = device::get_name(device).map_err(fails)?;
    let generation = (
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    if generation < OLDEST {
        return Err(CudaError::Unavailable(format!(
            "GPU {number} ({name}) is of compute capability {}.{}; 8.0 or later is needed, which GPUs since 2020 \
             have (A100, RTX 30 and later)",
            generation.0, generation.1
        )));
    }
    let description = Description {
        name,
        compute_capability: generation,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_memory_per_block: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize,
        // SAFETY: as above.
        memory: unsafe { device::total_mem(device) }.map_err(fails)?,
    };
    Ok((device, description))
}

/// What a lock protects, also after a panic of another thread: each is whole between any two calls.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Driver for Nvidia {
    fn description(&self) -> &Description {
        &self.description
    }

    fn allocate(&self, bytes: usize) -> Result<Address, CudaError> {
        self.context.allocate(bytes).map(Address)
    }

    fn free(&self, address: Address, _bytes: usize) {
        // SAFETY: the address came from `allocate`, and its buffer, the only owner, is being dropped.
        unsafe { self.context.free(address.0) }
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<(), CudaError> {
        // SAFETY: the place is that of a buffer with so many bytes.
        unsafe { lock(&self.uploads).copy(&self.context, bytes, to.0) }
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { lock(&self.downloads).copy(&self.context, from.0, bytes) }
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { self.context.zero(at.0, bytes) }
    }

    fn launch(&self, launch: &Launch, arguments: &[Argument]) -> Result<(), CudaError> {
        // SAFETY: that arguments are the kernel's is the launching function's business, and tested on the emulator.
        unsafe { self.kernels.launch(&self.context, launch, arguments) }
    }

    fn multiply(&self, product: &Product) -> Result<(), CudaError> {
        // SAFETY: matrices lie within buffers that the caller holds.
        unsafe { self.multiplier.multiply(&self.context, product) }
    }

    fn synchronize(&self) -> Result<(), CudaError> {
        self.context.synchronize()
    }

    fn memory(&self) -> Result<Free, CudaError> {
        self.context.memory()
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        // Nothing may be on its way any more when the fields go.
        if let Err(error) = self.context.synchronize() {
            tracing::debug!(%error, "the GPU's last work failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_there_is_no_gpu_and_opening_says_what_to_do() {
        if libraries::has_driver() {
            eprintln!("skipped: there is a driver");
            return;
        }
        assert_eq!(count().unwrap(), 0);
        let error = open(0, &std::env::temp_dir()).unwrap_err();
        assert!(matches!(error, CudaError::Unavailable(_)));
        let text = error.to_string();
        assert!(
            text.starts_with("there is no NVIDIA driver: libcuda.so.1 cannot be opened. Install the driver"),
            "{text}"
        );
        assert!(text.contains("--gpus all") && text.contains("LD_LIBRARY_PATH"), "{text}");
    }
}
