//! TODO(serving)
