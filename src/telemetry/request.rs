//! A request as metrics and spans see it.

use std::time::Duration;

/// What is known of a request when it comes.
#[derive(Debug, Clone, Copy)]
pub struct RequestStart<'a> {
    /// Its method; one of the usual ones, or `_OTHER`.
    pub method: &'static str,
    /// The template of its route, such as `/v1/jobs/{id}`; none where no route has its path.
    pub route: Option<&'a str>,
    /// Its path, without the query string.
    pub path: &'a str,
    /// Its id.
    pub request_id: &'a str,
    /// W3C Trace Context, where the client sent it.
    pub traceparent: Option<&'a str>,
    /// The rest of the same.
    pub tracestate: Option<&'a str>,
}

/// What is known of a request when it has been answered.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Its method; one of the usual ones, or `_OTHER`.
    pub method: &'static str,
    /// The template of its route; none where no route has its path.
    pub route: Option<&'a str>,
    /// The answer's status; 499 where the client left before there was one.
    pub status: u16,
    /// From the request's head to the answer's.
    pub latency: Duration,
    /// The word for programs of an answer that is an error.
    pub error: Option<&'a str>,
    /// What was embedded.
    pub work: Option<EmbeddingWork<'a>>,
}

/// What one request had embedded.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingWork<'a> {
    /// The model, as the request names it.
    pub model: &'a str,
    /// How many texts.
    pub texts: usize,
    /// Tokens of all of them.
    pub tokens: usize,
    /// Time in the tokenizer.
    pub tokenization: Duration,
    /// Time until the model began.
    pub queue: Duration,
    /// Time in the model.
    pub inference: Duration,
}

impl EmbeddingWork<'_> {
    /// The stages that texts go through, in order, by their names.
    pub(super) fn stages(&self) -> [(&'static str, Duration); 3] {
        [("tokenization", self.tokenization), ("queue", self.queue), ("inference", self.inference)]
    }
}
