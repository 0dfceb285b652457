//! The routes, over the real router.

mod auth;
mod errors;
mod info;
