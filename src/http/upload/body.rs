//! A large body as a stream that is cut off where the sender exceeds a limit or falls silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::http::extract::body_timeout;
use crate::http::{ApiError, ErrorCode};

/// How long a sender may be silent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that may come in without being part of a field's content: boundaries and headers of multipart bodies, which
/// its parser holds in memory.
const MAX_UNREAD_BYTES: u64 = 1 << 20;

/// Why a body was cut off.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the upload has more than {0} bytes")]
    TooLarge(u64),
    #[error("a part's headers have more than {MAX_UNREAD_BYTES} bytes")]
    PartHeaders,
    #[error("the sender fell silent")]
    Silent,
    #[error("the body broke off: {0}")]
    Broken(String),
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) | BodyError::PartHeaders => Self::new(ErrorCode::TooLarge, error.to_string()),
            BodyError::Silent => body_timeout(),
            BodyError::Broken(_) => Self::new(ErrorCode::MalformedRequest, error.to_string()),
        }
    }
}

/// Counts what a reader has taken in but not yet made sense of.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicU64>);

impl Unread {
    /// To be called whenever a part or a piece of one came out.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64) -> u64 {
        self.0.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

/// The body's bytes, at most `limit`.
pub(super) fn bounded(
    body: Body,
    limit: u64,
    unread: Unread,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    async_stream::try_stream! {
        let mut body = body.into_data_stream();
        let mut total = 0;
        while let Some(piece) = tokio::time::timeout(IDLE_TIMEOUT, body.next()).await.map_err(|_| BodyError::Silent)? {
            let piece = piece.map_err(|error| BodyError::Broken(error.to_string()))?;
            total += piece.len() as u64;
            if total > limit {
                Err(BodyError::TooLarge(limit))?;
            }
            if unread.add(piece.len() as u64) > MAX_UNREAD_BYTES + piece.len() as u64 {
                Err(BodyError::PartHeaders)?;
            }
            yield piece;
            // The multipart parser takes in all that is there before it looks at any of it. The pause makes that one
            // piece, however fast the sender is.
            tokio::task::yield_now().await;
        }
    }
}
