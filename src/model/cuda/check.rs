//! A whole model on a device held against the CPU's float32: embeddings, and the gradient of every tensor.

use crate::data::packing::PackedBatch;
use crate::domain::Precision;
use crate::kernels::cuda::{Buffer, Device};
use crate::kernels::{Hardware, KernelComparison};
use crate::model::{DropoutKey, ModelError, SentenceEncoder, Workspace};

use super::{CudaEncoder, CudaModelError};

/// What is allowed: TF32's products are of 11 bits, bfloat16 is of 8, and errors add up on the way back.
const FLOAT32: [f64; 2] = [5e-3, 2e-2];
const BF16: [f64; 2] = [3e-2, 1.2e-1];
const SEQUENCES: usize = 24;

/// Embeds made-up sequences with dropout, and goes back from a made-up gradient, there and here.
///
/// # Errors
/// Where there is no GPU, it does not compute such a model, or it fails.
pub fn check_model(hardware: &Hardware, encoder: &SentenceEncoder) -> Result<Vec<KernelComparison>, ModelError> {
    let device = hardware.gpu().ok_or_else(|| ModelError::Device("this is no GPU".into()))?;
    let (batch, key) = (batch(encoder), DropoutKey::new(3, 9));
    let d: Vec<f32> = (0..batch.sequences() * encoder.summary().dimension)
        .map(|place| ((place * 37) % 19) as f32 * 0.1 - 0.9)
        .collect();
    let mut workspace = Workspace::default();
    let expected = encoder.forward(&batch, Some(&key), &mut workspace).to_vec();
    let mut expected_gradients = vec![0.0; encoder.parameters().flat.len()];
    encoder.backward(&batch, &d, &mut workspace, &mut expected_gradients);

    let mut comparisons = Vec::new();
    for (precision, tolerance) in [(Precision::Float32, FLOAT32), (Precision::Bf16, BF16)] {
        let (embeddings, gradients) =
            compute(device, encoder, precision, &batch, &key, &d).map_err(|error| match error {
                CudaModelError::Model(error) => error,
                CudaModelError::Cuda(error) => ModelError::Device(error.to_string()),
            })?;
        comparisons.push(compare(format!("embeddings in {precision}"), &embeddings, &expected, tolerance[0]));
        // A softmax does not see the keys' biases: their gradients are rounding.
        for spec in encoder.parameters().specs.iter().filter(|spec| !spec.name.ends_with("key.bias")) {
            let place = spec.offset..spec.offset + spec.len;
            let (gradient, expected) = (&gradients[place.clone()], &expected_gradients[place]);
            comparisons.push(compare(
                format!("gradient of {} in {precision}", spec.name),
                gradient,
                expected,
                tolerance[1],
            ));
        }
    }
    Ok(comparisons)
}

/// Sequences of many lengths up to the model's limit.
fn batch(encoder: &SentenceEncoder) -> PackedBatch {
    let (most, vocabulary) = (encoder.tokenizer().max_seq_length(), encoder.config().vocab_size);
    let length = |number: usize| 1 + (number * 37 + number * number) % most;
    let token = |number: usize, place: usize| ((number * 7919 + place * 104_729 + number * place) % vocabulary) as u32;
    let sequences: Vec<Vec<u32>> =
        (0..SEQUENCES).map(|number| (0..length(number)).map(|place| token(number, place)).collect()).collect();
    PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice))
}

fn compute(
    device: &Device,
    encoder: &SentenceEncoder,
    precision: Precision,
    batch: &PackedBatch,
    key: &DropoutKey,
    d: &[f32],
) -> Result<(Vec<f32>, Vec<f32>), CudaModelError> {
    let mut model = CudaEncoder::new(device, encoder, precision)?;
    let embeddings = Buffer::new(device, d.len())?;
    let gradients = Buffer::zeros(device, encoder.parameters().flat.len())?;
    model.forward(batch, Some(key), true, embeddings.view())?;
    let d = Buffer::from_slice(device, d)?;
    model.backward(embeddings.view(), d.view(), gradients.view())?;
    let mut host = vec![0.0; gradients.len()];
    model.layout().to_host(&gradients.to_vec()?, &mut host);
    Ok((embeddings.to_vec()?, host))
}

/// ‖result − expected‖ / ‖expected‖.
fn compare(name: String, result: &[f32], expected: &[f32], tolerance: f64) -> KernelComparison {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let apart = norm(&mut result.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let error = apart / norm(&mut expected.iter().map(|value| f64::from(*value)));
    KernelComparison {
        name,
        error: Some(error).filter(|error| error.is_finite()),
        tolerance,
        holds: error <= tolerance,
    }
}
