//! The HTTP surface: routes, wire types, status codes. The only module that names status codes.

pub mod state;

pub use state::{AppState, HttpLimits};
