//! The routes, over the real router.

mod auth;
mod datasets;
mod errors;
mod info;
