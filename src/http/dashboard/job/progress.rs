//! How far a running job is.

use maud::{Markup, html};

use super::super::format;
use crate::domain::{Job, JobEvent, TrainEvent, TrainPhase};
use crate::http::routes::jobs::progress;
use crate::http::{ApiError, AppState};
use crate::worker::memory::ProcessMemory;

/// A job that runs, and what it last told.
pub(in super::super) struct Running {
    pub(in super::super) job: Job,
    device: String,
    phase: Option<TrainPhase>,
    /// Epochs done, with the fraction of the one under way.
    epoch: f64,
    pairs_per_second: Option<f64>,
    /// Seconds of training left.
    eta: Option<f64>,
    memory: Option<ProcessMemory>,
    last_event: u64,
}

impl Running {
    /// Reads what it last told.
    ///
    /// # Errors
    /// Where the store fails.
    pub(in super::super) async fn read(state: &AppState, job: Job) -> Result<Self, ApiError> {
        let mut running = Self {
            device: state.training_device.describe(job.training.precision),
            phase: None,
            epoch: 0.0,
            pairs_per_second: None,
            eta: None,
            memory: ProcessMemory::read(),
            last_event: 0,
            job,
        };
        for type_name in ["phase", "step"] {
            let Some(record) = state.store.last_event(running.job.id, type_name).await? else { continue };
            running.last_event = running.last_event.max(record.id.unwrap_or(0));
            match record.event {
                JobEvent::Train(TrainEvent::Phase { phase, epoch }) => {
                    running.phase = Some(phase);
                    running.epoch = epoch;
                }
                JobEvent::Train(TrainEvent::Step { epoch, pairs_per_second, eta_seconds, .. }) => {
                    running.epoch = running.epoch.max(epoch);
                    running.pairs_per_second = Some(pairs_per_second);
                    running.eta = Some(eta_seconds);
                }
                _ => {}
            }
        }
        Ok(running)
    }

    /// What it does now.
    pub(in super::super) fn stage(&self) -> String {
        let epochs = self.job.training.epochs;
        let current = (self.epoch.floor() as u32 + 1).min(epochs);
        match self.phase {
            None => "starting".into(),
            Some(TrainPhase::Tokenize) => "tokenising the texts".into(),
            Some(TrainPhase::Baseline) => "evaluating the base model".into(),
            Some(TrainPhase::Train) => format!("training, epoch {current} of {epochs}"),
            Some(TrainPhase::Evaluate) => format!("evaluating after epoch {:.0} of {epochs}", self.epoch),
            Some(TrainPhase::Save) => format!("saving the checkpoint of epoch {:.0} of {epochs}", self.epoch),
        }
    }

    /// Where its events are heard from now on.
    pub(in super::super) fn events_address(&self) -> String {
        format!("/v1/jobs/{}/events?last_event_id={}", self.job.id, self.last_event)
    }
}

/// The bar, and the figures below it.
pub(in super::super) fn progress_block(running: &Running) -> Markup {
    let job = &running.job;
    let share = progress(job);
    html! {
        p class="stage" {
            (super::super::parts::sentence(&running.stage()))
            @if let Some(share) = share { span class="muted" { " " (format::percent(share)) } }
        }
        @match share {
            Some(share) => progress max="1" value=(format!("{share:.4}")) aria-label="Optimizer steps done" {},
            None => progress max="1" aria-label="Getting ready" {},
        }
        dl class="facts figures" {
            div {
                dt { "Step" }
                dd {
                    (format::count(job.step))
                    @if let Some(total) = job.total_steps { " of " (format::count(total)) }
                }
            }
            div { dt { "Epoch" } dd { (format!("{:.2}", running.epoch)) " of " (job.training.epochs) } }
            div { dt { "Training left" } dd { (running.eta.map_or_else(|| "–".into(), |eta| format!("about {}", format::duration(eta)))) } }
            div {
                dt { "Throughput" }
                dd { (running.pairs_per_second.map_or_else(|| "–".into(), |pairs| format!("{} pairs/s", format::number(pairs.round())))) }
            }
            div { dt { "Device" } dd { (running.device) } }
            @if let Some(memory) = &running.memory {
                div { dt { "Memory (peak)" } dd { (format::bytes(memory.now)) " (" (format::bytes(memory.peak)) ")" } }
            }
        }
    }
}

/// `, step 4 of 12` where it has begun.
pub(super) fn of_steps(job: &Job) -> Markup {
    html! {
        @if let Some(total) = job.total_steps { ", step " (format::count(job.step)) " of " (format::count(total)) }
    }
}
