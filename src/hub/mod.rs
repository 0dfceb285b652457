//! TODO(hub)
