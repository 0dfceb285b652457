//! model.safetensors, read tensor by tensor, so that the weights are in memory once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::super::ModelError;
use super::files::malformed;
use super::weights_file::StoredTensor;

/// The longest header; the format's own limit is 100 MB, and a BERT's is below 100 KB.
const MOST_HEADER_BYTES: u64 = 16 << 20;

/// Bytes converted at a time.
const CHUNK_BYTES: usize = 1 << 18;

/// An open safetensors file.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the numbers begin.
    data_start: u64,
}

impl SafetensorsFile {
    /// Opens the file and reads its header.
    ///
    /// # Errors
    /// Where the header is malformed or claims another size than the file has.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::File { path: path.into(), source };
        let size = path.metadata().map_err(failed)?;
        if !size.is_file() {
            return Err(malformed(path, "a file is expected"));
        }
        let size = size.len();
        let mut file = File::open(path).map_err(failed)?;
        let mut length = [0; 8];
        if size < 8 {
            return Err(malformed(path, "not a safetensors file: it is too short"));
        }
        file.read_exact(&mut length).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER_BYTES || length > size - 8 {
            return Err(malformed(path, format!("not a safetensors file: its header would be {length} bytes long")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        // Parsing checks that tensors lie end to end and that each is as long as its shape says.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| malformed(path, format!("not a safetensors file: {error}")))?;
        let data_start = 8 + length;
        let expected = data_start + metadata.data_len() as u64;
        if expected != size {
            return Err(malformed(path, format!("the file has {size} bytes; its header describes {expected}")));
        }
        Ok(Self { path: path.into(), file, metadata, data_start })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tensors(&self) -> Vec<StoredTensor> {
        let stored = |(stored_name, info): (String, &safetensors::tensor::TensorInfo)| StoredTensor {
            stored_name,
            shape: info.shape.clone(),
        };
        self.metadata.tensors().into_iter().map(stored).collect()
    }

    /// Reads a tensor of 16- or 32-bit floats.
    ///
    /// # Errors
    /// Where it is of another type or length, or the file cannot be read.
    pub(super) fn read_into(&mut self, name: &str, values: &mut [f32]) -> Result<(), ModelError> {
        let info =
            self.metadata.info(name).ok_or_else(|| malformed(&self.path, format!("tensor `{name}` is missing")))?;
        let (begin, end) = info.data_offsets;
        let convert: fn(&[u8], &mut [f32]) = match info.dtype {
            Dtype::F32 => |bytes, values| from_bytes(bytes, values, f32::from_le_bytes),
            Dtype::F16 => |bytes, values| from_bytes(bytes, values, |two| f16::from_le_bytes(two).to_f32()),
            Dtype::BF16 => |bytes, values| from_bytes(bytes, values, |two| bf16::from_le_bytes(two).to_f32()),
            other => {
                return Err(malformed(
                    &self.path,
                    format!("tensor `{name}` is of type {other}; F32, F16 or BF16 is expected"),
                ));
            }
        };
        let width = info.dtype.bitsize() / 8;
        if end - begin != values.len() * width {
            return Err(malformed(
                &self.path,
                format!("tensor `{name}` has {} numbers; {} are expected", (end - begin) / width, values.len()),
            ));
        }
        let failed = |source| ModelError::File { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(self.data_start + begin as u64)).map_err(failed)?;
        let mut buffer = vec![0; CHUNK_BYTES.min(end - begin)];
        for chunk in values.chunks_mut(CHUNK_BYTES / width) {
            let bytes = &mut buffer[..chunk.len() * width];
            self.file.read_exact(bytes).map_err(failed)?;
            convert(bytes, chunk);
        }
        Ok(())
    }
}

fn from_bytes<const N: usize>(bytes: &[u8], values: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    let (parts, _) = bytes.as_chunks::<N>();
    for (value, part) in values.iter_mut().zip(parts) {
        *value = convert(*part);
    }
}
