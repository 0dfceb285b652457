//! A trainer that trains nothing: it tells and writes what the real one does, and goes wrong where a test wants it to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use matryo::domain::{TrainEvent, TrainPhase};
use matryo::training::{TrainError, TrainReport, TrainRequest, TrainSink};
use matryo::worker::Trainer;
use serde_json::json;

use super::rows;

/// Steps of each epoch.
pub(crate) const STEPS: u64 = 2;
/// Something is wrong where a test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

type Script = dyn FnMut(&TrainRequest, &mut dyn TrainSink) -> Result<TrainReport, TrainError> + Send;

/// Runs a script in place of a training run.
pub(crate) struct FakeTrainer(Box<Script>);

impl FakeTrainer {
    /// Runs `script` for each job.
    pub(crate) fn new(
        script: impl FnMut(&TrainRequest, &mut dyn TrainSink) -> Result<TrainReport, TrainError> + Send + 'static,
    ) -> Self {
        Self(Box::new(script))
    }

    /// Ends each job well.
    pub(crate) fn good() -> Self {
        Self::new(|request, sink| run_epochs(request, sink, |_, _| Ok(())))
    }

    /// Holds each job at its first step until the gate is opened, or the job is told to stop.
    pub(crate) fn gated() -> (Self, Gate) {
        let (sender, receiver) = channel();
        let fake = Self::new(move |request, sink| {
            run_epochs(request, sink, |step, sink| if step == 1 { wait_at(&receiver, sink) } else { Ok(()) })
        });
        (fake, Gate(sender))
    }
}

impl Trainer for FakeTrainer {
    fn train(&mut self, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError> {
        (self.0)(request, sink)
    }
}

/// Lets one job after another go on.
pub(crate) struct Gate(Sender<()>);

impl Gate {
    /// Lets one job go on.
    pub(crate) fn open(&self) {
        self.0.send(()).expect("the trainer is there");
    }
}

fn wait_at(gate: &Receiver<()>, sink: &mut dyn TrainSink) -> Result<(), TrainError> {
    let since = Instant::now();
    while gate.try_recv().is_err() {
        if sink.should_stop() {
            return Err(TrainError::Cancelled);
        }
        assert!(since.elapsed() < PATIENCE, "nobody opened the gate");
        std::thread::yield_now();
    }
    Ok(())
}

/// A run that goes on from the last checkpoint, each epoch's ndcg@10 a little better; `after_step` may end it early.
pub(crate) fn run_epochs(
    request: &TrainRequest,
    sink: &mut dyn TrainSink,
    mut after_step: impl FnMut(u64, &mut dyn TrainSink) -> Result<(), TrainError>,
) -> Result<TrainReport, TrainError> {
    let epochs = request.arguments.epochs;
    let total_steps = STEPS * u64::from(epochs);
    let from = newest(&request.checkpoints);
    sink.on_event(TrainEvent::Phase { phase: TrainPhase::Tokenize, epoch: f64::from(from) });
    let value = |epoch: u32| 0.5 + f64::from(epoch) / 100.0;
    let evaluation = |epoch: u32| rows::evaluation(epoch, STEPS * u64::from(epoch), value(epoch));
    if from == 0 {
        sink.on_event(TrainEvent::Phase { phase: TrainPhase::Baseline, epoch: 0.0 });
        sink.on_event(TrainEvent::Evaluation { metrics: evaluation(0) });
    }
    for epoch in from + 1..=epochs {
        sink.on_event(TrainEvent::Phase { phase: TrainPhase::Train, epoch: f64::from(epoch - 1) });
        for step in STEPS * u64::from(epoch - 1) + 1..=STEPS * u64::from(epoch) {
            if sink.should_stop() {
                return Err(TrainError::Cancelled);
            }
            sink.on_event(TrainEvent::Progress { step, total_steps });
            sink.on_event(TrainEvent::Step {
                step,
                total_steps,
                epoch: step as f64 / STEPS as f64,
                loss: 1.0 / step as f64,
                grad_norm: 1.0,
                learning_rate: 2e-5,
                pairs_per_second: 100.0,
                eta_seconds: 1.0,
            });
            after_step(step, sink)?;
        }
        sink.on_event(TrainEvent::Evaluation { metrics: evaluation(epoch) });
        let evaluations: Vec<_> = (0..=epoch).map(evaluation).collect();
        let size_bytes = write_checkpoint(request, epoch, &evaluations);
        sink.on_event(TrainEvent::Checkpoint {
            epoch,
            step: STEPS * u64::from(epoch),
            size_bytes,
            sha256: "ab".repeat(32),
            metric: value(epoch),
            is_best: true,
        });
    }
    Ok(TrainReport {
        device: "cpu".into(),
        arguments: request.arguments.clone(),
        evaluations: (0..=epochs).map(evaluation).collect(),
        log: Vec::new(),
        best_epoch: epochs,
        total_steps,
        resumed_from_epoch: Some(from).filter(|from| *from > 0),
        warnings: Vec::new(),
        timings: BTreeMap::from([("train".to_owned(), 0.25)]),
        profile: rows::profile(),
    })
}

fn newest(checkpoints: &Path) -> u32 {
    let Ok(entries) = fs::read_dir(checkpoints) else { return 0 };
    let names = entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8"));
    names.filter_map(|name| name.strip_prefix("epoch-")?.parse().ok()).max().unwrap_or(0)
}

/// What `epoch-<n>/model.safetensors` of a fake run holds.
pub(crate) fn weights(epoch: u32) -> Vec<u8> {
    format!("the weights after epoch {epoch}; ").repeat(1000).into_bytes()
}

fn write_checkpoint(request: &TrainRequest, epoch: u32, evaluations: &[matryo::domain::EvaluationMetrics]) -> u64 {
    let folder = request.checkpoints.join(format!("epoch-{epoch}"));
    fs::create_dir_all(folder.join("1_Pooling")).expect("the folder is made");
    let state = json!({
        "epoch": epoch, "step": STEPS * u64::from(epoch), "arguments": request.arguments,
        "evaluations": evaluations, "best": { "epoch": epoch, "metric": 0.5 },
    });
    let files = [
        ("1_Pooling/config.json", b"{}".to_vec()),
        ("README.md", b"# fake\n".to_vec()),
        ("config.json", br#"{"model_type": "bert"}"#.to_vec()),
        ("model.safetensors", weights(epoch)),
        ("modules.json", b"[]".to_vec()),
        ("optimizer.safetensors", b"moments".to_vec()),
        ("trainer_state.json", state.to_string().into_bytes()),
    ];
    let mut size_bytes = 0;
    for (name, content) in files {
        size_bytes += content.len() as u64;
        fs::write(folder.join(name), content).expect("it is written");
    }
    size_bytes
}
