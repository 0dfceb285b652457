//! The kernels on a CUDA device: CUDA C in `source/`, compiled for the device at hand when it is first used, and for each
//! a function that launches it.
//!
//! What runs them is a [`Driver`]: NVIDIA's ([`nvidia`]), whose libraries are opened when the program runs, or in tests
//! the emulator, which runs the same sources on the CPU. Everything above that line is the same for both, so that a
//! machine without a GPU proves all but the few calls into CUDA itself. `check` holds each kernel against the CPU's.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod check;
mod driver;
pub(crate) mod dropout;
pub(crate) mod embedding;
mod error;
pub(crate) mod gelu;
pub(crate) mod matryoshka;
mod memory;
pub(crate) mod norm;
#[cfg(feature = "cuda")]
pub(crate) mod nvidia;
pub(crate) mod pooling;
pub(crate) mod search;
mod source;

#[cfg(test)]
pub(crate) mod emulator;

pub(crate) use driver::{Address, Argument, Description, Free, Launch, Matrix, Numbers, Product, kernel};
pub use error::CudaError;
pub(crate) use memory::{Buffer, Device, Tensor, View};
