//! The training loop, an epoch at a time: micro-batches, optimizer steps, evaluation, checkpoint.

mod save;
mod warnings;

use std::time::Instant;

use crate::data::sampler::PairSampler;
use crate::domain::{EvaluationMetrics, TrainEvent, TrainPhase};
use crate::evaluation::{Rankings, RetrievalEvaluator};
use crate::model::{DropoutKey, SentenceEncoder};

use super::checkpointer::Checkpointer;
use super::losses::matryoshka::MatryoshkaLoss;
use super::micro_batch::{GradientAccumulator, MicroBatch, token_budget};
use super::optimizer::AdamW;
use super::profile::Stopwatch;
use super::run::StepLog;
use super::setup::Setup;
use super::sink::stop_if_asked;
use super::step_meter::StepMeter;
use super::texts::TokenizedTexts;
use super::trainer_state::TrainerState;
use super::{LrSchedule, TrainError, TrainReport, TrainRequest, TrainSink, gradients};

/// A run under way.
pub(super) struct Trainer<'a> {
    request: &'a TrainRequest,
    sink: &'a mut dyn TrainSink,
    checkpointer: Checkpointer,
    resumed_from_epoch: Option<u32>,
    state: TrainerState,
    encoder: SentenceEncoder,
    optimizer: AdamW,
    accumulator: GradientAccumulator,
    /// The most tokens of a pack.
    token_budget: usize,
    sampler: PairSampler,
    schedule: LrSchedule,
    evaluator: RetrievalEvaluator,
    texts: TokenizedTexts,
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
        let (evaluator, texts) = TokenizedTexts::prepare(request, &state.arguments, &encoder, sink)?;
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
            warnings.extend(warnings::single_pairs(&sampler));
        }
        let schedule = LrSchedule::new(
            arguments.lr_scheduler_type,
            arguments.learning_rate,
            arguments.warmup_ratio,
            state.total_steps,
        );
        if resumed_from_epoch.is_none() {
            warnings.extend(warnings::no_rate(&schedule));
        }
        let loss = MatryoshkaLoss {
            dims: arguments.dims().to_vec(),
            weights: arguments.matryoshka_weights.clone().unwrap_or_default(),
            scale: arguments.scale,
        };
        let mut trainer = Self {
            request,
            sink,
            checkpointer,
            resumed_from_epoch,
            state,
            accumulator: GradientAccumulator::new(&encoder, loss),
            token_budget: token_budget(&encoder),
            encoder,
            optimizer,
            sampler,
            schedule,
            evaluator,
            texts,
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
        let mut watch = Stopwatch::start();
        let batches = self.sampler.epoch(epoch);
        watch.lap(&mut self.state.spent.seconds.pack);
        let mut done = 0;
        for window in batches.chunks(self.state.arguments.gradient_accumulation_steps) {
            // The last window may be shorter; its mean is over what it has, as the Hugging Face trainer does it.
            let share = 1.0 / window.len() as f64;
            let mut loss = 0.0;
            for micro_batch in &self.pack(window) {
                stop_if_asked(&*self.sink)?;
                loss += share * self.micro_batch(micro_batch.as_ref(), share as f32)?;
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

    /// The micro-batches of a window. A pair alone has no negatives: its loss and gradient are exactly 0, which needs no
    /// computing.
    fn pack(&mut self, window: &[Vec<u32>]) -> Vec<Option<MicroBatch>> {
        let mut watch = Stopwatch::start();
        let pack = |rows: &Vec<u32>| {
            (rows.len() > 1).then(|| MicroBatch::pack(self.texts.sequences_of(rows), self.token_budget))
        };
        let packed = window.iter().map(pack).collect();
        watch.lap(&mut self.state.spent.seconds.pack);
        packed
    }

    /// Adds `share` of a micro-batch's gradient to the step's and returns the loss.
    fn micro_batch(&mut self, micro_batch: Option<&MicroBatch>, share: f32) -> Result<f64, TrainError> {
        let dropout = DropoutKey::new(self.state.arguments.seed, self.state.micro_batches);
        self.state.micro_batches += 1;
        let Some(micro_batch) = micro_batch else { return Ok(0.0) };
        let sink = &*self.sink;
        let spent = &mut self.state.spent;
        let keep_going = || !sink.should_stop();
        let output = self.accumulator.add(&self.encoder, micro_batch, Some(dropout), share, spent, &keep_going)?;
        if !output.total.is_finite() {
            return Err(TrainError::NonFiniteLoss { step: self.state.step + 1 });
        }
        Ok(output.total)
    }

    fn optimizer_step(&mut self, loss: f64, pairs: usize, epochs_done: f64) -> Result<(), TrainError> {
        let mut watch = Stopwatch::start();
        // A loss of zero has no gradient to look at: no pair had negatives, or all are told apart already.
        if !self.gradients_checked && loss > 1e-6 {
            gradients::check(&self.encoder.parameters().specs, self.accumulator.gradients())?;
            self.gradients_checked = true;
        }
        let learning_rate = self.schedule.at(self.state.step);
        let gradients = self.accumulator.gradients();
        let grad_norm = self.encoder.update(|parameters| self.optimizer.step(parameters, gradients, learning_rate));
        if !grad_norm.is_finite() {
            return Err(TrainError::NonFiniteGradient { step: self.state.step + 1 });
        }
        self.accumulator.clear();
        watch.lap(&mut self.state.spent.seconds.optimizer);
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
        let mut rankings = self.texts.rankings_wanted.then(Rankings::default);
        let values = self.evaluator.evaluate(
            &self.encoder,
            &self.texts.sequences,
            self.state.arguments.dims(),
            self.accumulator.workspace(),
            rankings.as_mut(),
            &mut |_| !sink.should_stop(),
        )?;
        if let Some(rankings) = rankings {
            self.sink.on_rankings(epoch, &rankings);
        }
        let metrics = EvaluationMetrics { epoch, step: self.state.step, values };
        self.add_time(phase, started);
        self.state.evaluations.push(metrics.clone());
        self.sink.on_event(TrainEvent::Evaluation { metrics });
        Ok(())
    }

    /// What the run came to.
    pub(super) fn into_report(self) -> TrainReport {
        self.state.into_report(self.resumed_from_epoch)
    }

    fn last_evaluation(&self) -> &EvaluationMetrics {
        self.state.evaluations.last().expect("the baseline is evaluated first")
    }

    fn phase(&mut self, phase: TrainPhase) {
        self.sink.on_event(TrainEvent::Phase { phase, epoch: f64::from(self.state.epoch) });
    }

    fn warn(&mut self, message: String) {
        self.state.warnings.push(message.clone());
        self.sink.on_event(TrainEvent::Warning { message });
    }

    fn add_time(&mut self, phase: TrainPhase, started: Instant) {
        let elapsed = started.elapsed().as_secs_f64();
        let seconds = &mut self.state.spent.seconds;
        let key = match phase {
            TrainPhase::Tokenize => {
                seconds.tokenize += elapsed;
                "tokenize"
            }
            TrainPhase::Baseline => {
                seconds.evaluate += elapsed;
                "baseline"
            }
            // Its parts have clocks of their own.
            TrainPhase::Train => "train",
            TrainPhase::Evaluate => {
                seconds.evaluate += elapsed;
                "evaluate"
            }
            TrainPhase::Save => {
                seconds.save += elapsed;
                "save"
            }
        };
        *self.state.timings.entry(key.to_owned()).or_default() += elapsed;
    }
}
