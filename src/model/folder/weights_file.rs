//! A model's weights on disk: names and shapes first, then one tensor at a time into a place made for it.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::ModelError;
use super::files::malformed;
use super::safetensors_file::SafetensorsFile;
use super::tensor_layout::canonical_name;
use super::torch_file::TorchFile;

/// One tensor as a file has it.
#[derive(Debug, Clone)]
pub(super) struct StoredTensor {
    /// Its name in the file.
    pub(super) stored_name: String,
    pub(super) shape: Vec<usize>,
}

/// A file of weights, open for reading.
pub(super) struct WeightsFile {
    format: Format,
    /// By canonical name.
    tensors: BTreeMap<String, StoredTensor>,
}

enum Format {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

impl WeightsFile {
    /// Opens model.safetensors, or pytorch_model.bin where there is none, and reads names and shapes.
    ///
    /// # Errors
    /// Where there is neither, or the file is not what its name says.
    pub(super) fn open(folder: &Path) -> Result<Self, ModelError> {
        let safetensors = folder.join("model.safetensors");
        let torch = folder.join("pytorch_model.bin");
        let format = if safetensors.exists() {
            Format::Safetensors(SafetensorsFile::open(&safetensors)?)
        } else if torch.exists() {
            Format::Torch(TorchFile::open(&torch)?)
        } else {
            return Err(missing(folder));
        };
        let mut stored = match &format {
            Format::Safetensors(file) => file.tensors(),
            Format::Torch(file) => file.tensors(),
        };
        // Both readers keep tensors in hash maps; a message must not change from one run to the next.
        stored.sort_by(|a, b| a.stored_name.cmp(&b.stored_name));
        let mut tensors = BTreeMap::new();
        for tensor in stored {
            let name = canonical_name(&tensor.stored_name);
            if let Some(other) = tensors.insert(name, tensor.clone()) {
                return Err(malformed(
                    format.path(),
                    format!("`{}` and `{}` are the same tensor", other.stored_name, tensor.stored_name),
                ));
            }
        }
        Ok(Self { format, tensors })
    }

    /// The tensor of that canonical name.
    pub(super) fn tensor(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// Checks that a tensor is there with the shape given.
    ///
    /// # Errors
    /// Names the tensor, and the shapes found and expected.
    pub(super) fn check_shape(&self, name: &str, expected: &[usize]) -> Result<(), ModelError> {
        let path = self.format.path();
        let tensor = self.tensor(name).ok_or_else(|| malformed(path, format!("tensor `{name}` is missing")))?;
        if tensor.shape != expected {
            return Err(malformed(
                path,
                format!("tensor `{}` has shape {:?}; {expected:?} is expected", tensor.stored_name, tensor.shape),
            ));
        }
        Ok(())
    }

    /// Reads a tensor into `values`, which has as many numbers as the tensor has.
    ///
    /// # Errors
    /// Where it is missing, has another number of values, is not of floats, or holds a number that is not finite.
    pub(super) fn read_into(&mut self, name: &str, values: &mut [f32]) -> Result<(), ModelError> {
        let path = self.format.path();
        let tensor = self.tensors.get(name).ok_or_else(|| malformed(path, format!("tensor `{name}` is missing")))?;
        match &mut self.format {
            Format::Safetensors(file) => file.read_into(&tensor.stored_name, values)?,
            Format::Torch(file) => file.read_into(&tensor.stored_name, values)?,
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(malformed(
                self.format.path(),
                format!("tensor `{}` holds a number that is not finite", tensor.stored_name),
            ));
        }
        Ok(())
    }
}

impl Format {
    fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Torch(file) => file.path(),
        }
    }
}

fn missing(folder: &Path) -> ModelError {
    for index in ["model.safetensors.index.json", "pytorch_model.bin.index.json"] {
        if folder.join(index).exists() {
            return ModelError::Unsupported(format!(
                "the weights are in several files ({index}), and only one model.safetensors or pytorch_model.bin can be used"
            ));
        }
    }
    let message = "the model folder has neither model.safetensors nor pytorch_model.bin";
    ModelError::File { path: folder.into(), source: std::io::Error::new(std::io::ErrorKind::NotFound, message) }
}
