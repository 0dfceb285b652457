//! The one integration binary: everything that is tested through the library's public face.

mod cli;
mod data;
mod flows;
mod helpers;
mod hub;
mod layering;
mod model;
mod parity;
mod routes;
mod store;
mod worker;
