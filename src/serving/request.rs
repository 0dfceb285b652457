//! What is asked of the service, and what it answers.

use std::time::Duration;

use crate::data::tokenization::CutEnd;
use crate::domain::ModelReference;

/// One text to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedInput {
    /// Text, to be tokenised.
    Text(String),
    /// Token ids of this model's tokenizer, special tokens included.
    TokenIds(Vec<u32>),
}

impl EmbedInput {
    /// How much of it there is, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::TokenIds(ids) => size_of_val(&**ids),
        }
    }
}

/// What to embed, with what.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The model.
    pub model: ModelReference,
    /// The texts.
    pub inputs: Vec<EmbedInput>,
    /// Cuts embeddings to this length (before normalising).
    pub dimensions: Option<usize>,
    /// True to give embeddings length 1; false leaves the pooled embedding as it is.
    pub normalize: bool,
    /// True to cut texts that are too long; false refuses them.
    pub truncate: bool,
    /// Where texts that are too long are cut.
    pub truncation_direction: CutEnd,
    /// The name of one of the model's prompts, put before each text.
    pub prompt_name: Option<String>,
    /// True to refuse token ids that the model's tokenizer cannot have made of a text; false takes what is in its vocabulary.
    pub own_token_ids: bool,
}

/// Where a request's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From text to token ids.
    pub tokenization: Duration,
    /// Waiting for the thread that computes.
    pub queue: Duration,
    /// From the first batch that took of it to the last one's end.
    pub inference: Duration,
}

/// The embedding of each token, in the order of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbeddings {
    /// The length of each.
    pub dimension: usize,
    /// `[tokens of all inputs, dimension]`, special tokens included, not normalised.
    pub values: Vec<f32>,
    /// Tokens of each input, after truncation.
    pub tokens: Vec<usize>,
    /// Where the time went.
    pub timings: Timings,
}

impl TokenEmbeddings {
    /// The embeddings of each input's tokens, `[tokens, dimension]` each.
    pub fn inputs(&self) -> impl Iterator<Item = &[f32]> {
        let mut rest = &self.values[..];
        self.tokens.iter().map(move |tokens| {
            let (input, after) = rest.split_at(tokens * self.dimension);
            rest = after;
            input
        })
    }
}

/// Embeddings in the order of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The length of each.
    pub dimension: usize,
    /// The length that the model gives where none is asked for.
    pub full_dimension: usize,
    /// `[inputs, dimension]`.
    pub values: Vec<f32>,
    /// Tokens of each input, after truncation.
    pub tokens: Vec<usize>,
    /// The lengths at which the model says that it was trained to be cut; none where it says nothing.
    pub matryoshka_dims: Option<Vec<usize>>,
    /// Where the time went.
    pub timings: Timings,
}

impl Embeddings {
    /// The embeddings one by one, `[dimension]` each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimension)
    }
}
