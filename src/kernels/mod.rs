//! The numeric kernels: the only place where `unsafe` is allowed.

pub mod similarity;
