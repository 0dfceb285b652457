//! What a device must do for us: hold memory, run kernels and multiply matrices, one after the other in the order asked.

use super::CudaError;

/// A place in the device's memory; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    /// What kernels take for something that is not there.
    pub(crate) const NONE: Self = Self(0);

    /// So many bytes further.
    pub(crate) fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// The numbers of an array on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// 16 bits: float32's first.
    Bf16,
    /// 32 bits.
    Float32,
}

impl Numbers {
    /// Bytes of one.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// What a kernel is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// A pointer.
    Address(Address),
    /// An `unsigned int`.
    U32(u32),
    /// A `float`.
    F32(f32),
}

impl Argument {
    /// As the driver reads it from memory: in the first bytes.
    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Address(address) => address.0,
            Self::U32(value) => value.into(),
            Self::F32(value) => value.to_bits().into(),
        }
    }
}

impl From<Address> for Argument {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<usize> for Argument {
    /// # Panics
    /// Where it is beyond 32 bits: sizes are checked before, by what fits the device's memory.
    fn from(value: usize) -> Self {
        Self::U32(u32::try_from(value).expect("it fits 32 bits"))
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

/// A kernel and how many threads run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    /// The kernel's name in the sources.
    pub(crate) kernel: &'static str,
    /// Blocks.
    pub(crate) grid: [u32; 3],
    /// Threads of a block, at most 1,024.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(crate) shared: u32,
}

/// A row-major matrix in the device's memory, or a batch of such, read as it is or transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    /// Its first number.
    pub(crate) address: Address,
    /// Its numbers.
    pub(crate) numbers: Numbers,
    /// Rows, after any transposing.
    pub(crate) rows: usize,
    /// Columns, after any transposing.
    pub(crate) columns: usize,
    /// From the beginning of a row, as it lies in memory, to that of the next, in numbers.
    pub(crate) stride: usize,
    /// True where the columns lie in memory as rows.
    pub(crate) transposed: bool,
    /// From one matrix of a batch to the next, in numbers.
    pub(crate) batch_stride: usize,
}

impl Matrix {
    /// A matrix without gaps.
    pub(crate) fn dense(address: Address, numbers: Numbers, rows: usize, columns: usize) -> Self {
        Self { address, numbers, rows, columns, stride: columns, transposed: false, batch_stride: 0 }
    }

    /// Columns of a matrix whose rows are `stride` numbers apart.
    pub(crate) fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// One matrix of a batch of them.
    pub(crate) fn batched(self, batch_stride: usize) -> Self {
        Self { batch_stride, ..self }
    }

    /// The same numbers, rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }
}

/// `result = left right + bias`, or `result += left right`; sums in float32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// `[rows, inner]`.
    pub(crate) left: Matrix,
    /// `[inner, columns]`, of the same numbers as `left`.
    pub(crate) right: Matrix,
    /// `[rows, columns]`, not transposed.
    pub(crate) result: Matrix,
    /// Added to each row, `[columns]`, of the result's numbers.
    pub(crate) bias: Option<Address>,
    /// True to add to what stands in the result.
    pub(crate) add: bool,
    /// Matrices of the batch.
    pub(crate) batches: usize,
    /// True where float32 factors may be rounded to the 19 bits that tensor cores multiply.
    pub(crate) tf32: bool,
}

/// A device in words and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub(crate) name: String,
    /// Its generation, such as (9, 0).
    pub(crate) compute_capability: (u32, u32),
    /// Processors that run blocks.
    pub(crate) multiprocessors: u32,
    /// The most bytes of shared memory that a block may ask for.
    pub(crate) shared_memory_per_block: usize,
    /// Bytes of memory.
    pub(crate) memory: usize,
}

/// The device's memory at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Free {
    /// Bytes that nobody holds.
    pub(crate) free: usize,
    /// Bytes that there are.
    pub(crate) total: usize,
}

/// A device. What is asked of it happens in the order of asking, after the call has returned; only what says so waits.
/// An error may therefore be that of an earlier call.
pub(crate) trait Driver: Send + Sync + std::fmt::Debug {
    /// What it is.
    fn description(&self) -> &Description;

    /// Takes memory; what stands in it is not defined. The address is a multiple of 256.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] where there is too little.
    fn allocate(&self, bytes: usize) -> Result<Address, CudaError>;

    /// Gives memory back that [`Driver::allocate`] took, once all that was asked before is done.
    fn free(&self, address: Address, bytes: usize);

    /// Copies to the device. `bytes` may be changed as soon as the call returns.
    ///
    /// # Errors
    /// As CUDA says.
    fn upload(&self, bytes: &[u8], to: Address) -> Result<(), CudaError>;

    /// Copies from the device, and waits for it.
    ///
    /// # Errors
    /// As CUDA says, also of what was asked before.
    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError>;

    /// Sets bytes to 0.
    ///
    /// # Errors
    /// As CUDA says.
    fn zero(&self, at: Address, bytes: usize) -> Result<(), CudaError>;

    /// Runs a kernel. `arguments` must be those of the kernel, in number and kind.
    ///
    /// # Errors
    /// Where there is no such kernel, and as CUDA says.
    fn launch(&self, launch: &Launch, arguments: &[Argument]) -> Result<(), CudaError>;

    /// Multiplies matrices.
    ///
    /// # Errors
    /// As cuBLASLt says.
    fn multiply(&self, product: &Product) -> Result<(), CudaError>;

    /// Waits until all that was asked is done.
    ///
    /// # Errors
    /// Those of what was asked before.
    fn synchronize(&self) -> Result<(), CudaError>;

    /// How much memory is free now.
    ///
    /// # Errors
    /// As CUDA says.
    fn memory(&self) -> Result<Free, CudaError>;
}

/// The name of a kernel's instance for these numbers: `kernel!(numbers, "norm_backward")`.
macro_rules! kernel {
    ($numbers:expr, $name:literal) => {
        match $numbers {
            $crate::kernels::cuda::Numbers::Bf16 => concat!($name, "_bf16"),
            $crate::kernels::cuda::Numbers::Float32 => concat!($name, "_f32"),
        }
    };
}
pub(crate) use kernel;
