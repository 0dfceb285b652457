//! The training loop, an epoch at a time: micro-batches, optimizer steps, evaluation, checkpoint.

mod save;
mod warnings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::data::sampler::PairSampler;
use crate::domain::{EvaluationMetrics, TrainEvent, TrainPhase};
use crate::evaluation::{Rankings, RetrievalEvaluator};

use super::checkpointer::Checkpointer;
use super::engine::Engine;
use super::micro_batch::Group;
use super::profile::Stopwatch;
use super::run::StepLog;
use super::setup::Setup;
use super::sink::stop_if_asked;
use super::step_meter::StepMeter;
use super::texts::TokenizedTexts;
use super::trainer_state::TrainerState;
use super::windows::{Window, Windows};
use super::{LrSchedule, TrainError, TrainReport, TrainRequest, TrainSink};

/// A run under way.
pub(super) struct Trainer<'a> {
    request: &'a TrainRequest,
    sink: &'a mut dyn TrainSink,
    checkpointer: Checkpointer,
    resumed_from_epoch: Option<u32>,
    state: TrainerState,
    engine: Box<dyn Engine>,
    /// What computes it, in words.
    device: String,
    sampler: PairSampler,
    schedule: LrSchedule,
    evaluator: RetrievalEvaluator,
    texts: Arc<TokenizedTexts>,
    meter: StepMeter,
    /// The last checkpoint, where it is still being written.
    writing: Option<save::Writing>,
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
        let Setup { checkpointer, engine, mut state, resumed_from_epoch, device, warning } = setup;
        let started = Instant::now();
        sink.on_event(TrainEvent::Phase { phase: TrainPhase::Tokenize, epoch: f64::from(state.epoch) });
        let (evaluator, texts) = TokenizedTexts::prepare(request, &state.arguments, engine.encoder(), sink)?;
        let arguments = &state.arguments;
        let sampler = PairSampler::new(
            &request.train,
            arguments.batch_sampler,
            arguments.per_device_train_batch_size,
            arguments.seed,
        );
        let mut warnings: Vec<String> = warning.filter(|_| resumed_from_epoch.is_none()).into_iter().collect();
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
        let mut trainer = Self {
            request,
            sink,
            checkpointer,
            resumed_from_epoch,
            state,
            engine,
            device,
            sampler,
            schedule,
            evaluator,
            texts: Arc::new(texts),
            meter: StepMeter::new(),
            writing: None,
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
        let batches_in_epoch = batches.len();
        let windows = Windows::start(
            &self.texts,
            batches,
            self.state.arguments.gradient_accumulation_steps,
            self.state.micro_batches,
            self.engine.limits(),
        );
        let mut done = 0;
        for window in windows {
            watch.lap(&mut self.state.spent.seconds.pack);
            let (pairs, micro_batches) = (window.pairs, window.micro_batches);
            self.gradients(window)?;
            done += micro_batches;
            let epochs_done = f64::from(epoch - 1) + done as f64 / batches_in_epoch as f64;
            self.optimizer_step(pairs, epochs_done)?;
            watch = Stopwatch::start();
        }
        self.read_steps()?;
        watch.lap(&mut self.state.spent.seconds.optimizer);
        self.tell_memory();
        self.state.epoch = epoch;
        self.meter.pause();
        self.add_time(TrainPhase::Train, started);
        Ok(())
    }

    /// Computes the gradient of an optimizer step, in smaller packs where the engine has too little memory.
    fn gradients(&mut self, window: Window) -> Result<(), TrainError> {
        // The last window may be shorter; its mean is over what it has, as the Hugging Face trainer does it.
        let share = 1.0 / window.micro_batches as f64;
        self.state.micro_batches += window.micro_batches as u64;
        let mut waiting: VecDeque<Group> = window.groups.into();
        while let Some(group) = waiting.pop_front() {
            stop_if_asked(&*self.sink)?;
            // It was packed ahead, perhaps before packs had to become smaller. A long sequence alone stays what it is.
            let limits = self.engine.limits();
            if group.size().pack_tokens > limits.pack {
                let smaller = group.within(limits);
                if smaller.first() != Some(&group) {
                    smaller.into_iter().rev().for_each(|group| waiting.push_front(group));
                    continue;
                }
            }
            match self.compute(&group, share) {
                Err(TrainError::OutOfMemory { .. }) if self.engine.step_down(group.size()) => {
                    self.warn(format!(
                        "the GPU's memory is too small for packs of {} tokens; going on with {}, which gives the same gradients \
                         but computes forward twice where a micro-batch is larger",
                        group.size().pack_tokens,
                        self.engine.limits().pack
                    ));
                    waiting.push_front(group);
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn compute(&mut self, group: &Group, share: f64) -> Result<(), TrainError> {
        let sink = &*self.sink;
        let keep_going = || !sink.should_stop();
        let seed = Some(self.state.arguments.seed);
        group.compute(&mut *self.engine, seed, share, &mut self.state.spent, &keep_going)
    }

    fn optimizer_step(&mut self, pairs: usize, epochs_done: f64) -> Result<(), TrainError> {
        let mut watch = Stopwatch::start();
        if !self.gradients_checked {
            self.gradients_checked = self.engine.check_gradients()?;
        }
        let learning_rate = self.schedule.at(self.state.step);
        self.engine.step(learning_rate)?;
        self.state.step += 1;
        self.meter.step(pairs);
        let (step, total_steps) = (self.state.step, self.state.total_steps);
        self.sink.on_event(TrainEvent::Progress { step, total_steps });
        if step % self.state.arguments.logging_steps == 0 || step == total_steps {
            let grad_norm = self.read_steps()?;
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
        watch.lap(&mut self.state.spent.seconds.optimizer);
        Ok(())
    }

    /// Adds what the steps since the last reading came to to what is to be logged, and returns the last one's gradient norm.
    fn read_steps(&mut self) -> Result<f64, TrainError> {
        let readings = self.engine.read()?;
        self.state.unlogged_loss += readings.iter().map(|reading| reading.loss).sum::<f64>();
        self.state.unlogged_steps += readings.len() as u64;
        Ok(readings.last().map_or(0.0, |reading| reading.grad_norm))
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
        let values = self.engine.evaluate(
            &self.evaluator,
            &self.texts.sequences,
            self.state.arguments.dims(),
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
        self.state.into_report(self.resumed_from_epoch, self.device)
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

    fn tell_memory(&mut self) {
        if let Some(bytes) = self.engine.peak_device_memory() {
            self.sink.on_gpu_memory(bytes);
        }
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
