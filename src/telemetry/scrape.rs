//! One scrape: what was counted since the start, and the figures that are read when they are asked for.

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::{JobFigures, TrainEvent};

use super::{Metrics, process};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Metrics {
    /// Everything, for a scraper.
    ///
    /// # Panics
    /// Never: writing to a string does not fail.
    #[must_use]
    pub fn expose(&self, exposition: Exposition, jobs: &JobFigures) -> String {
        let mut now = Registry::default();
        let build = vec![("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)];
        now.register("matryo_build", "The program", Info::new(build));
        register_jobs(&mut now, jobs);
        process::register(&mut now);
        let mut page = String::new();
        let written = [&self.registry, &now].into_iter().try_for_each(|registry| match exposition {
            Exposition::Text => prometheus_text::encode(&mut page, registry),
            Exposition::OpenMetrics => text::encode_registry(&mut page, registry),
        });
        let written = written.and_then(|()| match exposition {
            Exposition::Text => Ok(()),
            Exposition::OpenMetrics => text::encode_eof(&mut page),
        });
        written.expect("writing to a string does not fail");
        page
    }
}

fn register_jobs(registry: &mut Registry, jobs: &JobFigures) {
    let by_status = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
    for (status, count) in &jobs.by_status {
        let labels = vec![("status", status.as_str())];
        by_status.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    registry.register("matryo_jobs", "Jobs by status", by_status);
    let Some(running) = &jobs.running else { return };
    let training = registry.sub_registry_with_label(("job_id".into(), running.id.to_string().into()));
    training.register("matryo_training_step", "Optimizer steps done", ConstGauge::new(int(running.step)));
    if let Some(total) = running.total_steps {
        training.register("matryo_training_steps", "Optimizer steps of the whole run", ConstGauge::new(int(total)));
    }
    let Some(TrainEvent::Step { epoch, loss, grad_norm, learning_rate, pairs_per_second, eta_seconds, .. }) =
        running.last_step
    else {
        return;
    };
    for (name, help, value) in [
        ("matryo_training_epoch", "Epochs done, with the fraction of the one under way", epoch),
        ("matryo_training_loss", "Mean loss over the steps last logged", loss),
        ("matryo_training_gradient_norm", "The gradient's norm before clipping", grad_norm),
        ("matryo_training_learning_rate", "The learning rate", learning_rate),
        ("matryo_training_pairs_per_second", "Pairs trained on per second", pairs_per_second),
    ] {
        training.register(name, help, ConstGauge::new(value));
    }
    let help = "Training that is left, evaluations not counted";
    training.register_with_unit("matryo_training_eta", help, Unit::Seconds, ConstGauge::new(eta_seconds));
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
