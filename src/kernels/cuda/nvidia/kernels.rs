//! The compiled kernels, found by their names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};
use std::sync::Mutex;

use cudarc::driver::result;
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute};

use super::context::Context;
use super::{failure::text, lock};
use crate::kernels::cuda::{Argument, CudaError, Launch};

/// Dynamic shared memory that a kernel may have without having been promised it.
const UNASKED_SHARED_MEMORY: u32 = 48 << 10;

/// A loaded image, and what was found in it so far.
#[derive(Debug)]
pub(super) struct Kernels {
    module: sys::CUmodule,
    /// The most shared memory that a block may have, static and dynamic together.
    shared_memory: usize,
    found: Mutex<HashMap<&'static str, Function>>,
}

// SAFETY: CUDA's handles may be used by any thread.
unsafe impl Send for Kernels {}
// SAFETY: as above.
unsafe impl Sync for Kernels {}

#[derive(Debug, Clone, Copy)]
struct Function {
    function: sys::CUfunction,
    /// True once it may have as much shared memory as there is.
    promised: bool,
}

impl Kernels {
    /// Loads what `compile` gave.
    pub(super) fn load(context: &Context, image: &[u8], shared_memory: usize) -> Result<Self, CudaError> {
        context.bind()?;
        // SAFETY: the image is a whole one: its checksum was right, or it comes from the compiler.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let module = context.check("load the kernels", module)?;
        Ok(Self { module, shared_memory, found: Mutex::default() })
    }

    /// Runs a kernel; of no blocks, none.
    ///
    /// # Safety
    /// The arguments must be the kernel's, and addresses among them such as it may read and write.
    pub(super) unsafe fn launch(
        &self,
        context: &Context,
        launch: &Launch,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        if launch.grid.contains(&0) {
            return Ok(());
        }
        context.bind()?;
        let function = self.function(context, launch)?;
        let mut words: Vec<u64> = arguments.iter().map(|argument| argument.word()).collect();
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|word| std::ptr::from_mut(word).cast()).collect();
        let [x, y, z] = launch.grid;
        let (blocks, threads) = ((x, y, z), (launch.threads, 1, 1));
        // SAFETY: as the caller says. CUDA copies the arguments before it returns.
        let asked =
            unsafe { result::launch_kernel(function, blocks, threads, launch.shared, context.stream(), &mut pointers) };
        named(launch.kernel, "launch a kernel", context, asked)
    }

    /// The kernel, looked up the first time, and promised its shared memory the first time that it needs much.
    fn function(&self, context: &Context, launch: &Launch) -> Result<sys::CUfunction, CudaError> {
        let name = launch.kernel;
        let mut found = lock(&self.found);
        let function = match found.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let symbol = CString::new(name).unwrap_or_default();
                // SAFETY: the module is loaded until this is dropped.
                let function = unsafe { result::module::get_function(self.module, symbol) };
                let function = named(name, "find a kernel", context, function)?;
                entry.insert(Function { function, promised: false })
            }
        };
        if launch.shared > UNASKED_SHARED_MEMORY && !function.promised {
            let what = "give a kernel shared memory";
            let size = Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
            // SAFETY: the function is of the module.
            let own = unsafe { result::function::get_function_attribute(function.function, size) };
            let own = named(name, what, context, own)?;
            let rest = i32::try_from(self.shared_memory).unwrap_or(i32::MAX) - own;
            let most = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: as above.
            let set = unsafe { result::function::set_function_attribute(function.function, most, rest) };
            named(name, what, context, set)?;
            function.promised = true;
        }
        Ok(function.function)
    }
}

impl Drop for Kernels {
    /// The driver's drop has bound the context and waited; where only opening failed, nothing was launched.
    fn drop(&mut self) {
        // SAFETY: the module is ours, and used no more.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

/// CUDA's result as ours, with the kernel's name.
fn named<T>(
    kernel: &str,
    what: &'static str,
    context: &Context,
    result: Result<T, result::DriverError>,
) -> Result<T, CudaError> {
    result.or_else(|error| {
        context.check(what, Err(error)).map_err(|failed| match failed {
            CudaError::Failed { what, .. } => CudaError::Failed { what, message: format!("{kernel}: {}", text(error)) },
            other => other,
        })
    })
}
