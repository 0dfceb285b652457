//! TODO(kernels)
