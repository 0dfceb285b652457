//! Progress on standard error: bars on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::domain::{EvaluationMetrics, MetricKey, TrainEvent, TrainPhase};
use crate::hub::PullProgress;

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
}

impl RunDisplay {
    pub(super) fn new() -> Self {
        let bar = bar("{msg}\n[{bar:40}] {pos}/{len} steps, {elapsed}");
        if let Some(bar) = &bar {
            bar.enable_steady_tick(std::time::Duration::from_millis(500));
        }
        Self { bar }
    }

    /// Shows an event.
    pub(super) fn show(&self, event: &TrainEvent) {
        match (&self.bar, event) {
            (Some(bar), TrainEvent::Progress { step, total_steps }) => {
                bar.set_length(*total_steps);
                bar.set_position(*step);
            }
            (Some(bar), TrainEvent::Phase { .. } | TrainEvent::Step { .. }) => {
                if let Some(line) = in_words(event) {
                    bar.set_message(line);
                }
            }
            _ => {
                if let Some(line) = in_words(event) {
                    self.line(&line);
                }
            }
        }
    }

    /// Prints a line, above the bar where there is one.
    pub(super) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => say(line),
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
fn in_words(event: &TrainEvent) -> Option<String> {
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
                 {learning_rate:.2e}, {pairs_per_second:.1} pairs/s, {eta_seconds:.0} s of training left"
            )
        }
        TrainEvent::Progress { .. } | TrainEvent::CheckpointRemoved { .. } => return None,
        TrainEvent::Evaluation { metrics } => evaluation_in_words(metrics),
        TrainEvent::Checkpoint { epoch, size_bytes, metric, is_best, .. } => {
            let best = if *is_best { ", the best so far" } else { "" };
            format!("checkpoint of epoch {epoch}: {}, metric {metric:.4}{best}", HumanBytes(*size_bytes))
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

/// Shows a download.
pub(super) struct PullDisplay {
    bar: Option<ProgressBar>,
    name: String,
    lines: u64,
}

impl PullDisplay {
    pub(super) fn new(name: &str) -> Self {
        let bar = bar("{msg} [{bar:40}] {bytes}/{total_bytes}, {bytes_per_sec}");
        Self { bar, name: name.to_owned(), lines: 0 }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, progress: &PullProgress) {
        let PullProgress { file, done_bytes, total_bytes } = progress;
        if let Some(bar) = &self.bar {
            bar.set_length(*total_bytes);
            bar.set_position(*done_bytes);
            bar.set_message(file.clone());
            return;
        }
        // Where the size is not known yet there is nothing to tell.
        let Some(share) = (done_bytes * LINES).checked_div(*total_bytes) else { return };
        if share >= self.lines {
            self.lines = share + 1;
            say(&format!("{}: {} of {}", self.name, HumanBytes(*done_bytes), HumanBytes(*total_bytes)));
        }
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
