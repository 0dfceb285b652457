//! The dashboard, over the real router.

mod access;
mod jobs;
mod pages;
