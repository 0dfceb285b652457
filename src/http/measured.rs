//! What a request to embed took: an extension of the response for the access log and the metrics, and TEI's headers for
//! the client.

use std::time::Instant;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::serving::Timings;

/// The header that says what is odd about an answer that is given all the same.
pub(super) const WARNING: HeaderName = HeaderName::from_static("x-matryo-warning");

/// What a request to embed took.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// The model, as the client named it, or the one that was chosen for him.
    pub(super) model: String,
    /// Texts.
    pub(super) texts: usize,
    /// Tokens of all texts, after truncation.
    pub(super) tokens: usize,
    /// Where the time went.
    pub(super) timings: Timings,
}

/// An answer and what it took.
#[derive(Debug)]
pub(super) struct Computed<T> {
    /// The answer's JSON.
    pub(super) body: T,
    /// What it took.
    pub(super) measured: Measured,
    /// Characters of all texts; of token ids, their number.
    pub(super) characters: usize,
    /// What computed it, such as `cpu`.
    pub(super) device: std::sync::Arc<str>,
    /// When the handler began.
    pub(super) begun: Instant,
    /// What is odd about it.
    pub(super) warning: Option<String>,
}

/// The names of TEI's headers, which every [`Computed`] answer carries.
pub(super) const COMPUTE_HEADERS: [&str; 8] = [
    "x-compute-type",
    "x-compute-time",
    "x-compute-characters",
    "x-compute-tokens",
    "x-total-time",
    "x-tokenization-time",
    "x-queue-time",
    "x-inference-time",
];

impl<T> Computed<T> {
    fn headers(&self) -> HeaderMap {
        let Timings { tokenization, queue, inference } = self.measured.timings;
        let total = self.begun.elapsed();
        let number = |number: u128| HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX));
        let device = HeaderValue::from_str(&self.device).unwrap_or(HeaderValue::from_static("cpu"));
        let values = [
            device,
            number(total.as_millis()),
            self.characters.into(),
            self.measured.tokens.into(),
            number(total.as_millis()),
            number(tokenization.as_millis()),
            number(queue.as_millis()),
            number(inference.as_millis()),
        ];
        let mut headers: HeaderMap = COMPUTE_HEADERS.map(HeaderName::from_static).into_iter().zip(values).collect();
        // A warning is ours, and so of printable characters.
        if let Some(Ok(warning)) = self.warning.as_deref().map(HeaderValue::from_str) {
            headers.insert(WARNING, warning);
        }
        headers
    }
}

impl<T: Serialize> IntoResponse for Computed<T> {
    fn into_response(self) -> Response {
        let headers = self.headers();
        let mut response = (headers, Json(self.body)).into_response();
        response.extensions_mut().insert(self.measured);
        response
    }
}
