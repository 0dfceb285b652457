//! The encoder's backward pass against differences of its forward pass, tensor by tensor, with dropout on.

use matryo::data::packing::PackedBatch;
use matryo::domain::Precision;
use matryo::model::{DropoutKey, DropoutPart, Purpose, SentenceEncoder, Workspace};
use matryo::training::losses::matryoshka::MatryoshkaLoss;

use crate::helpers::tiny_model::TinyModel;

/// Sequences of lengths from 1 to the model's limit, twice as many as pairs.
fn batch(encoder: &SentenceEncoder) -> PackedBatch {
    let longest = encoder.summary().max_seq_length;
    let lengths = [1, longest, 7, 2, 11, longest, 3, 5];
    let token = |sequence: usize, place: usize| 5 + ((sequence * 31 + place * 17 + place * place) % 90) as u32;
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .enumerate()
        .map(|(sequence, length)| (0..*length).map(|place| token(sequence, place)).collect())
        .collect();
    PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice))
}

fn loss(encoder: &SentenceEncoder, key: Option<DropoutKey>, gradients: Option<&mut [f32]>) -> f64 {
    let (batch, mut workspace) = (batch(encoder), Workspace::default());
    let embeddings = encoder.forward(&batch, key.as_ref(), &mut workspace).to_vec();
    let dimension = encoder.summary().dimension;
    let (anchors, positives) = embeddings.split_at(embeddings.len() / 2);
    let mut d = vec![0.0; embeddings.len()];
    let (d_anchors, d_positives) = d.split_at_mut(anchors.len());
    let loss = MatryoshkaLoss { dims: vec![dimension, dimension / 4], weights: vec![1.0, 0.5], scale: 3.0 };
    let output = loss.forward_backward(anchors, positives, dimension, 1.0, d_anchors, d_positives);
    if let Some(gradients) = gradients {
        encoder.backward(&batch, &d, &mut workspace, gradients);
    }
    output.total
}

/// Moves each tensor along its own gradient: the loss must change by the gradient's norm times the distance.
#[test]
fn every_tensor_gets_its_true_gradient() {
    let key = Some(DropoutKey::new(3, 9));
    for (pooling, normalize, key) in
        [("mean", true, None), ("mean", false, key.clone()), ("cls", true, key), ("max", false, None)]
    {
        let folder = tempfile::tempdir().unwrap();
        TinyModel { pooling, normalize, dropout: 0.2, ..TinyModel::default() }.write(folder.path());
        let mut encoder = SentenceEncoder::load(folder.path()).unwrap();
        let mut gradients = vec![0.0; encoder.parameters().flat.len()];
        loss(&encoder, key.clone(), Some(&mut gradients));
        for spec in encoder.parameters().specs.clone() {
            let place = spec.offset..spec.offset + spec.len;
            let gradient = &gradients[place.clone()];
            let norm = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            assert!(norm.is_finite(), "{}", spec.name);
            if spec.name.ends_with("key.bias") {
                assert!(norm < 1e-5, "{}: a softmax does not see it, yet its gradient is {norm}", spec.name);
                continue;
            }
            assert!(norm > 1e-6, "{} got no gradient", spec.name);
            let at = |encoder: &mut SentenceEncoder, by: f64| {
                let kept = encoder.parameters().flat[place.clone()].to_vec();
                encoder.update(|parameters| {
                    for (weight, d) in parameters.flat[place.clone()].iter_mut().zip(gradient) {
                        *weight += (by * f64::from(*d) / norm) as f32;
                    }
                });
                let moved = loss(encoder, key.clone(), None);
                encoder.update(|parameters| parameters.flat[place.clone()].copy_from_slice(&kept));
                moved
            };
            let distance = 0.01;
            let slope = (at(&mut encoder, distance) - at(&mut encoder, -distance)) / (2.0 * distance);
            let apart = (slope - norm).abs();
            assert!(apart < 0.02 * norm + 2e-4, "{} ({pooling}): norm {norm}, slope {slope}", spec.name);
        }
    }
}

/// The same pass in bfloat16: each tensor's gradient points where float32's does. On any CPU: in hardware or in plain Rust.
#[test]
fn bf16_gradients_are_near_those_of_float32() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { hidden: 64, intermediate: 256, dropout: 0.2, ..TinyModel::default() }.write(folder.path());
    let key = Some(DropoutKey::new(3, 9));
    let gradients = |precision| {
        let encoder = SentenceEncoder::load_in(folder.path(), precision, Purpose::Training).unwrap();
        let mut gradients = vec![0.0; encoder.parameters().flat.len()];
        let loss = loss(&encoder, key.clone(), Some(&mut gradients));
        (loss, gradients, encoder.parameters().specs.clone())
    };
    let (exact_loss, exact, specs) = gradients(Precision::Float32);
    let (near_loss, near, _) = gradients(Precision::Bf16);
    assert!((near_loss - exact_loss).abs() < 0.02 * exact_loss, "{near_loss} and {exact_loss}");
    assert_ne!(exact, near, "bfloat16 is not float32");
    for spec in specs.iter().filter(|spec| !spec.name.ends_with("key.bias")) {
        let place = spec.offset..spec.offset + spec.len;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (exact, near) = (&exact[place.clone()], &near[place]);
        let cosine = dot(exact, near) / (dot(exact, exact) * dot(near, near)).sqrt();
        assert!(cosine > 0.99, "{}: cosine {cosine}", spec.name);
        let ratio = (dot(near, near) / dot(exact, exact)).sqrt();
        assert!((ratio - 1.0).abs() < 0.05, "{}: {ratio} times as long", spec.name);
    }
}

#[test]
fn dropout_is_replayed_by_its_key_and_absent_without_one() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { dropout: 0.2, ..TinyModel::default() }.write(folder.path());
    let encoder = SentenceEncoder::load(folder.path()).unwrap();
    let key = |micro_batch| Some(DropoutKey::new(3, micro_batch));
    assert_eq!(loss(&encoder, key(1), None), loss(&encoder, key(1), None));
    assert_ne!(loss(&encoder, key(1), None), loss(&encoder, key(2), None));
    assert_ne!(loss(&encoder, key(1), None), loss(&encoder, None, None));
}

/// Sequences packed end to end give what each gives alone, forward and back: nothing of one leaks into another.
#[test]
fn packed_equals_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { hidden: 64, intermediate: 256, dropout: 0.2, ..TinyModel::default() }.write(folder.path());
    for precision in [Precision::Float32, Precision::Bf16] {
        let encoder = SentenceEncoder::load_in(folder.path(), precision, Purpose::Training).unwrap();
        let (batch, dimension) = (batch(&encoder), encoder.summary().dimension);
        let key = DropoutKey::new(3, 9);
        let d: Vec<f32> = (0..batch.sequences() * dimension).map(|i| ((i * 37) % 19) as f32 * 0.1 - 0.9).collect();
        let (mut workspace, mut packed) = (Workspace::default(), vec![0.0; encoder.parameters().flat.len()]);
        let together = encoder.forward(&batch, Some(&key), &mut workspace).to_vec();
        encoder.backward(&batch, &d, &mut workspace, &mut packed);
        let mut alone = vec![0.0; packed.len()];
        for (number, ends) in batch.cu_seqlens.windows(2).enumerate() {
            let one = PackedBatch::from_sequences([&batch.input_ids[ends[0]..ends[1]]]);
            let rows = number * dimension..(number + 1) * dimension;
            let place =
                DropoutPart { micro_batch: 9, sequence: 0, token: 0, first_sequence: number, first_token: ends[0] };
            let embedding = encoder.forward(&one, Some(&DropoutKey::of(3, [place])), &mut workspace);
            for (alone, together) in embedding.iter().zip(&together[rows.clone()]) {
                assert!((alone - together).abs() < 1e-5, "{precision}: {alone} and {together}");
            }
            encoder.backward(&one, &d[rows], &mut workspace, &mut alone);
        }
        let norm = packed.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let apart = packed.iter().zip(&alone).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        assert!(apart < 1e-5 * norm, "{precision}: {apart} of {norm}");
    }
}

/// Bit-identical results are what a resumed run stands on, whatever the number of threads.
#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { hidden: 64, intermediate: 256, dropout: 0.1, ..TinyModel::default() }.write(folder.path());
    for precision in [Precision::Float32, Precision::Bf16] {
        let encoder = SentenceEncoder::load_in(folder.path(), precision, Purpose::Training).unwrap();
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut gradients = vec![0.0; encoder.parameters().flat.len()];
            let key = Some(DropoutKey::new(1, 1));
            let loss = pool.install(|| loss(&encoder, key, Some(&mut gradients)));
            (loss, gradients)
        };
        let one = with_threads(1);
        assert!(one == with_threads(2) && one == with_threads(3), "{precision}");
    }
}
