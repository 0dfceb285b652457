//! pytorch_model.bin, read through candle's reader, which builds tensors from a pickle without running what it names.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use candle_core::pickle::PthTensors;
use candle_core::{DType, Tensor};

use super::super::ModelError;
use super::files::malformed;
use super::weights_file::StoredTensor;

/// An open file of torch.save.
pub(super) struct TorchFile {
    path: PathBuf,
    size: u64,
    tensors: PthTensors,
}

impl TorchFile {
    /// Opens the file and reads names and shapes.
    ///
    /// # Errors
    /// Where it is not a zip file of torch.save (the form since version 1.6) that holds a dictionary of tensors.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let metadata = path.metadata().map_err(|source| ModelError::File { path: path.into(), source })?;
        if !metadata.is_file() {
            return Err(malformed(path, "a file is expected"));
        }
        let tensors = guarded(path, || PthTensors::new(path, None))?;
        if tensors.tensor_infos().is_empty() {
            return Err(malformed(path, "no tensor found: a dictionary of tensors written by torch.save is expected"));
        }
        Ok(Self { path: path.into(), size: metadata.len(), tensors })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tensors(&self) -> Vec<StoredTensor> {
        let stored = |(name, info): (&String, &candle_core::pickle::TensorInfo)| StoredTensor {
            stored_name: name.clone(),
            shape: info.layout.dims().to_vec(),
        };
        self.tensors.tensor_infos().iter().map(stored).collect()
    }

    /// Reads a tensor of 16- or 32-bit floats.
    ///
    /// # Errors
    /// Where it is of another type or length, or cannot be read.
    pub(super) fn read_into(&self, name: &str, values: &mut [f32]) -> Result<(), ModelError> {
        let refused = |message: String| malformed(&self.path, format!("tensor `{name}` {message}"));
        let info = self.tensors.tensor_infos().get(name).ok_or_else(|| refused("is missing".into()))?;
        if !matches!(info.dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(refused(format!("is of type {:?}; F32, F16 or BF16 is expected", info.dtype)));
        }
        let count = info.layout.shape().elem_count();
        if count != values.len() {
            return Err(refused(format!("has {count} numbers; {} are expected", values.len())));
        }
        // torch.save does not compress, so a tensor larger than the file is a lie.
        if count as u64 > self.size / info.dtype.size_in_bytes() as u64 {
            return Err(refused("is larger than the file".into()));
        }
        let read = || -> candle_core::Result<Vec<f32>> {
            let tensor: Option<Tensor> = self.tensors.get(name)?;
            let tensor = tensor.ok_or_else(|| candle_core::Error::msg("the tensor's numbers are missing"))?;
            tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()
        };
        values.copy_from_slice(&guarded(&self.path, read)?);
        Ok(())
    }
}

/// The reader indexes into what the pickle claims, so that a malformed file can make it panic.
fn guarded<T>(path: &Path, read: impl FnOnce() -> candle_core::Result<T>) -> Result<T, ModelError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(malformed(path, format!("not a file of torch.save that can be read: {error}"))),
        Err(_) => Err(malformed(path, "not a file of torch.save that can be read: its pickle is malformed")),
    }
}
