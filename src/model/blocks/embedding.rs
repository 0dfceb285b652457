//! The first block: word, position and token-type embeddings, summed, normalised, dropped out.

use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::kernels::embedding::{embed, embed_dropout_backward, scatter_add};
use crate::kernels::layer_norm::norm_backward;
use crate::kernels::matmul::add_column_sums;
use crate::kernels::room;
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::{Dropout, DropoutSite, NormWeights, find};

/// The block's weights.
#[derive(Debug, Clone)]
pub(in crate::model) struct TokenEmbedding {
    words: Range<usize>,
    positions: Range<usize>,
    token_types: Range<usize>,
    norm: NormWeights,
    hidden_size: usize,
}

/// What forward keeps.
#[derive(Debug, Default)]
pub(in crate::model) struct SavedEmbedding {
    normalized: Vec<f32>,
    inverse: Vec<f32>,
}

impl TokenEmbedding {
    pub(in crate::model) fn find(parameters: &Parameters, config: &EncoderConfig) -> Result<Self, ModelError> {
        Ok(Self {
            words: find(parameters, "embeddings.word_embeddings.weight")?,
            positions: find(parameters, "embeddings.position_embeddings.weight")?,
            token_types: find(parameters, "embeddings.token_type_embeddings.weight")?,
            norm: NormWeights::find(parameters, "embeddings.LayerNorm", config.layer_norm_eps)?,
            hidden_size: config.hidden_size,
        })
    }

    /// All tokens are of the first token type: sentences are embedded alone.
    fn token_type(&self) -> Range<usize> {
        self.token_types.start..self.token_types.start + self.hidden_size
    }

    /// Writes `[tokens, hidden]`.
    pub(in crate::model) fn forward(
        &self,
        flat: &[f32],
        batch: &PackedBatch,
        dropout: &Dropout,
        saved: &mut SavedEmbedding,
        output: &mut [f32],
    ) {
        embed(
            &batch.input_ids,
            &batch.position_ids,
            &flat[self.words.clone()],
            &flat[self.positions.clone()],
            &flat[self.token_type()],
            self.norm.norm(flat),
            dropout.stream(DropoutSite::Embedding),
            room(&mut saved.normalized, output.len()),
            room(&mut saved.inverse, batch.tokens()),
            output,
        );
    }

    /// Adds to the tables' gradients; `d_output` is overwritten.
    pub(in crate::model) fn backward(
        &self,
        flat: &[f32],
        batch: &PackedBatch,
        dropout: &Dropout,
        saved: &SavedEmbedding,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        embed_dropout_backward(d_output, self.hidden_size, dropout.stream(DropoutSite::Embedding));
        let normalized = &saved.normalized[..d_output.len()];
        let inverse = &saved.inverse[..batch.tokens()];
        norm_backward(d_output, normalized, inverse, self.norm.weight(flat), self.norm.gradients(gradients));
        scatter_add(&batch.input_ids, d_output, self.hidden_size, &mut gradients[self.words.clone()]);
        scatter_add(&batch.position_ids, d_output, self.hidden_size, &mut gradients[self.positions.clone()]);
        add_column_sums(d_output, &mut gradients[self.token_type()]);
    }
}
