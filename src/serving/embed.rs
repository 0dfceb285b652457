//! From a request to vectors: it takes its places among those that may wait, finds its model, is tokenised (what is long, off
//! the async threads), goes through the queue to the one thread that computes, and comes back.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::data::tokenization::CutEnd;
use crate::domain::{FieldError, ModelReference};
use crate::model::SentenceEncoder;

use super::batch::{Computed, Output, Work};
use super::prepare::Preparation;
use super::{
    EmbedError, EmbedInput, EmbedRequest, EmbeddingService, Embeddings, Timings, TokenEmbeddings, off_thread, vectors,
};

/// Numbers in an answer of token embeddings; each takes about ten bytes as JSON.
const MAX_TOKEN_NUMBERS: usize = 1 << 23;

impl EmbeddingService {
    /// Embeds.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub async fn embed(&self, request: EmbedRequest) -> Result<Embeddings, EmbedError> {
        let (dimensions, is_normalized) = (request.dimensions, request.normalize);
        let (encoder, tokens, computed, timings) = self.compute(request, Output::Pooled).await?;
        let full = encoder.summary().dimension;
        let dimension = dimensions.unwrap_or(full);
        let mut values = vectors::truncate(computed, full, dimension);
        if is_normalized {
            vectors::normalize(&mut values, dimension);
        }
        let matryoshka_dims = encoder.matryoshka_dims().map(<[usize]>::to_vec);
        Ok(Embeddings { dimension, full_dimension: full, values, tokens, matryoshka_dims, timings })
    }

    /// Embeds every token of the texts; the request's `dimensions` and `normalize` have no meaning here.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::Invalid`] also where the answer would be too large.
    pub async fn embed_tokens(&self, request: EmbedRequest) -> Result<TokenEmbeddings, EmbedError> {
        let request = EmbedRequest { dimensions: None, ..request };
        let (encoder, tokens, values, timings) = self.compute(request, Output::Tokens).await?;
        Ok(TokenEmbeddings { dimension: encoder.summary().dimension, values, tokens, timings })
    }
}

/// Bytes of a text that is tokenised where its request is read: to hand it to another thread would take longer.
const SHORT: usize = 512;

/// What a request computed: by which model, each input's tokens, the numbers, where the time went.
type Computation = (Arc<SentenceEncoder>, Vec<usize>, Vec<f32>, Timings);

impl EmbeddingService {
    async fn compute(&self, request: EmbedRequest, output: Output) -> Result<Computation, EmbedError> {
        let place = self.0.place(request.inputs.len())?;
        let computed = async {
            let encoder = self.0.model(&request.model).await?;
            self.compute_in(place, encoder, request, output).await
        };
        self.0.in_time(computed).await
    }

    async fn compute_in(
        &self,
        place: OwnedSemaphorePermit,
        encoder: Arc<SentenceEncoder>,
        request: EmbedRequest,
        output: Output,
    ) -> Result<Computation, EmbedError> {
        let (tokenizing, queue) = (Arc::clone(&encoder), Arc::clone(&self.0.queue));
        let is_short = matches!(&request.inputs[..], [input] if input.size() <= SHORT);
        // The place goes along: a caller who leaves does not make room while his texts are still worked on.
        let tokenize = move || {
            let begun = Instant::now();
            let full = tokenizing.summary().dimension;
            let preparation = Preparation::new(tokenizing.tokenizer(), tokenizing.prompts(), full, &request)?;
            let sequences = preparation.token_ids(request.inputs)?;
            let tokens: Vec<usize> = sequences.iter().map(Vec::len).collect();
            check_answer(output, tokens.iter().sum(), full)?;
            let tokenization = begun.elapsed();
            let (work, answer) = Work::new(tokenizing, output, sequences, place);
            queue.push([work]);
            Ok((tokens, tokenization, answer))
        };
        let (tokens, tokenization, answer) = if is_short { tokenize()? } else { off_thread(tokenize).await? };
        // The sender is dropped unused only where the thread has died.
        let Computed { values, queue, inference } = answer.await.unwrap_or(Err(EmbedError::ShuttingDown))?;
        Ok((encoder, tokens, values, Timings { tokenization, queue, inference }))
    }

    /// Embeds texts at full length, as pooled, by a model at hand, `[texts, dimension]`; they are cut where they are too long.
    pub(super) async fn embed_by(
        &self,
        encoder: &Arc<SentenceEncoder>,
        model: &ModelReference,
        texts: Vec<String>,
    ) -> Result<Vec<f32>, EmbedError> {
        let place = self.0.place(texts.len())?;
        let request = EmbedRequest {
            model: model.clone(),
            inputs: texts.into_iter().map(EmbedInput::Text).collect(),
            dimensions: None,
            normalize: false,
            truncate: true,
            truncation_direction: CutEnd::Right,
            prompt_name: None,
            own_token_ids: false,
        };
        let computed = self.compute_in(place, Arc::clone(encoder), request, Output::Pooled);
        self.0.in_time(computed).await.map(|(_, _, values, _)| values)
    }
}

/// Refuses what would answer with more numbers than anybody reads.
fn check_answer(output: Output, tokens: usize, dimension: usize) -> Result<(), EmbedError> {
    if output == Output::Pooled || tokens * dimension <= MAX_TOKEN_NUMBERS {
        return Ok(());
    }
    let message = format!(
        "{tokens} tokens of {dimension} numbers each, but {MAX_TOKEN_NUMBERS} numbers at most are answered; send fewer texts"
    );
    Err(EmbedError::Invalid(vec![FieldError::new("inputs", message)]))
}
