//! The device's forward and backward, on the emulator, against the CPU's: embeddings, and every tensor's gradient.

use crate::data::packing::PackedBatch;
use crate::domain::Precision;
use crate::kernels::cuda::{Buffer, Device, emulator};
use crate::model::tiny_model::TinyModel;
use crate::model::{DropoutKey, DropoutPart, SentenceEncoder, Workspace};

use super::CudaEncoder;

/// Sequences of two micro-batches, the second from its third sequence on.
const LENGTHS: [usize; 7] = [1, 33, 7, 18, 64, 2, 20];

fn tiny() -> TinyModel {
    TinyModel { hidden: 64, heads: 2, intermediate: 128, dropout: 0.2, ..TinyModel::default() }
}

fn load(model: &TinyModel) -> SentenceEncoder {
    let folder = tempfile::tempdir().expect("a folder");
    model.write(folder.path());
    SentenceEncoder::load(folder.path()).expect("it is sound")
}

fn batch() -> PackedBatch {
    let token = |sequence: usize, place: usize| 5 + ((sequence * 31 + place * 17 + sequence * place) % 190) as u32;
    let sequence =
        |(number, length): (usize, &usize)| (0..*length).map(|place| token(number, place)).collect::<Vec<_>>();
    let sequences: Vec<Vec<u32>> = LENGTHS.iter().enumerate().map(sequence).collect();
    PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice))
}

fn key() -> DropoutKey {
    let part = |micro_batch, sequence, first_sequence, first_token| DropoutPart {
        micro_batch,
        sequence,
        token: LENGTHS[..sequence].iter().sum(),
        first_sequence,
        first_token,
    };
    DropoutKey::of(5, [part(3, 0, 0, 0), part(4, 3, 2, 9)])
}

fn d_embeddings(encoder: &SentenceEncoder) -> Vec<f32> {
    (0..LENGTHS.len() * encoder.summary().dimension).map(|place| ((place * 37) % 19) as f32 * 0.1 - 0.9).collect()
}

/// Embeddings, and gradients in the host's order.
fn on_host(encoder: &SentenceEncoder, key: Option<&DropoutKey>) -> (Vec<f32>, Vec<f32>) {
    let (batch, mut workspace) = (batch(), Workspace::default());
    let embeddings = encoder.forward(&batch, key, &mut workspace).to_vec();
    let mut gradients = vec![0.0; encoder.parameters().flat.len()];
    encoder.backward(&batch, &d_embeddings(encoder), &mut workspace, &mut gradients);
    (embeddings, gradients)
}

fn on_device(
    device: &Device,
    encoder: &SentenceEncoder,
    precision: Precision,
    key: Option<&DropoutKey>,
) -> (Vec<f32>, Vec<f32>) {
    let compute = || {
        let mut model = CudaEncoder::new(device, encoder, precision)?;
        let embeddings = Buffer::new(device, LENGTHS.len() * encoder.summary().dimension)?;
        let gradients = Buffer::zeros(device, encoder.parameters().flat.len())?;
        // Another pack before it, so that what is left in the workspace would show.
        let one = PackedBatch::from_sequences([&[7_u32; 64][..], &[9; 64], &[9; 64]]);
        let part = embeddings.view().part(0, 3 * encoder.summary().dimension);
        model.forward(&one, None, true, part)?;
        model.forward(&batch(), key, false, embeddings.view())?;
        let unkept = embeddings.to_vec()?;
        model.forward(&batch(), key, true, embeddings.view())?;
        assert_eq!(embeddings.to_vec()?, unkept, "the same bits, kept or not");
        let d_embeddings = Buffer::from_slice(device, &d_embeddings(encoder))?;
        model.backward(embeddings.view(), d_embeddings.view(), gradients.view())?;
        let mut host = vec![0.0; gradients.len()];
        model.layout().to_host(&gradients.to_vec()?, &mut host);
        Ok::<_, super::CudaModelError>((unkept, host))
    };
    compute().expect("the emulator fails at nothing")
}

fn norm(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// ‖a − b‖ / ‖b‖.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

fn check(model: &TinyModel, precision: Precision, key: Option<&DropoutKey>, tolerance: f64) {
    let encoder = load(model);
    let (expected, expected_gradients) = on_host(&encoder, key);
    let (embeddings, gradients) = on_device(&emulator::device(), &encoder, precision, key);
    let error = apart(&embeddings, &expected);
    assert!(error < tolerance, "{model:?}, {precision}: embeddings are {error} apart");
    for spec in &encoder.parameters().specs {
        let place = spec.offset..spec.offset + spec.len;
        let (gradient, expected) = (&gradients[place.clone()], &expected_gradients[place]);
        if spec.name.ends_with("key.bias") {
            // What is left is rounding, of gradients of a size of about 1.
            let (size, bound) = (norm(gradient.iter().copied()), 5.0 * tolerance);
            assert!(size < bound, "{}: a softmax does not see it, yet its gradient is {size}", spec.name);
            continue;
        }
        let error = apart(gradient, expected);
        // Rounding errors of bfloat16 add up on the way back.
        let bound = if precision == Precision::Float32 { tolerance } else { 4.0 * tolerance };
        assert!(error < bound, "{model:?}, {precision}: {} is {error} apart", spec.name);
    }
}

#[test]
fn float32_is_the_cpu_s() {
    for (pooling, normalize, key) in
        [("mean", true, Some(key())), ("cls", true, None), ("max", false, Some(key())), ("mean", false, None)]
    {
        check(&TinyModel { pooling, normalize, ..tiny() }, Precision::Float32, key.as_ref(), 2e-5);
    }
    // Heads of 16 and of 64, three layers.
    let model = TinyModel { heads: 4, layers: 3, ..tiny() };
    check(&model, Precision::Float32, Some(&key()), 2e-5);
    check(&TinyModel { heads: 1, ..tiny() }, Precision::Float32, Some(&key()), 2e-5);
}

#[test]
fn bf16_is_near_it() {
    for (pooling, normalize, key) in [("mean", true, Some(key())), ("cls", false, None)] {
        check(&TinyModel { pooling, normalize, ..tiny() }, Precision::Bf16, key.as_ref(), 1.5e-2);
    }
}

#[test]
fn what_a_device_does_not_compute_is_told() {
    let encoder = load(&TinyModel::default());
    let error = CudaEncoder::new(&emulator::device(), &encoder, Precision::Bf16).expect_err("its heads are of size 8");
    assert!(error.to_string().contains("heads are of size 8"), "{error}");
}

#[test]
fn too_little_memory_is_told_before_anything_is_computed() {
    let encoder = load(&tiny());
    let weights = encoder.parameters().flat.len() * 6;
    let device = emulator::device_with_memory(weights + (1 << 20));
    let mut model = CudaEncoder::new(&device, &encoder, Precision::Bf16).expect("the weights fit");
    assert!(model.reserve(100, 10, true).is_ok());
    let error = model.reserve(1 << 16, 10, true).expect_err("this is too much");
    assert!(matches!(error, crate::kernels::cuda::CudaError::OutOfMemory { .. }), "{error}");
}
