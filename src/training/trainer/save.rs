//! What stands at the end of an epoch: the best so far, the checkpoint, and those that it makes superfluous.

use std::fs;
use std::time::Instant;

use crate::domain::{EvaluationMetrics, TrainEvent, TrainPhase};
use crate::training::model_card::{ModelCard, inherited_front_matter};
use crate::training::trainer_state::{Best, save_optimizer};
use crate::training::{TrainError, retention};

use super::Trainer;

impl Trainer<'_> {
    /// Writes the checkpoint of the epoch just evaluated, and deletes those beyond `save_total_limit`.
    pub(in crate::training) fn save_epoch(&mut self) -> Result<(), TrainError> {
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
        let (encoder, optimizer) = self.engine.state()?;
        let written = self.checkpointer.write(epoch, |folder| {
            encoder.save(folder, self.state.arguments.dims()).map_err(|error| error.to_string())?;
            fs::write(folder.join("README.md"), card).map_err(|error| format!("README.md: {error}"))?;
            self.state.save(folder)?;
            save_optimizer(optimizer, folder)
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
    fn remove_old_checkpoints(&mut self) -> Result<(), TrainError> {
        let Some(best) = self.state.best else { return Ok(()) };
        let limit = self.state.arguments.save_total_limit;
        for epoch in retention::to_remove(&self.checkpointer.epochs()?, best.epoch, limit, self.is_finished()) {
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
