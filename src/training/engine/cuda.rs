//! The engine on a CUDA device: weights, gradient and moments stay there. A step only asks; nothing waits for the device
//! until the losses are read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::data::packing::PackedBatch;
use crate::domain::Precision;
use crate::evaluation::device::DeviceRetriever;
use crate::evaluation::{Rankings, RetrievalEvaluator};
use crate::kernels::cuda::adamw::{self, Step, Stretches, euclidean_norm};
use crate::kernels::cuda::matryoshka::Matryoshka;
use crate::kernels::cuda::{Buffer, CudaError, Device};
use crate::model::cuda::{CudaEncoder, CudaModelError, rows_of};
use crate::model::{DropoutKey, SentenceEncoder};
use crate::training::losses::matryoshka::MatryoshkaLoss;
use crate::training::optimizer::AdamW;
use crate::training::{TrainError, gradients};

use super::{Engine, GroupSize, Limits, State, StepReading};

/// Steps whose losses and norms may wait on the device to be read.
const UNREAD: usize = 1024;
/// Tokens of a pack beyond which a device is no faster.
const MOST_TOKENS: usize = 1 << 17;
/// Tokens of a pack below which a smaller one would not help any more.
const LEAST_TOKENS: usize = 1024;
/// Tokens of a pack that is only embedded.
const EMBEDDED_TOKENS: usize = 1 << 15;

/// Weights, gradient and moments in a device's memory.
#[derive(Debug)]
pub(crate) struct CudaEngine {
    device: Device,
    /// Its weights are those of the last [`Engine::state`].
    encoder: Arc<SentenceEncoder>,
    /// Likewise.
    optimizer: Arc<AdamW>,
    /// Steps done.
    step: u64,
    model: CudaEncoder,
    loss: Matryoshka,
    limits: Limits,
    /// `[parameters]`, in the layout's order, as are the moments.
    gradients: Buffer<f32>,
    first_moments: Buffer<f32>,
    second_moments: Buffer<f32>,
    stretches: Stretches,
    /// The group's embeddings, `[sequences, dimension]`, and the loss's gradient by them.
    embeddings: Buffer<f32>,
    d_embeddings: Buffer<f32>,
    sequences: usize,
    /// Mean losses and gradient norms of steps not read yet, `[UNREAD]`.
    losses: Buffer<f64>,
    norms: Buffer<f32>,
    squares: Buffer<f64>,
    unread: usize,
    readings: Vec<StepReading>,
    /// True where the last [`Engine::begin`] lacked memory.
    lacks_memory: bool,
}

impl From<CudaError> for TrainError {
    fn from(error: CudaError) -> Self {
        match error {
            CudaError::OutOfMemory { asked } => Self::OutOfMemory { asked },
            error => Self::Device(error.to_string()),
        }
    }
}

impl From<CudaModelError> for TrainError {
    fn from(error: CudaModelError) -> Self {
        match error {
            CudaModelError::Model(error) => error.into(),
            CudaModelError::Cuda(error) => error.into(),
        }
    }
}

impl CudaEngine {
    /// Copies the model and the optimizer's state to the device, and estimates how much fits beside them.
    ///
    /// # Errors
    /// [`TrainError::OutOfMemory`] where not even the smallest packs fit, and as the device says.
    pub(crate) fn new(
        device: &Device,
        encoder: SentenceEncoder,
        optimizer: AdamW,
        loss: &MatryoshkaLoss,
        precision: Precision,
    ) -> Result<Self, TrainError> {
        device.forget_most_held();
        let model = CudaEncoder::new(device, &encoder, precision)?;
        let layout = model.layout();
        let moments = |host: &[f32]| Buffer::from_slice(device, &layout.to_device(host));
        let weights: Vec<f32> = loss.weights.iter().map(|weight| *weight as f32).collect();
        let groups = [(0..layout.decaying(), true), (layout.decaying()..layout.len(), false)];
        let mut made = Self {
            device: device.clone(),
            loss: Matryoshka::new(device, &loss.dims, &weights, loss.scale as f32)?,
            limits: Limits { pack: 0, group: 0 },
            gradients: Buffer::zeros(device, layout.len())?,
            first_moments: moments(&optimizer.first_moments)?,
            second_moments: moments(&optimizer.second_moments)?,
            stretches: Stretches::new(device, &groups)?,
            embeddings: Buffer::new(device, 0)?,
            d_embeddings: Buffer::new(device, 0)?,
            sequences: 0,
            losses: Buffer::zeros(device, UNREAD)?,
            norms: Buffer::zeros(device, UNREAD)?,
            squares: Buffer::new(device, 0)?,
            unread: 0,
            readings: Vec::new(),
            lacks_memory: false,
            model,
            step: optimizer.step,
            encoder: Arc::new(encoder),
            optimizer: Arc::new(optimizer),
        };
        made.limits = made.estimate(precision)?;
        Ok(made)
    }

    /// How many tokens fit the memory that is free, with a tenth of it to spare.
    fn estimate(&self, precision: Precision) -> Result<Limits, TrainError> {
        let per_token = CudaEncoder::bytes_per_token(self.encoder.config(), precision);
        let free = self.device.memory()?.free;
        let tokens = (free - free / 10) / per_token;
        if tokens < LEAST_TOKENS {
            return Err(TrainError::OutOfMemory { asked: LEAST_TOKENS * per_token });
        }
        let pack = tokens.min(MOST_TOKENS);
        let name = &self.device.description().name;
        tracing::info!(gpu = %name, free_bytes = free, bytes_per_token = per_token, pack_tokens = pack, "memory estimated");
        Ok(Limits { pack, group: pack })
    }

    fn take_readings(&mut self) -> Result<(), TrainError> {
        let (mut losses, mut norms) = (vec![0.0; self.unread], vec![0.0; self.unread]);
        self.losses.read(0, &mut losses)?;
        self.norms.read(0, &mut norms)?;
        self.losses.fill_with_zeros()?;
        let first = self.step + 1 - self.unread as u64;
        self.unread = 0;
        for (step, (loss, norm)) in (first..).zip(losses.into_iter().zip(norms)) {
            if !f64::is_finite(loss) {
                return Err(TrainError::NonFiniteLoss { step });
            }
            if !f32::is_finite(norm) {
                return Err(TrainError::NonFiniteGradient { step });
            }
            self.readings.push(StepReading { loss, grad_norm: norm.into() });
        }
        Ok(())
    }

    fn take_memory(&mut self, size: GroupSize) -> Result<(), CudaError> {
        let numbers = size.sequences * self.encoder.summary().dimension;
        self.embeddings.grow(numbers)?;
        self.d_embeddings.grow(numbers)?;
        self.loss.reserve(size.sequences)?;
        self.model.reserve(size.pack_tokens, size.pack_sequences, true)
    }
}

impl Engine for CudaEngine {
    fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn begin(&mut self, size: GroupSize) -> Result<(), TrainError> {
        self.sequences = size.sequences;
        let taken = self.take_memory(size);
        self.lacks_memory = matches!(taken, Err(CudaError::OutOfMemory { .. }));
        Ok(taken?)
    }

    fn forward(
        &mut self,
        pack: &PackedBatch,
        dropout: Option<&DropoutKey>,
        rows: Range<usize>,
        keep: bool,
    ) -> Result<(), TrainError> {
        let embeddings = rows_of(self.embeddings.view(), &rows, self.encoder.summary().dimension);
        Ok(self.model.forward(pack, dropout, keep, embeddings)?)
    }

    fn loss(&mut self, pairs: &[usize], share: f64) -> Result<(), TrainError> {
        let dimension = self.encoder.summary().dimension;
        let numbers = self.sequences * dimension;
        let (embeddings, d_embeddings) = (self.embeddings.view(), self.d_embeddings.view());
        let (embeddings, d_embeddings) = (embeddings.part(0, numbers), d_embeddings.part(0, numbers));
        let loss = self.losses.view().part(self.unread, 1);
        Ok(self.loss.forward_backward(embeddings, dimension, pairs, share as f32, d_embeddings, loss)?)
    }

    fn backward(&mut self, _pack: &PackedBatch, rows: Range<usize>) -> Result<(), TrainError> {
        let dimension = self.encoder.summary().dimension;
        let embeddings = rows_of(self.embeddings.view(), &rows, dimension);
        let d_embeddings = rows_of(self.d_embeddings.view(), &rows, dimension);
        Ok(self.model.backward(embeddings, d_embeddings, self.gradients.view())?)
    }

    fn check_gradients(&mut self) -> Result<bool, TrainError> {
        let mut loss = [0.0];
        self.losses.read(self.unread, &mut loss)?;
        let specs = &self.encoder.parameters().specs;
        let mut gradients = vec![0.0; self.encoder.parameters().flat.len()];
        self.model.layout().to_host(&self.gradients.to_vec()?, &mut gradients);
        gradients::check(specs, &gradients, loss[0])
    }

    fn step(&mut self, learning_rate: f64) -> Result<(), TrainError> {
        let norm = self.norms.view().part(self.unread, 1).address();
        euclidean_norm(&self.device, self.gradients.view(), norm, &mut self.squares)?;
        self.step += 1;
        let scalars = self.optimizer.scalars(self.step, learning_rate);
        let step = Step {
            max_grad_norm: self.optimizer.config.max_grad_norm as f32,
            first_share: scalars.first_share,
            beta2: scalars.beta2,
            second_share: scalars.second_share,
            epsilon: scalars.epsilon,
            step_size: scalars.step_size,
            second_correction_sqrt: scalars.second_correction_sqrt,
            decay_factor: scalars.weight_factor,
        };
        let (shadow, shadow_numbers) = self.model.shadow();
        let state = adamw::State {
            weights: self.model.weights().view(),
            gradient: self.gradients.view(),
            first: self.first_moments.view(),
            second: self.second_moments.view(),
            shadow,
            shadow_numbers,
        };
        adamw::step(&self.device, &step, &self.stretches, &state, norm)?;
        self.unread += 1;
        if self.unread == UNREAD {
            self.take_readings()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<StepReading>, TrainError> {
        self.take_readings()?;
        Ok(std::mem::take(&mut self.readings))
    }

    fn evaluate(
        &mut self,
        evaluator: &RetrievalEvaluator,
        sequences: &[Vec<u32>],
        dims: &[usize],
        rankings: Option<&mut Rankings>,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let tokens = self.limits.pack.min(EMBEDDED_TOKENS);
        let mut retriever = DeviceRetriever::new(&self.device, &mut self.model, sequences, dims, tokens, on_progress)?;
        Ok(evaluator.evaluate_with(&mut retriever, sequences, dims, rankings)?)
    }

    fn state(&mut self) -> Result<State<'_>, TrainError> {
        let layout = self.model.layout();
        let encoder = Arc::get_mut(&mut self.encoder).expect("the last copy was let go");
        let optimizer = Arc::get_mut(&mut self.optimizer).expect("the last copy was let go");
        let weights = self.model.weights().to_vec()?;
        encoder.update(|parameters| layout.to_host(&weights, &mut parameters.flat));
        layout.to_host(&self.first_moments.to_vec()?, &mut optimizer.first_moments);
        layout.to_host(&self.second_moments.to_vec()?, &mut optimizer.second_moments);
        optimizer.step = self.step;
        Ok(State::Copied(Arc::clone(&self.encoder), Arc::clone(&self.optimizer)))
    }

    fn step_down(&mut self, size: GroupSize) -> bool {
        let pack = size.pack_tokens.min(self.limits.pack) / 2;
        if !std::mem::take(&mut self.lacks_memory) || pack < LEAST_TOKENS {
            return false;
        }
        self.limits = Limits { pack, group: pack };
        // What was taken for larger packs goes, as far as there was room for it.
        self.model.release().is_ok()
    }

    fn peak_device_memory(&self) -> Option<u64> {
        Some(self.device.most_held() as u64)
    }
}
