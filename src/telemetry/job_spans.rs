//! Runs of jobs as spans, made from the events that they tell: one span from a run's beginning to its end, and one below
//! it for each phase.

use std::collections::HashMap;

use opentelemetry::trace::{Span as _, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use crate::domain::{EventRecord, JobEvent, JobId, JobStatus, TrainEvent, TrainPhase};

use super::Traces;

/// The spans of runs that are under way. Those that are left when it is dropped end then.
#[derive(Debug)]
pub struct JobSpans {
    traces: Traces,
    running: HashMap<JobId, Run>,
}

#[derive(Debug)]
struct Run {
    /// Before the run's own span, so that it ends first.
    phase: Option<Span>,
    span: Span,
    /// The last step that the phase told of, and the loss.
    step: Option<(u64, f64)>,
}

impl Run {
    /// Ends the phase under way. A span keeps every value that an attribute is given, so it is given one at the end.
    fn end_phase(&mut self) {
        if let (Some(mut phase), Some((step, loss))) = (self.phase.take(), self.step.take()) {
            phase.set_attributes([
                KeyValue::new("matryo.job.step", i64::try_from(step).unwrap_or(i64::MAX)),
                KeyValue::new("matryo.job.loss", loss),
            ]);
        }
    }
}

impl JobSpans {
    /// Knows of no run yet.
    #[must_use]
    pub fn new(traces: Traces) -> Self {
        Self { traces, running: HashMap::new() }
    }

    /// Hears an event of any job.
    pub fn on_event(&mut self, record: &EventRecord) {
        match &record.event {
            JobEvent::Status { status: JobStatus::Running, .. } => self.begin(record.job_id),
            JobEvent::Status { status, message } => self.end(record.job_id, *status, message.as_deref()),
            JobEvent::Train(event) => self.told(record.job_id, event),
        }
    }

    fn begin(&mut self, id: JobId) {
        let attributes = [KeyValue::new("matryo.job.id", id.to_string())];
        let builder = self.traces.tracer.span_builder("job").with_attributes(attributes);
        let span = self.traces.tracer.build_with_context(builder, &Context::new());
        self.running.insert(id, Run { phase: None, span, step: None });
    }

    fn end(&mut self, id: JobId, status: JobStatus, message: Option<&str>) {
        let Some(mut run) = self.running.remove(&id) else { return };
        run.end_phase();
        run.span.set_attribute(KeyValue::new("matryo.job.status", status.as_str()));
        if status == JobStatus::Failed {
            run.span.set_status(Status::error(message.unwrap_or_default().to_owned()));
        }
    }

    fn told(&mut self, id: JobId, event: &TrainEvent) {
        let Some(run) = self.running.get_mut(&id) else { return };
        match event {
            TrainEvent::Phase { phase, epoch } => {
                run.end_phase();
                let parent = Context::new().with_remote_span_context(run.span.span_context().clone());
                let attributes = [KeyValue::new("matryo.job.epoch", *epoch)];
                let builder = self.traces.tracer.span_builder(name(*phase)).with_attributes(attributes);
                run.phase = Some(self.traces.tracer.build_with_context(builder, &parent));
            }
            TrainEvent::Step { step, loss, .. } => run.step = Some((*step, *loss)),
            TrainEvent::Warning { message } => {
                run.span.add_event("warning", vec![KeyValue::new("message", message.clone())]);
            }
            _ => {}
        }
    }
}

fn name(phase: TrainPhase) -> &'static str {
    match phase {
        TrainPhase::Tokenize => "tokenize",
        TrainPhase::Baseline => "baseline",
        TrainPhase::Train => "train",
        TrainPhase::Evaluate => "evaluate",
        TrainPhase::Save => "save",
    }
}
