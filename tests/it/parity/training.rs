//! One batch's loss and gradients, and optimizer steps, against PyTorch's, from real weights: on the recipe's pairs, which
//! are not part of the repository, and on the shipped sample data, which is.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use matryo::data::packing::PackedBatch;
use matryo::domain::{LrSchedulerType, Precision};
use matryo::model::{Purpose, SentenceEncoder, Workspace};
use matryo::training::LrSchedule;
use matryo::training::losses::matryoshka::{LossOutput, MatryoshkaLoss};
use matryo::training::optimizer::{AdamW, AdamWConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::helpers::reference::{fixture, minilm, shared};

const DIMENSION: usize = 384;

/// Anchor and positive by the row's id.
fn rows(path: &Path) -> HashMap<Value, [String; 2]> {
    #[derive(Deserialize)]
    struct Row {
        id: Value,
        anchor: String,
        positive: String,
    }
    let text = fs::read_to_string(path).expect("it can be read");
    let row = |line: &str| serde_json::from_str::<Row>(line).expect("it is JSON Lines");
    text.lines().map(row).map(|row| (row.id, [row.anchor, row.positive])).collect()
}

/// Trains without dropout on micro-batches given by their rows' ids.
struct Run {
    encoder: SentenceEncoder,
    rows: HashMap<Value, [String; 2]>,
    loss: MatryoshkaLoss,
    workspace: Workspace,
    gradients: Vec<f32>,
}

impl Run {
    fn new(model: &Path, data: &Path, precision: Precision) -> Self {
        let encoder = SentenceEncoder::load_in(model, precision, Purpose::Training).expect("it is supported");
        let gradients = vec![0.0; encoder.parameters().flat.len()];
        Self {
            encoder,
            rows: rows(data),
            loss: MatryoshkaLoss { dims: vec![384, 256, 128, 64], weights: vec![1.0; 4], scale: 20.0 },
            workspace: Workspace::default(),
            gradients,
        }
    }

    fn micro_batch(&mut self, ids: &[Value], factor: f32) -> LossOutput {
        let texts: Vec<&str> = (0..2)
            .flat_map(|side| ids.iter().map(move |id| (id, side)))
            .map(|(id, side)| self.rows[id][side].as_str())
            .collect();
        let sequences = self.encoder.tokenizer().encode_batch(&texts).expect("texts are tokenised");
        let batch = PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice));
        let embeddings = self.encoder.forward(&batch, None, &mut self.workspace).to_vec();
        let (anchors, positives) = embeddings.split_at(ids.len() * DIMENSION);
        let mut d_embeddings = vec![0.0; embeddings.len()];
        let (d_anchors, d_positives) = d_embeddings.split_at_mut(anchors.len());
        let output = self.loss.forward_backward(anchors, positives, DIMENSION, factor, d_anchors, d_positives);
        self.encoder.backward(&batch, &d_embeddings, &mut self.workspace, &mut self.gradients);
        output
    }
}

fn relative(value: f64, expected: f64) -> f64 {
    (value - expected).abs() / expected.abs()
}

#[derive(Deserialize)]
struct OneBatch {
    ids: Vec<Value>,
    loss: f64,
    loss_per_dim: BTreeMap<usize, f64>,
    grads: BTreeMap<String, Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    head: Vec<f64>,
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/annual-reports/train.jsonl")
}

#[test]
fn one_batch_has_the_loss_and_the_gradients_of_pytorch() {
    let (Some(model), Some(data)) = (minilm(), shared("data/train.jsonl")) else { return };
    check_batch(&model, &data, &fixture("reference/one_batch.json"));
}

#[test]
fn so_has_a_batch_of_the_sample_data() {
    let Some(model) = minilm() else { return };
    check_batch(&model, &samples(), &fixture("reference/samples_one_batch.json"));
}

fn check_batch(model: &Path, data: &Path, expected: &OneBatch) {
    let mut run = Run::new(model, data, Precision::Float32);
    let output = run.micro_batch(&expected.ids, 1.0);
    assert!(relative(output.total, expected.loss) < 1e-5, "{} and {}", output.total, expected.loss);
    for (dim, loss) in run.loss.dims.iter().zip(&output.per_dim) {
        assert!(relative(*loss, expected.loss_per_dim[dim]) < 1e-5, "dimension {dim}: {loss}");
    }
    let specs = &run.encoder.parameters().specs;
    assert_eq!((specs.len(), expected.grads.len()), (101, 101));
    for spec in specs {
        let gradient = &run.gradients[spec.offset..spec.offset + spec.len];
        let norm = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let Gradient { norm: expected, head } = &expected.grads[&spec.name];
        if spec.name.ends_with("key.bias") {
            // Zero but for rounding, on either side: it adds the same to every score of a softmax.
            assert!(norm < 1e-6 && *expected < 1e-6, "{}: {norm} and {expected}", spec.name);
            continue;
        }
        assert!(relative(norm, *expected) < 1e-4, "{}: norm {norm} and {expected}", spec.name);
        for (value, expected) in gradient.iter().zip(head) {
            assert!((f64::from(*value) - expected).abs() < 1e-4 * norm, "{}: {value} and {expected}", spec.name);
        }
    }
}

#[derive(Deserialize)]
struct Steps {
    accumulation: usize,
    batches: Vec<Vec<Value>>,
    log: Vec<Step>,
    after: Vec<After>,
}

#[derive(Deserialize)]
struct Step {
    lr: f64,
    loss: f64,
    grad_norm: f64,
}

#[derive(Deserialize)]
struct After {
    text: String,
    embedding: Vec<f64>,
}

#[test]
fn eight_steps_go_as_pytorch_goes() {
    let (Some(model), Some(data)) = (minilm(), shared("data/train.jsonl")) else { return };
    check_steps(&model, &data, &fixture("reference/eight_steps.json"), FLOAT32);
}

/// Eight steps in bfloat16 stay near PyTorch's in float32.
#[test]
fn eight_steps_in_bf16_stay_near() {
    let (Some(model), Some(data)) = (minilm(), shared("data/train.jsonl")) else { return };
    check_steps(&model, &data, &fixture("reference/eight_steps.json"), BF16);
}

#[test]
fn so_do_steps_on_the_sample_data() {
    let Some(model) = minilm() else { return };
    check_steps(&model, &samples(), &fixture("reference/samples_steps.json"), FLOAT32);
}

#[test]
fn so_do_steps_on_the_sample_data_in_bf16() {
    let Some(model) = minilm() else { return };
    check_steps(&model, &samples(), &fixture("reference/samples_steps.json"), BF16);
}

/// How near a precision comes.
struct Tolerance {
    precision: Precision,
    loss: f64,
    grad_norm: f64,
    cosine: f64,
}

const FLOAT32: Tolerance = Tolerance { precision: Precision::Float32, loss: 1e-3, grad_norm: 1e-3, cosine: 0.99999 };
const BF16: Tolerance = Tolerance { precision: Precision::Bf16, loss: 2e-2, grad_norm: 2e-2, cosine: 0.9995 };

fn check_steps(model: &Path, data: &Path, expected: &Steps, tolerance: Tolerance) {
    let mut run = Run::new(model, data, tolerance.precision);
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, max_grad_norm: 1.0 };
    let mut optimizer = AdamW::new(config, &run.encoder.parameters().specs);
    let schedule = LrSchedule {
        kind: LrSchedulerType::Cosine,
        peak: 2e-5,
        warmup_steps: 1,
        total_steps: expected.log.len() as u64,
    };
    let share = 1.0 / expected.accumulation as f32;
    for (number, (window, step)) in expected.batches.chunks(expected.accumulation).zip(&expected.log).enumerate() {
        run.gradients.fill(0.0);
        let losses: Vec<f64> = window.iter().map(|ids| run.micro_batch(ids, share).total).collect();
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        let rate = schedule.at(number as u64);
        let norm = run.encoder.update(|parameters| optimizer.step(parameters, &run.gradients, rate));
        assert!((rate - step.lr).abs() < 1e-12, "step {number}: rate {rate} and {}", step.lr);
        assert!(relative(loss, step.loss) < tolerance.loss, "step {number}: loss {loss} and {}", step.loss);
        let apart = relative(norm, step.grad_norm);
        assert!(apart < tolerance.grad_norm, "step {number}: norm {norm} and {}", step.grad_norm);
    }
    for after in &expected.after {
        let sequences = run.encoder.tokenizer().encode_batch(&[&after.text]).expect("it is tokenised");
        let embedding = run.encoder.encode(&sequences, &mut run.workspace, &mut |_| true).expect("nothing stops it");
        let dot: f64 = embedding.iter().zip(&after.embedding).map(|(a, b)| f64::from(*a) * b).sum();
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let lengths =
            length(&mut embedding.iter().map(|x| f64::from(*x))) * length(&mut after.embedding.iter().copied());
        assert!(dot / lengths > tolerance.cosine, "{:?}: cosine {}", after.text, dot / lengths);
    }
}
