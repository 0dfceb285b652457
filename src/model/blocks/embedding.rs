//! The first block: word, position and token-type embeddings, summed, normalised, dropped out.

use std::ops::Range;

use rayon::prelude::*;

use crate::data::packing::PackedBatch;
use crate::kernels::embedding::{embed, embed_dropout_backward, scatter_add};
use crate::kernels::layer_norm::norm_backward;
use crate::kernels::matmul::add_column_sums;
use crate::kernels::{room, row_block};
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::partial_sums::{PartialSums, add_to};
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

    /// A block of rows, the first of which is number `first` of the batch: `output` and `normalized` are
    /// `[rows, hidden]`, `inverse` `[rows]`; on this thread.
    #[expect(clippy::too_many_arguments, reason = "what it reads, what it writes, what backward will read")]
    pub(in crate::model) fn forward_rows(
        &self,
        flat: &[f32],
        batch: &PackedBatch,
        dropout: &Dropout<'_>,
        first: usize,
        normalized: &mut [f32],
        inverse: &mut [f32],
        output: &mut [f32],
    ) {
        let rows = first..first + inverse.len();
        embed(
            first,
            &batch.input_ids[rows.clone()],
            &batch.position_ids[rows],
            &flat[self.words.clone()],
            &flat[self.positions.clone()],
            &flat[self.token_type()],
            self.norm.norm(flat),
            dropout.stream(DropoutSite::Embedding),
            normalized,
            inverse,
            output,
        );
    }

    /// Writes `[tokens, hidden]`, and keeps in `saved` what backward needs.
    pub(in crate::model) fn forward(
        &self,
        flat: &[f32],
        batch: &PackedBatch,
        dropout: &Dropout<'_>,
        saved: &mut SavedEmbedding,
        output: &mut [f32],
    ) {
        let (block, columns) = (row_block(batch.tokens()), self.hidden_size);
        let normalized = room(&mut saved.normalized, output.len()).par_chunks_mut(block * columns);
        let inverse = room(&mut saved.inverse, batch.tokens()).par_chunks_mut(block);
        let blocks = normalized.zip(inverse).zip(output.par_chunks_mut(block * columns)).enumerate();
        blocks.for_each(|(number, ((normalized, inverse), output))| {
            self.forward_rows(flat, batch, dropout, number * block, normalized, inverse, output);
        });
    }

    /// Adds to the tables' gradients; `d_output` is overwritten.
    pub(in crate::model) fn backward(
        &self,
        flat: &[f32],
        batch: &PackedBatch,
        dropout: &Dropout<'_>,
        saved: &SavedEmbedding,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        let (columns, block) = (self.hidden_size, row_block(batch.tokens()));
        let stream = dropout.stream(DropoutSite::Embedding);
        let kept = saved.normalized[..d_output.len()].par_chunks(block * columns);
        let kept = kept.zip(saved.inverse[..batch.tokens()].par_chunks(block));
        let sums: Vec<PartialSums> = d_output
            .par_chunks_mut(block * columns)
            .zip(kept)
            .enumerate()
            .map(|(number, (d_output, (normalized, inverse)))| {
                let mut sums = PartialSums::new([columns; 3]);
                let [d_scale, d_shift, d_token_type] = sums.split([columns; 3]);
                embed_dropout_backward(number * block, d_output, columns, stream);
                norm_backward(d_output, normalized, inverse, self.norm.weight(flat), d_scale, d_shift);
                add_column_sums(d_output, d_token_type);
                sums
            })
            .collect();
        let places = self.norm.places().into_iter().chain([self.token_type()]);
        add_to(gradients, places, &PartialSums::total(&sums));
        scatter_add(&batch.input_ids, d_output, columns, &mut gradients[self.words.clone()]);
        scatter_add(&batch.position_ids, d_output, columns, &mut gradients[self.positions.clone()]);
    }
}
