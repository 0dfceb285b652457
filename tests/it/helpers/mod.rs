//! What several tests need.

pub(crate) mod collector;
pub(crate) mod exposition;
pub(crate) mod fake_trainer;
pub(crate) mod form;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod page;
pub(crate) mod receiver;
pub(crate) mod reference;
pub(crate) mod rows;
pub(crate) mod server;
pub(crate) mod test_app;
pub(crate) mod tiny_model;
