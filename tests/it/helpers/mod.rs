//! What several tests need.

pub(crate) mod reference;
pub(crate) mod tiny_model;
pub(crate) mod test_app;
