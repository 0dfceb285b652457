//! The sentence encoder: the one implementation behind training, evaluation and serving.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::packing::{PackedBatch, longest_first};
use crate::data::tokenization::TextTokenizer;
use crate::domain::{ModelSummary, Precision};
use crate::kernels::linear::{Arithmetic, PackedLinear};
use crate::kernels::team::with_team;
use crate::kernels::{on_pool, room};

use super::bert::{Bert, BertWorkspace};
use super::blocks::{Weights, normalize, normalize_backward, pool, pool_backward};
use super::folder::ModelFolder;
use super::precision::arithmetic;
use super::{DropoutKey, EncoderConfig, ModelError, Parameters};

/// Tokens of a pack that is only embedded: enough rows to keep the products busy, few enough to stay in the caches.
const PACK_TOKENS: usize = 4096;

/// What forward saves for backward, and room to work in; grows to the largest batch seen and is then reused.
#[derive(Debug, Default)]
pub struct Workspace {
    bert: BertWorkspace,
    /// The dropout of the last forward, for backward to make the same masks.
    dropout: Option<DropoutKey>,
    pooled: Vec<f32>,
    norms: Vec<f32>,
    normalized: Vec<f32>,
    d_pooled: Vec<f32>,
    d_hidden: Vec<f32>,
}

/// What an encoder is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To embed.
    Inference,
    /// To embed and to be trained.
    Training,
    /// Not to compute here: to be copied to a device, and to be saved.
    Elsewhere,
}

/// A text encoder with its tokenizer.
#[derive(Debug)]
pub struct SentenceEncoder {
    folder: ModelFolder,
    parameters: Parameters,
    bert: Bert,
    arithmetic: Arithmetic,
    /// Always those of `parameters`.
    packed: Vec<PackedLinear>,
}

impl SentenceEncoder {
    /// Reads a model folder (sentence-transformers' layout or plain transformers').
    ///
    /// # Errors
    /// Where a file is missing, malformed, or asks for something that is not supported.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::load_in(path, Precision::Float32, Purpose::Training)
    }

    /// As [`SentenceEncoder::load`], to compute in a precision. In bfloat16, an encoder for inference alone holds less.
    ///
    /// # Errors
    /// As [`SentenceEncoder::load`].
    pub fn load_in(path: &Path, precision: Precision, purpose: Purpose) -> Result<Self, ModelError> {
        let folder = ModelFolder::read(path)?;
        let parameters = folder.read_weights(path)?;
        let bert = Bert::find(&parameters, &folder.config)?;
        let arithmetic = arithmetic(precision);
        let packed = match purpose {
            Purpose::Elsewhere => Vec::new(),
            Purpose::Inference | Purpose::Training => {
                bert.pack(&parameters.flat, arithmetic, purpose == Purpose::Training)
            }
        };
        Ok(Self { folder, parameters, bert, arithmetic, packed })
    }

    /// Reads only what tells whether a folder could be loaded: configuration, tokenizer, tensor names and shapes.
    ///
    /// # Errors
    /// As [`SentenceEncoder::load`].
    pub fn inspect(path: &Path) -> Result<ModelSummary, ModelError> {
        Ok(ModelFolder::read(path)?.summary)
    }

    /// Writes a sentence-transformers folder: config.json (with `matryoshka_dimensions`), model.safetensors,
    /// tokenizer files, modules.json, 1_Pooling, 2_Normalize where the model has it. The folder must exist, empty.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn save(&self, path: &Path, matryoshka_dims: &[usize]) -> Result<(), ModelError> {
        self.folder.write(path, &self.parameters, matryoshka_dims)
    }

    /// What the model is.
    #[must_use]
    pub fn summary(&self) -> &ModelSummary {
        &self.folder.summary
    }

    /// The tokenizer, with the model's own length limit.
    #[must_use]
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.folder.tokenizer
    }

    /// Cuts texts to fewer tokens from now on; [`SentenceEncoder::save`] writes the limit with the model.
    pub fn set_max_seq_length(&mut self, max_seq_length: usize) {
        self.folder.set_max_seq_length(max_seq_length);
    }

    /// The weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Makes an encoder that was loaded for elsewhere one to be trained here, in a precision.
    pub fn compute_here(&mut self, precision: Precision) {
        self.arithmetic = arithmetic(precision);
        self.packed = self.bert.pack(&self.parameters.flat, self.arithmetic, true);
    }

    /// Changes the weights.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut Parameters) -> R) -> R {
        let result = change(&mut self.parameters);
        if !self.packed.is_empty() {
            self.bert.repack(&self.parameters.flat, &mut self.packed);
        }
        result
    }

    /// Bytes of the weights, in all the forms in which they are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.parameters.flat) + self.packed.iter().map(PackedLinear::bytes).sum::<usize>()
    }

    fn weights(&self) -> Weights<'_> {
        Weights { flat: &self.parameters.flat, packed: &self.packed, arithmetic: self.arithmetic }
    }

    /// The sizes and rates of its layers.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.folder.config
    }

    /// Prompts of config_sentence_transformers.json by name, such as `query`.
    #[must_use]
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        &self.folder.prompts
    }

    /// The bytes that forward keeps for backward, and backward works in, for each token of a batch.
    #[must_use]
    pub fn kept_bytes_per_token(&self) -> usize {
        self.folder.config.kept_bytes_per_token()
    }

    /// The floating-point operations of the matrix products of a forward over `batch`.
    #[must_use]
    pub fn forward_operations(&self, batch: &PackedBatch) -> u64 {
        self.folder.config.forward_operations(batch.cu_seqlens.windows(2).map(|ends| ends[1] - ends[0]))
    }

    /// The lengths at which its folder says that it was trained to be cut; none where it says nothing.
    #[must_use]
    pub fn matryoshka_dims(&self) -> Option<&[usize]> {
        self.folder.matryoshka_dims.as_deref()
    }

    fn dimension(&self) -> usize {
        self.folder.summary.dimension
    }

    /// Pools token embeddings of a batch, to `pooled`, `[sequences, dimension]`.
    fn pool(&self, hidden: &[f32], batch: &PackedBatch, pooled: &mut Vec<f32>) {
        let pooled = room(pooled, batch.sequences() * self.dimension());
        pool(self.folder.summary.pooling, hidden, &batch.cu_seqlens, self.dimension(), pooled);
    }

    /// Pooled embeddings, `[sequences, dimension]`, in `workspace.pooled`; keeps nothing for backward.
    fn pool_unkept(&self, batch: &PackedBatch, dropout: Option<&DropoutKey>, workspace: &mut Workspace) {
        let weights = self.weights();
        let hidden = with_team(|team| self.bert.forward_unkept(team, weights, batch, dropout, &mut workspace.bert));
        self.pool(hidden, batch, &mut workspace.pooled);
    }

    /// Embeds a packed batch and saves in `workspace` what [`SentenceEncoder::backward`] needs. Without a key there is
    /// no dropout. Returns `[sequences, dimension]`, pooled, and normalised where the model does so.
    pub fn forward<'w>(
        &self,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        workspace.dropout = dropout.cloned();
        let hidden = on_pool(|| self.bert.forward(self.weights(), batch, dropout, &mut workspace.bert));
        self.pool(hidden, batch, &mut workspace.pooled);
        self.normalized(batch, workspace)
    }

    /// As [`SentenceEncoder::forward`], the same numbers bit for bit, but saves nothing.
    pub fn forward_unkept<'w>(
        &self,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        self.pool_unkept(batch, dropout, workspace);
        self.normalized(batch, workspace)
    }

    /// What was pooled, normalised where the model does so.
    fn normalized<'w>(&self, batch: &PackedBatch, workspace: &'w mut Workspace) -> &'w [f32] {
        let length = batch.sequences() * self.dimension();
        let pooled = &workspace.pooled[..length];
        if !self.folder.summary.normalize {
            return pooled;
        }
        let normalized = room(&mut workspace.normalized, length);
        normalize(pooled, self.dimension(), room(&mut workspace.norms, batch.sequences()), normalized);
        normalized
    }

    /// Adds to `gradients` (`[parameters]`, as [`Parameters::flat`]) the gradient of the loss whose derivative by the
    /// embeddings of the last [`SentenceEncoder::forward`] is `d_embeddings` (`[sequences, dimension]`).
    pub fn backward(
        &self,
        batch: &PackedBatch,
        d_embeddings: &[f32],
        workspace: &mut Workspace,
        gradients: &mut [f32],
    ) {
        let (dimension, sequences) = (self.dimension(), batch.sequences());
        let d_pooled = if self.folder.summary.normalize {
            let d_pooled = room(&mut workspace.d_pooled, sequences * dimension);
            let normalized = &workspace.normalized[..sequences * dimension];
            normalize_backward(normalized, &workspace.norms[..sequences], dimension, d_embeddings, d_pooled);
            &*d_pooled
        } else {
            d_embeddings
        };
        let d_hidden = room(&mut workspace.d_hidden, batch.tokens() * dimension);
        let hidden = self.bert.kept_output(batch, &workspace.bert);
        pool_backward(self.folder.summary.pooling, hidden, &batch.cu_seqlens, dimension, d_pooled, d_hidden);
        let (dropout, saved) = (workspace.dropout.as_ref(), &mut workspace.bert);
        on_pool(|| self.bert.backward(self.weights(), batch, dropout, saved, d_hidden, gradients));
    }

    /// Embeds any number of sequences, sorted by length and packed by a token budget; `[sequences, dimension]` in
    /// the order given, normalised where the model does so. `on_progress` is told how many are done after each pack,
    /// and returns false to stop.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where `on_progress` says so.
    pub fn encode<S: AsRef<[u32]>>(
        &self,
        sequences: &[S],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        let pooled = self.encode_pooled(sequences, workspace, on_progress)?;
        if !self.folder.summary.normalize {
            return Ok(pooled);
        }
        let mut normalized = vec![0.0; pooled.len()];
        normalize(&pooled, self.dimension(), &mut vec![0.0; sequences.len()], &mut normalized);
        Ok(normalized)
    }

    /// As [`SentenceEncoder::encode`], but always as pooled, before any normalising.
    ///
    /// # Errors
    /// As [`SentenceEncoder::encode`].
    pub fn encode_pooled<S: AsRef<[u32]>>(
        &self,
        sequences: &[S],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        let dimension = self.dimension();
        let mut embeddings = vec![0.0; sequences.len() * dimension];
        let mut done = 0;
        for pack in longest_first(sequences, PACK_TOKENS) {
            let batch = PackedBatch::from_sequences(pack.iter().map(|place| sequences[*place].as_ref()));
            self.pool_unkept(&batch, None, workspace);
            for (place, embedding) in pack.iter().zip(workspace.pooled.chunks_exact(dimension)) {
                embeddings[place * dimension..(place + 1) * dimension].copy_from_slice(embedding);
            }
            done += pack.len();
            if !on_progress(done) {
                return Err(ModelError::Cancelled);
            }
        }
        Ok(embeddings)
    }

    /// The embedding of each token of any number of sequences, in the order given, `[tokens of all, dimension]`.
    ///
    /// # Errors
    /// As [`SentenceEncoder::encode`].
    pub fn encode_tokens<S: AsRef<[u32]>>(
        &self,
        sequences: &[S],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        let sequences = || sequences.iter().map(AsRef::as_ref);
        let mut embeddings = Vec::with_capacity(sequences().map(<[u32]>::len).sum::<usize>() * self.dimension());
        let mut done = 0;
        for batch in PackedBatch::within(sequences(), PACK_TOKENS) {
            let bert = &mut workspace.bert;
            let hidden = with_team(|team| self.bert.forward_unkept(team, self.weights(), &batch, None, bert));
            embeddings.extend_from_slice(hidden);
            done += batch.sequences();
            if !on_progress(done) {
                return Err(ModelError::Cancelled);
            }
        }
        Ok(embeddings)
    }
}
