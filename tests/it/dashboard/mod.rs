//! The dashboard, over the real router.

mod access;
mod api;
mod datasets;
mod jobs;
mod models;
mod new_job;
mod pages;
mod playground;
