//! The parts of a training run.

mod gradient_caching;
