//! The training loop, an epoch at a time: micro-batches, optimizer steps, evaluation, checkpoint.

use std::fs;
use std::time::Instant;

use crate::data::packing::PackedBatch;
use crate::data::sampler::PairSampler;
use crate::domain::{EvaluationMetrics, TrainEvent, TrainPhase};
use crate::evaluation::RetrievalEvaluator;
use crate::model::{DropoutKey, SentenceEncoder, Workspace};

use super::checkpointer::Checkpointer;
use super::losses::matryoshka::MatryoshkaLoss;
use super::model_card::{ModelCard, inherited_front_matter};
use super::optimizer::AdamW;
use super::run::StepLog;
use super::setup::Setup;
use super::sink::stop_if_asked;
use super::step_meter::StepMeter;
use super::texts::TokenizedTexts;
use super::trainer_state::{Best, TrainerState, save_optimizer};
use super::{LrSchedule, TrainError, TrainReport, TrainRequest, TrainSink, gradients, retention};

/// A run under way.
pub(super) struct Trainer<'a> {
    request: &'a TrainRequest,
    sink: &'a mut dyn TrainSink,
    checkpointer: Checkpointer,
    resumed_from_epoch: Option<u32>,
    state: TrainerState,
    encoder: SentenceEncoder,
    optimizer: AdamW,
    loss: MatryoshkaLoss,
    sampler: PairSampler,
    schedule: LrSchedule,
    evaluator: RetrievalEvaluator,
    texts: TokenizedTexts,
    /// The gradient of the step under way, `[parameters]`.
    gradients: Vec<f32>,
    /// The loss's gradient by the embeddings of the micro-batch under way, `[2 × pairs, dimension]`.
    d_embeddings: Vec<f32>,
    workspace: Workspace,
    meter: StepMeter,
    /// True once a step showed that every tensor is trained.
    gradients_checked: bool,
}

impl<'a> Trainer<'a> {
    /// Tokenises, plans the steps, and warns of what the data makes of the arguments.
    pub(super) fn new(
        request: &'a TrainRequest,
        sink: &'a mut dyn TrainSink,
        setup: Setup,
    ) -> Result<Self, TrainError> {
        let Setup { checkpointer, encoder, optimizer, mut state, resumed_from_epoch } = setup;
        let started = Instant::now();
        sink.on_event(TrainEvent::Phase { phase: TrainPhase::Tokenize, epoch: f64::from(state.epoch) });
        let (evaluator, texts) = TokenizedTexts::prepare(request, &state.arguments, &encoder, &*sink)?;
        let arguments = &state.arguments;
        let sampler = PairSampler::new(
            &request.train,
            arguments.batch_sampler,
            arguments.per_device_train_batch_size,
            arguments.seed,
        );
        let mut warnings = Vec::new();
        if resumed_from_epoch.is_none() {
            for epoch in 1..=arguments.epochs {
                stop_if_asked(&*sink)?;
                let batches = sampler.batches_in_epoch(epoch);
                state.total_steps += batches.div_ceil(arguments.gradient_accumulation_steps) as u64;
            }
            warnings.extend(texts.warnings.iter().cloned());
            warnings.extend(single_pairs_warning(&sampler));
        }
        let schedule = LrSchedule::new(
            arguments.lr_scheduler_type,
            arguments.learning_rate,
            arguments.warmup_ratio,
            state.total_steps,
        );
        if resumed_from_epoch.is_none() {
            warnings.extend(no_rate_warning(&schedule));
        }
        let loss = MatryoshkaLoss {
            dims: arguments.dims().to_vec(),
            weights: arguments.matryoshka_weights.clone().unwrap_or_default(),
            scale: arguments.scale,
        };
        let gradients = vec![0.0; encoder.parameters().flat.len()];
        let mut trainer = Self {
            request,
            sink,
            checkpointer,
            resumed_from_epoch,
            state,
            encoder,
            optimizer,
            loss,
            sampler,
            schedule,
            evaluator,
            texts,
            gradients,
            d_embeddings: Vec::new(),
            workspace: Workspace::default(),
            meter: StepMeter::new(),
            gradients_checked: resumed_from_epoch.is_some(),
        };
        warnings.into_iter().for_each(|message| trainer.warn(message));
        trainer.add_time(TrainPhase::Tokenize, started);
        Ok(trainer)
    }

    /// True once all epochs are done.
    pub(super) fn is_finished(&self) -> bool {
        self.state.is_finished()
    }

    /// Evaluates the untrained model, unless an earlier part of the run did.
    pub(super) fn baseline(&mut self) -> Result<(), TrainError> {
        if self.state.evaluations.is_empty() {
            self.evaluate(TrainPhase::Baseline, 0)?;
        }
        Ok(())
    }

    /// One pass over the training rows.
    pub(super) fn train_epoch(&mut self) -> Result<(), TrainError> {
        let started = Instant::now();
        self.phase(TrainPhase::Train);
        self.meter.resume();
        let epoch = self.state.epoch + 1;
        let batches = self.sampler.epoch(epoch);
        let mut done = 0;
        for window in batches.chunks(self.state.arguments.gradient_accumulation_steps) {
            // The last window may be shorter; its mean is over what it has, as the Hugging Face trainer does it.
            let share = 1.0 / window.len() as f64;
            let mut loss = 0.0;
            for batch in window {
                stop_if_asked(&*self.sink)?;
                loss += share * self.micro_batch(batch, share as f32)?;
            }
            done += window.len();
            let epochs_done = f64::from(epoch - 1) + done as f64 / batches.len() as f64;
            self.optimizer_step(loss, window.iter().map(Vec::len).sum(), epochs_done)?;
        }
        self.state.epoch = epoch;
        self.meter.pause();
        self.add_time(TrainPhase::Train, started);
        Ok(())
    }

    /// Forward, loss, backward; adds `share` of the gradient to the step's and returns the loss.
    fn micro_batch(&mut self, rows: &[u32], share: f32) -> Result<f64, TrainError> {
        let dropout = DropoutKey { seed: self.state.arguments.seed, micro_batch: self.state.micro_batches };
        self.state.micro_batches += 1;
        if rows.len() < 2 {
            // A pair alone has no negatives: its loss and gradient are exactly 0, which needs no computing.
            return Ok(0.0);
        }
        let batch = PackedBatch::from_sequences(self.texts.sequences_of(rows));
        let embeddings = self.encoder.forward(&batch, Some(dropout), &mut self.workspace);
        let dimension = embeddings.len() / batch.sequences();
        let half = rows.len() * dimension;
        self.d_embeddings.clear();
        self.d_embeddings.resize(embeddings.len(), 0.0);
        let (anchors, positives) = embeddings.split_at(half);
        let (d_anchors, d_positives) = self.d_embeddings.split_at_mut(half);
        let output = self.loss.forward_backward(anchors, positives, dimension, share, d_anchors, d_positives);
        if !output.total.is_finite() {
            return Err(TrainError::NonFiniteLoss { step: self.state.step + 1 });
        }
        self.encoder.backward(&batch, &self.d_embeddings, &mut self.workspace, &mut self.gradients);
        Ok(output.total)
    }

    fn optimizer_step(&mut self, loss: f64, pairs: usize, epochs_done: f64) -> Result<(), TrainError> {
        // A loss of zero has no gradient to look at: no pair had negatives, or all are told apart already.
        if !self.gradients_checked && loss > 1e-6 {
            gradients::check(&self.encoder.parameters().specs, &self.gradients)?;
            self.gradients_checked = true;
        }
        let learning_rate = self.schedule.at(self.state.step);
        let grad_norm =
            self.encoder.update(|parameters| self.optimizer.step(parameters, &self.gradients, learning_rate));
        if !grad_norm.is_finite() {
            return Err(TrainError::NonFiniteGradient { step: self.state.step + 1 });
        }
        self.gradients.fill(0.0);
        self.state.step += 1;
        self.state.unlogged_loss += loss;
        self.state.unlogged_steps += 1;
        self.meter.step(pairs);
        let (step, total_steps) = (self.state.step, self.state.total_steps);
        self.sink.on_event(TrainEvent::Progress { step, total_steps });
        if step % self.state.arguments.logging_steps == 0 || step == total_steps {
            let loss = self.state.unlogged_loss / self.state.unlogged_steps as f64;
            self.state.unlogged_loss = 0.0;
            self.state.unlogged_steps = 0;
            let entry = StepLog { step, epoch: epochs_done, loss, grad_norm, learning_rate };
            let (pairs_per_second, eta_seconds) = self.meter.read(total_steps - step);
            self.sink.on_event(TrainEvent::Step {
                step,
                total_steps,
                epoch: entry.epoch,
                loss,
                grad_norm,
                learning_rate,
                pairs_per_second,
                eta_seconds,
            });
            self.state.log.push(entry);
        }
        Ok(())
    }

    /// Evaluates the epoch just trained.
    pub(super) fn evaluate_epoch(&mut self) -> Result<(), TrainError> {
        self.evaluate(TrainPhase::Evaluate, self.state.epoch)
    }

    fn evaluate(&mut self, phase: TrainPhase, epoch: u32) -> Result<(), TrainError> {
        let started = Instant::now();
        self.phase(phase);
        let sink = &*self.sink;
        let values = self.evaluator.evaluate(
            &self.encoder,
            &self.texts.sequences,
            self.state.arguments.dims(),
            &mut self.workspace,
            &mut |_| !sink.should_stop(),
        )?;
        let metrics = EvaluationMetrics { epoch, step: self.state.step, values };
        self.add_time(phase, started);
        self.state.evaluations.push(metrics.clone());
        self.sink.on_event(TrainEvent::Evaluation { metrics });
        Ok(())
    }

    /// Writes the checkpoint of the epoch just evaluated, and deletes those beyond `save_total_limit`.
    pub(super) fn save_epoch(&mut self) -> Result<(), TrainError> {
        let started = Instant::now();
        self.phase(TrainPhase::Save);
        let epoch = self.state.epoch;
        let metric = self.metric_of_best(self.last_evaluation());
        let is_best = self.state.best.is_none_or(|best| metric > best.metric);
        let best = self.state.best.filter(|_| !is_best).unwrap_or(Best { epoch, metric });
        self.state.best = Some(best);
        if self.is_finished() {
            self.warn_if_worse_than_before(best);
        }
        let card = self.model_card();
        let written = self.checkpointer.write(epoch, |folder| {
            self.encoder.save(folder, self.state.arguments.dims()).map_err(|error| error.to_string())?;
            fs::write(folder.join("README.md"), card).map_err(|error| format!("README.md: {error}"))?;
            self.state.save(folder)?;
            save_optimizer(&self.optimizer, folder)
        })?;
        self.sink.on_event(TrainEvent::Checkpoint {
            epoch,
            step: self.state.step,
            size_bytes: written.size_bytes,
            sha256: written.sha256,
            metric,
            is_best,
        });
        self.remove_old_checkpoints()?;
        self.add_time(TrainPhase::Save, started);
        Ok(())
    }

    fn model_card(&self) -> String {
        ModelCard {
            base_model: &self.request.base_model,
            inherited: &inherited_front_matter(&self.request.base_model_folder),
            summary: self.encoder.summary(),
            arguments: &self.state.arguments,
            train_rows: self.request.train.len(),
            eval_rows: self.request.eval.len(),
            baseline: &self.state.evaluations[0],
            metrics: self.last_evaluation(),
        }
        .render()
    }

    /// Deletes checkpoints beyond the limit.
    fn remove_old_checkpoints(&mut self) -> Result<(), TrainError> {
        let Some(best) = self.state.best else { return Ok(()) };
        let limit = self.state.arguments.save_total_limit;
        for epoch in retention::to_remove(&self.checkpointer.epochs()?, best.epoch, limit, self.is_finished()) {
            self.checkpointer.remove(epoch)?;
            self.sink.on_event(TrainEvent::CheckpointRemoved { epoch });
        }
        Ok(())
    }

    /// What the run came to.
    pub(super) fn into_report(self) -> TrainReport {
        self.state.into_report(self.resumed_from_epoch)
    }

    fn warn_if_worse_than_before(&mut self, best: Best) {
        let baseline = self.metric_of_best(&self.state.evaluations[0]);
        if best.metric <= baseline {
            self.warn(format!(
                "fine-tuning did not help: {} is {:.4} at best (epoch {}) and was {baseline:.4} before",
                self.state.arguments.metric_for_best_model.as_deref().unwrap_or_default(),
                best.metric,
                best.epoch,
            ));
        }
    }

    fn last_evaluation(&self) -> &EvaluationMetrics {
        self.state.evaluations.last().expect("the baseline is evaluated first")
    }

    fn metric_of_best(&self, metrics: &EvaluationMetrics) -> f64 {
        let name = self.state.arguments.metric_for_best_model.as_deref().unwrap_or_default();
        *metrics.values.get(name).expect("the metric was checked against the dimensions")
    }

    fn phase(&mut self, phase: TrainPhase) {
        self.sink.on_event(TrainEvent::Phase { phase, epoch: f64::from(self.state.epoch) });
    }

    fn warn(&mut self, message: String) {
        self.state.warnings.push(message.clone());
        self.sink.on_event(TrainEvent::Warning { message });
    }

    fn add_time(&mut self, phase: TrainPhase, started: Instant) {
        let key = match phase {
            TrainPhase::Tokenize => "tokenize",
            TrainPhase::Baseline => "baseline",
            TrainPhase::Train => "train",
            TrainPhase::Evaluate => "evaluate",
            TrainPhase::Save => "save",
        };
        *self.state.timings.entry(key.to_owned()).or_default() += started.elapsed().as_secs_f64();
    }
}

fn single_pairs_warning(sampler: &PairSampler) -> Option<String> {
    let batches = sampler.epoch(1);
    let single = batches.iter().filter(|batch| batch.len() == 1).count();
    (single > 1).then(|| {
        format!(
            "{single} of {} micro-batches hold a single pair, because the same texts stand in many rows; such a pair has no \
             negatives and teaches nothing",
            batches.len()
        )
    })
}

fn no_rate_warning(schedule: &LrSchedule) -> Option<String> {
    (0..schedule.total_steps).all(|step| schedule.at(step) <= 0.0).then(|| {
        format!(
            "the learning rate is 0 in all of the {} optimizer steps, since the warm-up takes them all; fewer \
             gradient_accumulation_steps or more epochs make more steps",
            schedule.total_steps
        )
    })
}
