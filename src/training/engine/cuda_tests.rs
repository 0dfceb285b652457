//! Whole runs on the emulated device against the CPU's: losses, norms, metrics, weights; resumed, and short of memory.

use std::path::Path;

use crate::domain::{BatchSampler, Pair, Precision, TrainEvent, TrainPhase, TrainingArguments};
use crate::kernels::Hardware;
use crate::kernels::cuda::{Buffer, Device, emulator};
use crate::model::SentenceEncoder;
use crate::model::tiny_model::TinyModel;
use crate::training::{TrainError, TrainReport, TrainRequest, TrainSink, run};

const WORDS: [&str; 12] =
    ["revenue", "river", "music", "bread", "planet", "horse", "tax", "train", "apple", "book", "city", "moon"];

/// Pairs that share a word, and with it a number.
fn pairs(count: usize, first: usize) -> Vec<Pair> {
    let pair = |number: usize| {
        let (one, other) = (WORDS[number % WORDS.len()], WORDS[number / WORDS.len() % WORDS.len()]);
        Pair {
            id: number.to_string(),
            anchor: format!("what of {one} and {other}"),
            positive: format!("the {one} was of the {other} {}", "as it is ".repeat(number % 12)),
        }
    };
    (first..first + count).map(pair).collect()
}

/// Stops after an optimizer step, and keeps the warnings.
#[derive(Default)]
struct Sink {
    stop_after: Option<u64>,
    stop: bool,
    checkpoints: Vec<u32>,
    warnings: Vec<String>,
    gpu_memory: u64,
    /// A device of which another program takes all but so many bytes once training begins.
    crowded: Option<(Device, usize)>,
    taken: Option<Buffer<u8>>,
}

impl TrainSink for Sink {
    fn on_event(&mut self, event: TrainEvent) {
        match event {
            TrainEvent::Progress { step, .. } => self.stop |= Some(step) == self.stop_after,
            TrainEvent::Checkpoint { epoch, .. } => self.checkpoints.push(epoch),
            TrainEvent::Warning { message } => self.warnings.push(message),
            TrainEvent::Phase { phase: TrainPhase::Train, .. } => {
                if let Some((device, left)) = self.crowded.take() {
                    let free = device.memory().expect("the emulator knows").free;
                    self.taken = Some(Buffer::new(&device, free - left).expect("it is free"));
                }
            }
            _ => {}
        }
    }

    fn on_gpu_memory(&mut self, most_bytes: u64) {
        self.gpu_memory = most_bytes;
    }

    fn should_stop(&self) -> bool {
        self.stop
    }
}

struct Bench {
    folder: tempfile::TempDir,
    arguments: TrainingArguments,
}

impl Bench {
    fn new(precision: Precision) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = TinyModel { hidden: 64, heads: 2, intermediate: 128, ..TinyModel::default() };
        let base = folder.path().join("base");
        std::fs::create_dir(&base).expect("there is room");
        model.write(&base);
        let arguments = TrainingArguments {
            epochs: 2,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 4,
            learning_rate: 1e-3,
            batch_sampler: BatchSampler::NoDuplicates,
            matryoshka_dims: Some(vec![64, 32, 16]),
            logging_steps: 1,
            precision,
            ..TrainingArguments::default()
        };
        Self { folder, arguments }
    }

    fn checkpoints(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, hardware: &Hardware, name: &str, sink: &mut Sink) -> Result<TrainReport, TrainError> {
        let request = TrainRequest {
            base_model_folder: self.folder.path().join("base"),
            base_model: "tiny".into(),
            train: pairs(75, 0),
            eval: pairs(30, 75),
            arguments: self.arguments.clone(),
            checkpoints: self.checkpoints(name),
        };
        run(hardware, &request, sink)
    }
}

fn weights(folder: &Path) -> Vec<f32> {
    SentenceEncoder::load(folder).expect("it is whole").parameters().flat.clone()
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / norm(&mut b.iter().map(|value| f64::from(*value)))
}

fn assert_near(report: &TrainReport, expected: &TrainReport, loss_tolerance: f64, metric_tolerance: f64) {
    assert_eq!(report.log.len(), expected.log.len());
    for (entry, expected) in report.log.iter().zip(&expected.log) {
        assert_eq!((entry.step, entry.learning_rate), (expected.step, expected.learning_rate));
        for (value, expected) in [(entry.loss, expected.loss), (entry.grad_norm, expected.grad_norm)] {
            assert!(
                (value - expected).abs() < loss_tolerance * expected,
                "step {}: {value} and {expected}",
                entry.step
            );
        }
    }
    for (metrics, expected) in report.evaluations.iter().zip(&expected.evaluations) {
        for (key, value) in &metrics.values {
            let expected = expected.values[key];
            assert!((value - expected).abs() <= metric_tolerance, "{key}: {value} and {expected}");
        }
    }
}

#[test]
fn a_run_in_float32_is_the_cpu_s() {
    let bench = Bench::new(Precision::Float32);
    let expected = bench.run(&Hardware::cpu(), "cpu", &mut Sink::default()).expect("it runs");
    let mut sink = Sink::default();
    let report = bench.run(&Hardware::emulated(emulator::device()), "device", &mut sink).expect("it runs");
    assert_near(&report, &expected, 1e-3, 0.04);
    assert_eq!(report.total_steps, 6);
    assert!(sink.gpu_memory > 1 << 20, "{}", sink.gpu_memory);
    let folder = |name: &str| bench.checkpoints(name).join("epoch-2");
    let error = apart(&weights(&folder("device")), &weights(&folder("cpu")));
    assert!(error < 1e-3, "the weights are {error} apart");
}

#[test]
fn a_run_in_bf16_learns_the_same() {
    let bench = Bench::new(Precision::Bf16);
    let report = bench.run(&Hardware::emulated(emulator::device()), "device", &mut Sink::default()).expect("it runs");
    let exact = Bench::new(Precision::Float32);
    let expected = exact.run(&Hardware::cpu(), "cpu", &mut Sink::default()).expect("it runs");
    assert_near(&report, &expected, 0.05, 0.1);
}

/// Bit for bit: what a resumed run is made of is a function of the checkpoint.
#[test]
fn a_run_that_was_stopped_ends_as_one_that_was_not() {
    let bench = Bench::new(Precision::Bf16);
    let whole = bench.run(&Hardware::emulated(emulator::device()), "whole", &mut Sink::default()).expect("it runs");
    // In the second epoch, while the first one's checkpoint may still be on its way to the disk.
    let mut stopped = Sink { stop_after: Some(4), ..Sink::default() };
    let error = bench.run(&Hardware::emulated(emulator::device()), "parts", &mut stopped).expect_err("it is stopped");
    assert!(matches!(error, TrainError::Cancelled), "{error}");
    assert_eq!(stopped.checkpoints, [1]);
    let report = bench.run(&Hardware::emulated(emulator::device()), "parts", &mut Sink::default()).expect("it runs");
    assert_eq!((report.resumed_from_epoch, &report.log), (Some(1), &whole.log));
    assert_eq!(report.evaluations, whole.evaluations);
    let folder = |name: &str| bench.checkpoints(name).join("epoch-2");
    assert!(weights(&folder("parts")) == weights(&folder("whole")));
}

/// Another program takes the device's memory after it was estimated: packs shrink, and nothing else changes.
#[test]
fn a_run_short_of_memory_takes_smaller_packs_with_the_same_mathematics() {
    let mut bench = Bench::new(Precision::Float32);
    bench.arguments.per_device_train_batch_size = 75;
    bench.arguments.gradient_accumulation_steps = 1;
    let expected = bench.run(&Hardware::cpu(), "cpu", &mut Sink::default()).expect("it runs");
    let device = emulator::device();
    let mut sink = Sink { crowded: Some((device.clone(), 7 << 20)), ..Sink::default() };
    let report = bench.run(&Hardware::emulated(device), "device", &mut sink).expect("it runs");
    let steps_down = sink.warnings.iter().filter(|warning| warning.contains("memory is too small"));
    assert_eq!(steps_down.count(), 1, "{:?}", sink.warnings);
    assert_near(&report, &expected, 1e-3, 0.04);

    let device = emulator::device();
    let mut sink = Sink { crowded: Some((device.clone(), 1 << 20)), ..Sink::default() };
    let error = bench.run(&Hardware::emulated(device), "none", &mut sink).expect_err("nothing fits");
    assert!(matches!(error, TrainError::OutOfMemory { .. }), "{error}");
}

/// Heads of 8 have no kernels: the run goes on, and says where.
#[test]
fn a_model_that_a_device_does_not_compute_is_the_cpu_s_with_a_warning() {
    let bench = Bench::new(Precision::Float32);
    let expected = bench.run(&Hardware::cpu(), "cpu", &mut Sink::default()).expect("it runs");
    assert_eq!(expected.device, "cpu");
    let model = TinyModel { hidden: 64, heads: 8, intermediate: 128, ..TinyModel::default() };
    let base = bench.folder.path().join("base");
    std::fs::remove_dir_all(&base).expect("it is there");
    std::fs::create_dir(&base).expect("there is room");
    model.write(&base);
    let report = bench.run(&Hardware::emulated(emulator::device()), "device", &mut Sink::default()).expect("it runs");
    assert_eq!(report.device, "cpu");
    assert!(report.warnings.iter().any(|warning| warning.contains("heads are of size 8")), "{:?}", report.warnings);
    assert!(report.evaluations[2].values["dim_64_cosine_ndcg@10"] > 0.0);
}

#[test]
fn a_device_without_room_for_the_model_is_told_at_once() {
    let bench = Bench::new(Precision::Bf16);
    let device = emulator::device_with_memory(1 << 20);
    let error = bench.run(&Hardware::emulated(device), "none", &mut Sink::default()).expect_err("it does not fit");
    assert!(matches!(error, TrainError::OutOfMemory { .. }), "{error}");
}
