//! The one integration binary: everything that is tested through the library's public face.

#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod cli;
mod dashboard;
mod data;
mod flows;
mod helpers;
mod hub;
mod layering;
mod model;
mod parity;
mod records;
mod routes;
mod store;
mod training;
mod webhooks;
mod worker;
