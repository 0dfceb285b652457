//! BERT on a device: the same blocks as the CPU's (`model/blocks`), each a few kernels over all tokens of a pack.
//!
//! Activations are of the precision's numbers; norms, softmax, GELU and sums are float32 within the kernels. cuBLASLt adds
//! the biases that stand alone before attention and GELU; those before a residual sum are added there.

use crate::data::packing::PackedBatch;
use crate::kernels::cuda::attention::DroppedProbabilities;
use crate::kernels::cuda::dropout::{Site, draw_probabilities, draw_rows, row_words};
use crate::kernels::cuda::embedding::{Embedding, add_gathered, embed};
use crate::kernels::cuda::norm::{Kept, NormBackward, NormPlaces, RowMask, Shape, norm_dropout_backward};
use crate::kernels::cuda::{Address, Buffer, CudaError, Device, Matrix, Numbers, Product, Tensor, View};
use crate::model::blocks::DropoutSite;
use crate::model::{DropoutKey, EncoderConfig, ModelError};

use super::layout::Layout;
use super::workspace::Workspace;

/// Where a linear layer's tensors begin among the flat parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub(super) weight: usize,
    pub(super) bias: usize,
    inputs: usize,
    pub(super) outputs: usize,
}

/// Where a norm's do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) weight: usize,
    pub(super) shift: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    /// Query, key and value.
    pub(super) projections: Linear,
    pub(super) output: Linear,
    pub(super) attention_norm: Norm,
    pub(super) inner: Linear,
    pub(super) outer: Linear,
    pub(super) norm: Norm,
}

/// Where BERT's tensors lie, and its sizes.
#[derive(Debug, Clone)]
pub(super) struct Bert {
    words: usize,
    positions: usize,
    token_type: usize,
    norm: Norm,
    pub(super) layers: Vec<Layer>,
    pub(super) config: EncoderConfig,
}

/// The parameters on the device, or their gradient, and the form in which products take them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    /// `[parameters]`.
    pub(super) flat: View<f32>,
    /// The same of the activations' numbers.
    pub(super) factors: Address,
}

impl Bert {
    pub(super) fn find(layout: &Layout, config: &EncoderConfig) -> Result<Self, ModelError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |name: String, inputs: usize, outputs: usize| -> Result<Linear, ModelError> {
            let weight = layout.find(&format!("{name}.weight"))?;
            Ok(Linear { weight, bias: layout.find(&format!("{name}.bias"))?, inputs, outputs })
        };
        let norm = |name: String| -> Result<Norm, ModelError> {
            Ok(Norm { weight: layout.find(&format!("{name}.weight"))?, shift: layout.find(&format!("{name}.bias"))? })
        };
        let layers = (0..config.num_hidden_layers).map(|number| {
            let name = |part: &str| format!("encoder.layer.{number}.{part}");
            Ok(Layer {
                // The layout puts key and value after it.
                projections: linear(name("attention.self.query"), hidden, 3 * hidden)?,
                output: linear(name("attention.output.dense"), hidden, hidden)?,
                attention_norm: norm(name("attention.output.LayerNorm"))?,
                inner: linear(name("intermediate.dense"), hidden, inner)?,
                outer: linear(name("output.dense"), inner, hidden)?,
                norm: norm(name("output.LayerNorm"))?,
            })
        });
        Ok(Self {
            words: layout.find("embeddings.word_embeddings.weight")?,
            positions: layout.find("embeddings.position_embeddings.weight")?,
            token_type: layout.find("embeddings.token_type_embeddings.weight")?,
            norm: norm("embeddings.LayerNorm".into())?,
            layers: layers.collect::<Result<_, ModelError>>()?,
            config: config.clone(),
        })
    }

    /// Token embeddings, `[tokens, hidden]`, of the batch in `workspace.pack`; where `keep` is set, what backward needs is
    /// kept.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn forward(
        &self,
        device: &Device,
        weights: Weights,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        keep: bool,
        workspace: &mut Workspace,
    ) -> Result<(), CudaError> {
        workspace.pack.upload(batch, dropout, keep)?;
        workspace.reserve(&self.config, keep, batch.tokens())?;
        if dropout.is_some() {
            workspace.reserve_masks(&self.config, batch.tokens(), workspace.pack.mask_groups)?;
        }
        let pass = Pass { bert: self, device, weights, dropout, workspace };
        let hidden = pass.hidden(0, keep);
        let shape = pass.shape();
        let mask = pass.row_mask(DropoutSite::Embedding)?;
        let from = Embedding {
            ids: pass.workspace.pack.ids().address(),
            positions: pass.workspace.pack.positions().address(),
            words: pass.weight(self.words),
            position_table: pass.weight(self.positions),
            token_type: pass.weight(self.token_type),
            norm: pass.norm(self.norm),
            epsilon: self.config.layer_norm_eps,
            mask,
        };
        let room = &pass.workspace.embedding;
        embed(device, shape, &from, kept(keep, &room.normalized, &room.inverse), hidden)?;
        for number in 0..self.layers.len() {
            pass.layer_forward(number, keep)?;
        }
        pass.workspace.output = pass.hidden(self.layers.len(), keep);
        Ok(())
    }

    /// Adds to `gradients` (`[parameters]`) what the gradient by the last kept forward's token embeddings comes to, which
    /// stands in `workspace.d_hidden` and is overwritten.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn backward(
        &self,
        device: &Device,
        weights: Weights,
        dropout: Option<&DropoutKey>,
        workspace: &mut Workspace,
        gradients: View<f32>,
    ) -> Result<(), CudaError> {
        let mut pass = Pass { bert: self, device, weights, dropout, workspace };
        for number in (0..self.layers.len()).rev() {
            pass.layer_backward(number, gradients)?;
        }
        let mask = pass.row_mask(DropoutSite::Embedding)?;
        let (d, shape) = (pass.workspace.d_hidden.address(), pass.shape());
        let gradient = |place: usize| gradients.part(place, 0).address();
        let room = &pass.workspace.embedding;
        let backward = NormBackward {
            d_output: d,
            d_sum: d,
            kept: kept(true, &room.normalized, &room.inverse),
            weight: pass.weight(self.norm.weight),
            gradients: NormPlaces { weight: gradient(self.norm.weight), shift: gradient(self.norm.shift) },
        };
        let Workspace { pack, scratch, .. } = pass.workspace;
        norm_dropout_backward(device, shape, &backward, mask, gradient(self.token_type), scratch)?;
        add_gathered(device, shape, &pack.by_id, pack.id_words(), d, gradient(self.words), scratch)?;
        add_gathered(device, shape, &pack.by_position, pack.position_words(), d, gradient(self.positions), scratch)
    }
}

/// Where a norm's forward keeps what its backward needs.
pub(super) fn kept(keep: bool, normalized: &Tensor, inverse: &Buffer<f32>) -> Kept {
    if keep { Kept { normalized: normalized.address(), inverse: inverse.view().address() } } else { Kept::NOTHING }
}

/// A forward or backward under way.
pub(super) struct Pass<'a> {
    pub(super) bert: &'a Bert,
    pub(super) device: &'a Device,
    weights: Weights,
    dropout: Option<&'a DropoutKey>,
    pub(super) workspace: &'a mut Workspace,
}

impl Pass<'_> {
    pub(super) fn numbers(&self) -> Numbers {
        self.workspace.numbers
    }

    pub(super) fn tokens(&self) -> usize {
        self.workspace.pack.tokens
    }

    pub(super) fn hidden_size(&self) -> usize {
        self.bert.config.hidden_size
    }

    /// Tokens by hidden numbers.
    pub(super) fn shape(&self) -> Shape {
        Shape { numbers: self.numbers(), rows: self.tokens(), columns: self.hidden_size() }
    }

    /// The input of layer `number`, or the last one's output. Where nothing is kept, two rooms take turns.
    pub(super) fn hidden(&self, number: usize, keep: bool) -> Address {
        let place = if keep { number } else { number % 2 };
        self.workspace.hidden[place].address()
    }

    pub(super) fn weight(&self, place: usize) -> Address {
        self.weights.flat.part(place, 0).address()
    }

    pub(super) fn norm(&self, norm: Norm) -> NormPlaces {
        NormPlaces { weight: self.weight(norm.weight), shift: self.weight(norm.shift) }
    }

    /// A linear layer's weight, `[outputs, inputs]`, or its bias, in the numbers of products.
    pub(super) fn factor(&self, place: usize) -> Address {
        self.weights.factors.plus(place * self.numbers().bytes())
    }

    pub(super) fn weight_matrix(&self, linear: Linear) -> Matrix {
        Matrix::dense(self.factor(linear.weight), self.numbers(), linear.outputs, linear.inputs)
    }

    /// `[tokens, columns]` of activations.
    pub(super) fn rows(&self, address: Address, columns: usize) -> Matrix {
        Matrix::dense(address, self.numbers(), self.tokens(), columns)
    }

    pub(super) fn multiply(
        &self,
        left: Matrix,
        right: Matrix,
        result: Matrix,
        bias: Option<Address>,
        add: bool,
    ) -> Result<(), CudaError> {
        self.device.multiply(&Product { left, right, result, bias, add, batches: 1, tf32: true })
    }

    /// `output = input weightᵀ`, with the bias where it is wanted.
    pub(super) fn linear(
        &self,
        linear: Linear,
        input: Address,
        output: Address,
        with_bias: bool,
    ) -> Result<(), CudaError> {
        let (input, output) = (self.rows(input, linear.inputs), self.rows(output, linear.outputs));
        let bias = with_bias.then(|| self.factor(linear.bias));
        self.multiply(input, self.weight_matrix(linear).transposed(), output, bias, false)
    }

    /// The gradient by a linear layer's input, written or added.
    pub(super) fn linear_backward(
        &self,
        linear: Linear,
        d_output: Address,
        d_input: Address,
        add: bool,
    ) -> Result<(), CudaError> {
        let (d_output, d_input) = (self.rows(d_output, linear.outputs), self.rows(d_input, linear.inputs));
        self.multiply(d_output, self.weight_matrix(linear), d_input, None, add)
    }

    /// Adds to the gradient of a linear layer's weight.
    pub(super) fn weight_gradient(
        &self,
        linear: Linear,
        d_output: Address,
        input: Address,
        gradients: View<f32>,
    ) -> Result<(), CudaError> {
        let gradient = gradients.part(linear.weight, linear.outputs * linear.inputs).address();
        let result = Matrix::dense(gradient, Numbers::Float32, linear.outputs, linear.inputs);
        let d_output = self.rows(d_output, linear.outputs).transposed();
        self.multiply(d_output, self.rows(input, linear.inputs), result, None, true)
    }

    pub(super) fn site(&self, site: DropoutSite) -> Option<Site> {
        let rate = match site {
            DropoutSite::Probabilities(_) => self.bert.config.attention_probs_dropout_prob,
            _ => self.bert.config.hidden_dropout_prob,
        };
        let site = Site { seed: self.dropout?.seed, number: site.number(), rate };
        (!site.is_off()).then_some(site)
    }

    /// Draws the mask of a site where rows are dropped, in place of the last one's.
    pub(super) fn row_mask(&self, site: DropoutSite) -> Result<RowMask, CudaError> {
        let Some(site) = self.site(site) else { return Ok(RowMask::NONE) };
        let Workspace { pack, row_mask, .. } = &*self.workspace;
        draw_rows(self.device, site, self.hidden_size(), pack.token_places(), row_mask)?;
        let words = row_mask.view().part(0, self.tokens() * row_words(self.hidden_size()));
        Ok(RowMask::new(words, self.hidden_size(), site.scale()))
    }

    /// Draws the mask of attention's probabilities, in place of the last layer's; none where nothing is dropped.
    pub(super) fn probability_mask(&self, layer: usize) -> Result<Option<DroppedProbabilities>, CudaError> {
        let Some(site) = self.site(DropoutSite::Probabilities(layer)) else { return Ok(None) };
        let Workspace { pack, probability_mask, .. } = &*self.workspace;
        let (heads, starts) = (self.bert.config.num_attention_heads, pack.mask_starts());
        draw_probabilities(self.device, site, heads, starts, pack.sequence_places(), probability_mask)?;
        Ok(Some(DroppedProbabilities { mask: probability_mask.view(), starts, scale: site.scale() }))
    }
}
