//! What stands at the end of an epoch: the best so far, the checkpoint, and those that it makes superfluous.

use std::fs;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::domain::{EvaluationMetrics, TrainEvent, TrainPhase};
use crate::model::SentenceEncoder;
use crate::training::checkpointer::Written;
use crate::training::engine::State;
use crate::training::model_card::{ModelCard, inherited_front_matter};
use crate::training::optimizer::AdamW;
use crate::training::trainer_state::{Best, TrainerState, save_optimizer};
use crate::training::{TrainError, retention};

use super::Trainer;

/// A checkpoint that is written while the run goes on.
pub(super) struct Writing {
    about: About,
    thread: JoinHandle<Result<Written, TrainError>>,
}

/// What is told of a checkpoint once it is written.
#[derive(Clone, Copy)]
struct About {
    epoch: u32,
    step: u64,
    metric: f64,
    is_best: bool,
    /// True for the run's last.
    is_last: bool,
}

/// All that a checkpoint's folder holds beside the weights and the optimizer's state.
struct Beside {
    card: String,
    state: TrainerState,
}

impl Beside {
    fn fill(&self, encoder: &SentenceEncoder, optimizer: &AdamW, folder: &Path) -> Result<(), String> {
        encoder.save(folder, self.state.arguments.dims()).map_err(|error| error.to_string())?;
        fs::write(folder.join("README.md"), &self.card).map_err(|error| format!("README.md: {error}"))?;
        self.state.save(folder)?;
        save_optimizer(optimizer, folder)
    }
}

impl Trainer<'_> {
    /// Writes the checkpoint of the epoch just evaluated, and deletes those beyond `save_total_limit`. Where the engine's
    /// state lies elsewhere, a thread writes its copy while the run goes on; [`Trainer::finish_saving`] waits for it.
    pub(in crate::training) fn save_epoch(&mut self) -> Result<(), TrainError> {
        self.finish_saving()?;
        let started = Instant::now();
        self.phase(TrainPhase::Save);
        let (epoch, step, is_last) = (self.state.epoch, self.state.step, self.is_finished());
        let metric = self.metric_of_best(self.last_evaluation());
        let is_best = self.state.best.is_none_or(|best| metric > best.metric);
        let best = self.state.best.filter(|_| !is_best).unwrap_or(Best { epoch, metric });
        self.state.best = Some(best);
        if is_last {
            self.warn_if_worse_than_before(best);
        }
        let about = About { epoch, step, metric, is_best, is_last };
        let beside = Beside { card: self.model_card(), state: self.state.clone() };
        match self.engine.state()? {
            State::Here(encoder, optimizer) => {
                let fill = |folder: &Path| beside.fill(encoder, optimizer, folder);
                let written = self.checkpointer.write(epoch, fill)?;
                self.tell_written(about, written)?;
            }
            State::Copied(encoder, optimizer) => {
                let checkpointer = self.checkpointer.clone();
                let write = move || checkpointer.write(epoch, |folder| beside.fill(&encoder, &optimizer, folder));
                self.writing = Some(Writing { about, thread: std::thread::spawn(write) });
            }
        }
        self.add_time(TrainPhase::Save, started);
        Ok(())
    }

    /// Waits for a checkpoint that is being written, and tells of it.
    pub(in crate::training) fn finish_saving(&mut self) -> Result<(), TrainError> {
        let Some(Writing { about, thread }) = self.writing.take() else { return Ok(()) };
        let started = Instant::now();
        let written = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        self.tell_written(about, written)?;
        self.add_time(TrainPhase::Save, started);
        Ok(())
    }

    fn tell_written(&mut self, about: About, written: Written) -> Result<(), TrainError> {
        let About { epoch, step, metric, is_best, is_last } = about;
        let Written { size_bytes, sha256 } = written;
        self.sink.on_event(TrainEvent::Checkpoint { epoch, step, size_bytes, sha256, metric, is_best });
        self.remove_old_checkpoints(is_last)
    }

    fn model_card(&self) -> String {
        ModelCard {
            base_model: &self.request.base_model,
            inherited: &inherited_front_matter(&self.request.base_model_folder),
            summary: self.engine.encoder().summary(),
            arguments: &self.state.arguments,
            train_rows: self.request.train.len(),
            eval_rows: self.request.eval.len(),
            baseline: &self.state.evaluations[0],
            metrics: self.last_evaluation(),
        }
        .render()
    }

    /// Deletes checkpoints beyond the limit that nobody else needs. The sink hears of it first: a checkpoint that is known
    /// of is whole.
    fn remove_old_checkpoints(&mut self, is_finished: bool) -> Result<(), TrainError> {
        let Some(best) = self.state.best else { return Ok(()) };
        let limit = self.state.arguments.save_total_limit;
        for epoch in retention::to_remove(&self.checkpointer.epochs()?, best.epoch, limit, is_finished) {
            if self.sink.on_removal(epoch) {
                self.checkpointer.remove(epoch)?;
            }
        }
        Ok(())
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

    fn metric_of_best(&self, metrics: &EvaluationMetrics) -> f64 {
        let name = self.state.arguments.metric_for_best_model.as_deref().unwrap_or_default();
        *metrics.values.get(name).expect("the metric was checked against the dimensions")
    }
}
