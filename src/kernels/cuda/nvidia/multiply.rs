//! Products of matrices, by cuBLASLt.
//!
//! Biases are added as the product is written. GELU is not: cuBLASLt's is the approximation by tanh, BERT's is exact.
//!
//! A run gives the same bits again: which algorithm multiplies is a matter of the product's sizes, numbers and
//! alignment alone, and only such are allowed as add partial sums in a fixed order, in float32.

use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtMatmulDescAttributes_t as Operation,
    cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayoutAttribute_t as LayoutAttribute,
    cudaDataType_t as DataType,
};
use cudarc::driver::{result as driver, sys::CUdeviceptr};

use super::column_major::{ColumnMajor, Layout};
use super::context::Context;
use super::failure::{failed, product_failed};
use super::lock;
use super::recent::Recent;
use crate::kernels::cuda::{Address, CudaError, Numbers, Product};

/// Memory for partial sums: what NVIDIA recommends for an H100.
const WORKSPACE: usize = 32 << 20;
/// Sizes change with every batch's tokens; twice as many plans are kept at most.
const PLANS: usize = 1024;
/// Alignment that cuBLASLt makes use of.
const ALIGNMENT: u32 = 256;

const WHAT: &str = "multiply matrices";

/// cuBLASLt, with what it was found to do best for each size.
#[derive(Debug)]
pub(super) struct Multiplier {
    /// Before the handle, so that it is dropped first.
    plans: Mutex<Recent<Key, Plan>>,
    handle: Handle,
    workspace: CUdeviceptr,
}

#[derive(Debug)]
struct Handle(sys::cublasLtHandle_t);

// SAFETY: a handle of cuBLASLt may be used by any thread, several at a time.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and used no more.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

/// All that an algorithm is chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sizes: ColumnMajor,
    factors: DataType,
    result: DataType,
    tf32: bool,
    bias: bool,
    /// Alignment of the first factor, the second, and the result and bias.
    alignments: [u32; 3],
}

impl Key {
    fn of(product: &Product, sizes: ColumnMajor) -> Self {
        // Biases are read in the same steps as the result is written.
        let result = alignment(product.result.address).min(product.bias.map_or(ALIGNMENT, alignment));
        Self {
            sizes,
            factors: data_type(product.left.numbers),
            result: data_type(product.result.numbers),
            tf32: product.tf32 && product.left.numbers == Numbers::Float32,
            bias: product.bias.is_some(),
            alignments: [alignment(product.right.address), alignment(product.left.address), result],
        }
    }
}

fn data_type(numbers: Numbers) -> DataType {
    match numbers {
        Numbers::Bf16 => DataType::CUDA_R_16BF,
        Numbers::Float32 => DataType::CUDA_R_32F,
    }
}

/// The largest power of 2 that divides an address, as far as it matters.
fn alignment(address: Address) -> u32 {
    1 << address.0.trailing_zeros().min(ALIGNMENT.trailing_zeros())
}

impl Multiplier {
    pub(super) fn new(context: &Context) -> Result<Self, CudaError> {
        context.bind()?;
        let what = "start cuBLASLt";
        let handle = Handle(result::create_handle().map_err(|error| product_failed(what, error, WORKSPACE))?);
        // SAFETY: it is written before it is read, by cuBLASLt alone.
        let workspace = unsafe { driver::malloc_sync(WORKSPACE) }.map_err(|error| failed(what, error, WORKSPACE))?;
        Ok(Self { plans: Recent::new(PLANS).into(), handle, workspace })
    }

    /// Multiplies; where nothing is to be computed, nothing happens.
    ///
    /// # Safety
    /// The matrices and the bias must lie in the device's memory.
    pub(super) unsafe fn multiply(&self, context: &Context, product: &Product) -> Result<(), CudaError> {
        let sizes = ColumnMajor::of(product)?;
        if sizes.is_empty() {
            return Ok(());
        }
        context.bind()?;
        let fails = |error| match product_failed(WHAT, error, context.asked()) {
            CudaError::Failed { what, message } => {
                CudaError::Failed { what, message: format!("{message} ({product:?})") }
            }
            other => other,
        };
        let mut plans = lock(&self.plans);
        let plan = plans.get(Key::of(product, sizes), || Plan::new(&self.handle, product, sizes)).map_err(fails)?;
        if let Some(bias) = product.bias {
            plan.operation.set(Operation::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.0).map_err(fails)?;
        }
        let (alpha, beta) = (1.0_f32, if product.add { 1.0_f32 } else { 0.0 });
        let place = |address: Address| address.0 as *mut c_void;
        // SAFETY: the plan's descriptors are those of these matrices, which the caller holds; scalars are the host's,
        // read before this returns; the workspace is used in the stream's order.
        let asked = unsafe {
            result::matmul(
                self.handle.0,
                plan.operation.0,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                place(product.right.address),
                plan.first.0,
                place(product.left.address),
                plan.second.0,
                place(product.result.address),
                plan.result.0,
                place(product.result.address),
                plan.result.0,
                &raw const plan.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                context.stream().cast(),
            )
        };
        asked.map_err(fails)
    }
}

impl Drop for Multiplier {
    /// The driver's drop has bound the context and waited; where only opening failed, nothing was multiplied.
    fn drop(&mut self) {
        // SAFETY: the workspace is ours, and used no more.
        let _ = unsafe { driver::free_sync(self.workspace) };
    }
}

/// How products of certain sizes are computed.
#[derive(Debug)]
struct Plan {
    operation: OperationDescriptor,
    first: LayoutDescriptor,
    second: LayoutDescriptor,
    result: LayoutDescriptor,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: descriptors are plain memory of cuBLASLt's; a plan is used by one thread at a time.
unsafe impl Send for Plan {}

impl Plan {
    fn new(handle: &Handle, product: &Product, sizes: ColumnMajor) -> Result<Self, CublasError> {
        let key = Key::of(product, sizes);
        let operation = OperationDescriptor::new(&key, product.bias)?;
        let first = LayoutDescriptor::new(&sizes.first, key.factors, sizes.batches)?;
        let second = LayoutDescriptor::new(&sizes.second, key.factors, sizes.batches)?;
        let result = LayoutDescriptor::new(&sizes.result, key.result, sizes.batches)?;
        let preference = PreferenceDescriptor::new(key.alignments)?;
        // SAFETY: all are made above and live on.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                handle.0,
                operation.0,
                first.0,
                second.0,
                result.0,
                result.0,
                preference.0,
            )
        }?;
        Ok(Self { operation, first, second, result, algorithm: found.algo })
    }
}

/// A type of cuBLASLt's descriptors, given back when dropped, with a method that sets an attribute.
macro_rules! descriptor {
    ($name:ident, $handle:ty, $attribute:ty, $set:path, $destroy:path) => {
        #[derive(Debug)]
        struct $name($handle);

        impl $name {
            fn set<T: Copy>(&self, attribute: $attribute, value: &T) -> Result<(), CublasError> {
                // SAFETY: the descriptor is ours; cuBLASLt copies the value, and refuses one that is not of its size.
                unsafe { $set(self.0, attribute, ptr::from_ref(value).cast(), size_of::<T>()) }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the descriptor is ours, and used no more.
                let _ = unsafe { $destroy(self.0) };
            }
        }
    };
}

descriptor!(
    OperationDescriptor,
    sys::cublasLtMatmulDesc_t,
    Operation,
    result::set_matmul_desc_attribute,
    result::destroy_matmul_desc
);
descriptor!(
    LayoutDescriptor,
    sys::cublasLtMatrixLayout_t,
    LayoutAttribute,
    result::set_matrix_layout_attribute,
    result::destroy_matrix_layout
);
descriptor!(
    PreferenceDescriptor,
    sys::cublasLtMatmulPreference_t,
    Preference,
    result::set_matmul_pref_attribute,
    result::destroy_matmul_pref
);

impl OperationDescriptor {
    fn new(key: &Key, bias: Option<Address>) -> Result<Self, CublasError> {
        let compute = if key.tf32 { Compute::CUBLAS_COMPUTE_32F_FAST_TF32 } else { Compute::CUBLAS_COMPUTE_32F };
        let operation = Self(result::create_matmul_desc(compute, DataType::CUDA_R_32F)?);
        let transposed = |layout: &Layout| i32::from(layout.transposed);
        operation.set(Operation::CUBLASLT_MATMUL_DESC_TRANSA, &transposed(&key.sizes.first))?;
        operation.set(Operation::CUBLASLT_MATMUL_DESC_TRANSB, &transposed(&key.sizes.second))?;
        if let Some(bias) = bias {
            // A column-major result's rows, to which it is added, are our columns.
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
            operation.set(Operation::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            operation.set(Operation::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.0)?;
        }
        Ok(operation)
    }
}

impl LayoutDescriptor {
    fn new(layout: &Layout, numbers: DataType, batches: usize) -> Result<Self, CublasError> {
        let (rows, columns) = (layout.rows as u64, layout.columns as u64);
        let descriptor = Self(result::create_matrix_layout(numbers, rows, columns, layout.leading as i64)?);
        if batches > 1 {
            descriptor.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &(batches as i32))?;
            let stride = layout.batch_stride as i64;
            descriptor.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride)?;
        }
        Ok(descriptor)
    }
}

impl PreferenceDescriptor {
    fn new([first, second, result]: [u32; 3]) -> Result<Self, CublasError> {
        let preference = Self(result::create_matmul_pref()?);
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &(WORKSPACE as u64))?;
        // Of the ways to add partial sums: in float32, in the workspace. Not in the result, which may be bfloat16.
        let sums = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &first)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &second)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &result)?;
        preference.set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &result)?;
        Ok(preference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::Matrix;
    use crate::kernels::cuda::nvidia::libraries::{self, Version};

    #[test]
    fn alignment_is_the_largest_power_of_two_up_to_256() {
        assert_eq!(
            [0_u64, 256, 512, 2, 6, 16, 0x7f00_0040, 1].map(|at| alignment(Address(at))),
            [256, 256, 256, 2, 2, 16, 64, 1]
        );
    }

    /// Needs `libcublasLt` in LD_LIBRARY_PATH, and passes without. It makes descriptors without a GPU, but no handle.
    #[test]
    fn cublaslt_takes_all_attributes() {
        let Ok(version) = libraries::cublaslt(Version { major: 99, minor: 0 }) else {
            eprintln!("skipped: there is no libcublasLt");
            return;
        };
        for numbers in [Numbers::Bf16, Numbers::Float32] {
            let matrix = |rows, columns| Matrix::dense(Address(512), numbers, rows, columns).batched(rows * columns);
            let product = Product {
                left: matrix(100, 384),
                right: matrix(1536, 384).transposed(),
                result: matrix(100, 1536),
                bias: Some(Address(1040)),
                add: false,
                batches: 3,
                tf32: true,
            };
            let sizes = ColumnMajor::of(&product).unwrap();
            let key = Key::of(&product, sizes);
            assert_eq!((key.alignments, key.tf32), ([256, 256, 16], numbers == Numbers::Float32));
            OperationDescriptor::new(&key, product.bias).unwrap();
            for layout in [sizes.first, sizes.second, sizes.result] {
                LayoutDescriptor::new(&layout, key.factors, sizes.batches).unwrap();
            }
            PreferenceDescriptor::new(key.alignments).unwrap();
        }
        let operation = result::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, DataType::CUDA_R_32F).unwrap();
        let wrong = OperationDescriptor(operation).set(Operation::CUBLASLT_MATMUL_DESC_TRANSA, &0_u64).unwrap_err();
        let text = product_failed("try", wrong, 0).to_string();
        assert!(text.starts_with("CUDA failed to try: CUBLAS_STATUS_INVALID_VALUE: "), "{text}");
        eprintln!("checked with cuBLASLt {version}");
    }
}
