//! Progress on standard error: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::{EvaluationMetrics, MetricKey, TrainEvent, TrainPhase};
use crate::hub::PullProgress;

use super::error::CliError;
use super::output;
use super::units::{bytes, duration};

/// Plain lines in which something long is told.
const LINES: u64 = 10;

/// Prints a line on standard error.
pub(super) fn say(line: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn bar(template: &str) -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template(template).expect("the template is right").progress_chars("=> ");
        ProgressBar::new(0).with_style(style)
    })
}

/// Shows a run by its events.
pub(super) struct RunDisplay {
    bar: Option<ProgressBar>,
    lines: Lines,
}

/// Where lines go; bars are on standard error always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Beside the command's result.
    Stderr,
    /// They are the command's result.
    Stdout,
}

impl RunDisplay {
    /// A bar that says what is being done, below the lines that stay.
    pub(super) fn new() -> Self {
        let bar = bar("{msg}\n[{bar:40}] {pos}/{len} steps{prefix}");
        if let Some(bar) = &bar {
            bar.enable_steady_tick(std::time::Duration::from_millis(500));
        }
        Self { bar, lines: Lines::Stderr }
    }

    /// A bar below a log, which tells everything.
    pub(super) fn below_log(lines: Lines) -> Self {
        Self { bar: bar("[{bar:40}] {pos}/{len} steps{prefix}"), lines }
    }

    /// Shows an event.
    pub(super) fn show(&self, event: &TrainEvent) {
        if let Some(bar) = &self.bar
            && matches!(event, TrainEvent::Phase { .. } | TrainEvent::Step { .. })
        {
            self.move_bar(event);
            bar.set_message(in_words(event).unwrap_or_default());
        } else {
            self.move_bar(event);
            if let Some(line) = in_words(event) {
                // Standard error, which never fails.
                let _ = self.line(&line);
            }
        }
    }

    /// Moves the bar, where there is one, to where the run is.
    pub(super) fn move_bar(&self, event: &TrainEvent) {
        let Some(bar) = &self.bar else { return };
        if let TrainEvent::Progress { step, total_steps } | TrainEvent::Step { step, total_steps, .. } = event {
            bar.set_length(*total_steps);
            bar.set_position(*step);
        }
        if let TrainEvent::Step { eta_seconds, .. } = event {
            bar.set_prefix(format!(", {} of training left", duration(*eta_seconds)));
        }
    }

    /// Prints a line, above the bar where there is one.
    pub(super) fn line(&self, line: &str) -> Result<(), CliError> {
        let print = || match self.lines {
            Lines::Stderr => {
                say(line);
                Ok(())
            }
            Lines::Stdout => output::print(line),
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// An event as a line; none for those that are for bars alone.
pub(super) fn in_words(event: &TrainEvent) -> Option<String> {
    Some(match event {
        TrainEvent::Phase { phase, epoch } => match phase {
            TrainPhase::Tokenize => "tokenizing".into(),
            TrainPhase::Baseline => "evaluating the model as it is".into(),
            TrainPhase::Train => format!("training epoch {:.0}", epoch.floor() + 1.0),
            TrainPhase::Evaluate => format!("evaluating epoch {epoch:.0}"),
            TrainPhase::Save => format!("saving epoch {epoch:.0}"),
        },
        TrainEvent::Step {
            step, total_steps, loss, grad_norm, learning_rate, pairs_per_second, eta_seconds, ..
        } => {
            format!(
                "step {step}/{total_steps}: loss {loss:.4}, gradient norm {grad_norm:.3}, learning rate \
                 {learning_rate:.2e}, {pairs_per_second:.1} pairs/s, {} of training left",
                duration(*eta_seconds)
            )
        }
        TrainEvent::Progress { .. } | TrainEvent::CheckpointRemoved { .. } => return None,
        TrainEvent::Evaluation { metrics } => evaluation_in_words(metrics),
        TrainEvent::Checkpoint { epoch, size_bytes, metric, is_best, .. } => {
            let best = if *is_best { ", the best so far" } else { "" };
            format!("checkpoint of epoch {epoch}: {}, metric {metric:.4}{best}", bytes(*size_bytes))
        }
        TrainEvent::Warning { message } => format!("warning: {message}"),
    })
}

fn evaluation_in_words(metrics: &EvaluationMetrics) -> String {
    let mut values: Vec<(MetricKey, f64)> =
        metrics.values.iter().filter_map(|(key, value)| Some((key.parse().ok()?, *value))).collect();
    values.retain(|(key, _)| key.name() == "ndcg@10");
    values.sort_by_key(|(key, _)| std::cmp::Reverse(key.dim));
    let values: Vec<String> = values.iter().map(|(key, value)| format!("{value:.4} at {}", key.dim)).collect();
    let when = if metrics.epoch == 0 { "before training".to_owned() } else { format!("epoch {}", metrics.epoch) };
    format!("{when}: ndcg@10 {}", values.join(", "))
}

/// Shows bytes that come or go.
pub(super) struct BytesDisplay {
    bar: Option<ProgressBar>,
    name: String,
    lines: u64,
}

impl BytesDisplay {
    /// Of something that is called so where there is no bar.
    pub(super) fn new(name: &str) -> Self {
        let bar = bar("{msg} [{bar:40}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
        Self { bar, name: name.to_owned(), lines: 0 }
    }

    /// Of something whose size nobody knows before its end.
    pub(super) fn without_total(name: &str) -> Self {
        Self { bar: bar("{msg} {bytes}, {bytes_per_sec}"), name: name.to_owned(), lines: 0 }
    }

    /// Shows how far it is, and which file is under way.
    pub(super) fn show(&mut self, file: &str, done_bytes: u64, total_bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total_bytes);
            bar.set_position(done_bytes);
            bar.set_message(file.to_owned());
            return;
        }
        // Where the size is not known there is nothing to tell.
        let Some(share) = (done_bytes * LINES).checked_div(total_bytes) else { return };
        if share >= self.lines {
            self.lines = share + 1;
            say(&format!("{}: {} of {}", self.name, bytes(done_bytes), bytes(total_bytes)));
        }
    }

    /// Shows how far a pull is.
    pub(super) fn show_pull(&mut self, progress: &PullProgress) {
        self.show(&progress.file, progress.done_bytes, progress.total_bytes);
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how many of something are done.
pub(super) struct ShareDisplay {
    bar: Option<ProgressBar>,
    what: &'static str,
    lines: u64,
}

impl ShareDisplay {
    pub(super) fn new(what: &'static str) -> Self {
        Self { bar: bar("[{bar:40}] {pos}/{len} {msg}, {eta} left"), what, lines: 1 }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(self.what);
            return;
        }
        let share = (done * LINES).checked_div(total).unwrap_or(0);
        if share >= self.lines {
            self.lines = share + 1;
            say(&format!("{done} of {total} {}", self.what));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_is_told_by_dimension() {
        let values = [("dim_64_cosine_ndcg@10", 0.25), ("dim_128_cosine_ndcg@10", 0.5), ("dim_128_cosine_mrr@10", 0.1)];
        let values = values.map(|(key, value)| (key.to_owned(), value)).into();
        let words = |epoch| evaluation_in_words(&EvaluationMetrics { epoch, step: 3, values: Clone::clone(&values) });
        assert_eq!(words(0), "before training: ndcg@10 0.5000 at 128, 0.2500 at 64");
        assert_eq!(words(2), "epoch 2: ndcg@10 0.5000 at 128, 0.2500 at 64");
    }
}
