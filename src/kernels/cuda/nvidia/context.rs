//! The device's context, its one stream and its memory.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUmemPool_attribute as Pool};

use super::failure::failed;
use crate::kernels::cuda::{CudaError, Free};

/// The primary context, which cuBLASLt uses too, and a stream in it. Contexts belong to threads: each call first looks
/// which one the calling thread has, some tens of nanoseconds, and sets it where it is another's.
#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// Where memory comes from in the stream's order; none where the device has none.
    pool: Option<sys::CUmemoryPool>,
    /// Bytes that were last asked for.
    asked: AtomicUsize,
}

// SAFETY: CUDA's handles may be used by any thread, several at a time; the context is bound to the thread before.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// # Safety
    /// The device must be one that the driver gave.
    pub(super) unsafe fn new(device: sys::CUdevice) -> Result<Self, CudaError> {
        let what = "open the GPU";
        // SAFETY: the device is the driver's.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(|error| failed(what, error, 0))?;
        // From here on, dropping gives the context back.
        let mut opened = Self { device, context, stream: ptr::null_mut(), pool: None, asked: AtomicUsize::new(0) };
        opened.bind()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        opened.stream = opened.check(what, stream)?;

        let has_pools = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
        // SAFETY: as above.
        if opened.check(what, unsafe { result::device::get_attribute(device, has_pools) })? != 0 {
            // SAFETY: as above.
            let pool = opened.check(what, unsafe { result::device::get_default_mem_pool(device) })?;
            // What was freed stays with the process: to give it to the system and take it again would wait for the
            // device.
            let mut keep = u64::MAX;
            let attribute = Pool::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            // SAFETY: the pool is the device's, and the attribute 64 bits.
            let set = unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut keep).cast()) };
            opened.check(what, set)?;
            opened.pool = Some(pool);
        }
        Ok(opened)
    }

    /// Makes this the calling thread's context; to be called before anything that needs one.
    pub(super) fn bind(&self) -> Result<(), CudaError> {
        let what = "bind the GPU to a thread";
        if self.check(what, result::ctx::get_current())? != Some(self.context) {
            // SAFETY: the context is held until this is dropped.
            self.check(what, unsafe { result::ctx::set_current(self.context) })?;
        }
        Ok(())
    }

    /// The stream in which everything happens.
    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// Bytes that were last asked for.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// CUDA's result as ours.
    pub(super) fn check<T>(&self, what: &'static str, result: Result<T, DriverError>) -> Result<T, CudaError> {
        result.map_err(|error| failed(what, error, self.asked()))
    }

    /// Takes memory.
    pub(super) fn allocate(&self, bytes: usize) -> Result<sys::CUdeviceptr, CudaError> {
        self.bind()?;
        self.asked.store(bytes, Ordering::Relaxed);
        // SAFETY: the stream is ours; the memory is used in its order alone.
        let take = || unsafe {
            match self.pool {
                Some(_) => result::malloc_async(self.stream, bytes),
                None => result::malloc_sync(bytes),
            }
        };
        let mut taken = take();
        if taken.is_err_and(|error| error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) {
            // What was freed may lie in pieces, or still be in use; once all is done and given back, it may be enough.
            self.synchronize()?;
            self.trim();
            taken = take();
        }
        self.check("take memory", taken)
    }

    /// Gives memory back.
    ///
    /// # Safety
    /// The address must come from [`Context::allocate`], and nothing asked for after this may use it.
    pub(super) unsafe fn free(&self, address: sys::CUdeviceptr) {
        let free = || {
            self.bind()?;
            match self.pool {
                // SAFETY: as the caller says.
                Some(_) => self.check("free memory", unsafe { result::free_async(address, self.stream) }),
                None => {
                    self.synchronize()?;
                    // SAFETY: as the caller says; nothing is on its way any more.
                    self.check("free memory", unsafe { result::free_sync(address) })
                }
            }
        };
        if let Err(error) = free() {
            // After one failure all calls fail, so that this may come for each buffer.
            tracing::debug!(%error, "memory of the GPU was not given back");
        }
    }

    /// Sets bytes to 0.
    ///
    /// # Safety
    /// The place must have so many bytes.
    pub(super) unsafe fn zero(&self, at: sys::CUdeviceptr, bytes: usize) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: as the caller says.
        self.check("set memory to zero", unsafe { result::memset_d8_async(at, 0, bytes, self.stream) })
    }

    /// Waits until all that was asked is done.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        self.bind()?;
        // SAFETY: the stream is ours.
        self.check("finish what was asked", unsafe { result::stream::synchronize(self.stream) })
    }

    /// What is free: to everybody, and in the pool.
    pub(super) fn memory(&self) -> Result<Free, CudaError> {
        self.bind()?;
        let what = "tell how much memory is free";
        let (free, total) = self.check(what, result::mem_get_info())?;
        let mut spare = 0;
        if let Some(pool) = self.pool {
            let bytes = |attribute| {
                let mut value = 0_u64;
                // SAFETY: the pool is the device's, and the attribute 64 bits.
                let got = unsafe { result::mem_pool::get_attribute(pool, attribute, (&raw mut value).cast()) };
                self.check(what, got).map(|()| value)
            };
            let reserved = bytes(Pool::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
            spare = reserved.saturating_sub(bytes(Pool::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?) as usize;
        }
        Ok(Free { free: free.saturating_add(spare).min(total), total })
    }

    /// Gives the pool's spare memory back to the system.
    fn trim(&self) {
        if let Some(pool) = self.pool {
            // SAFETY: the pool is the device's. Where it fails, it keeps its memory, which is no error.
            let _ = unsafe { result::mem_pool::trim_to(pool, 0) };
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.bind().is_ok() && !self.stream.is_null() {
            // SAFETY: the stream is ours, and nobody can use it any more. Errors are those of what was asked before.
            let _ = unsafe { result::stream::synchronize(self.stream) };
            self.trim();
            // SAFETY: as above.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        // SAFETY: it was retained once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
