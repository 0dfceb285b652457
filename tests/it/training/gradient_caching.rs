//! A micro-batch computed in many packs against the same one computed at once, with dropout on.

use std::cell::Cell;

use matryo::model::{DropoutKey, SentenceEncoder};
use matryo::training::TrainError;
use matryo::training::losses::matryoshka::{LossOutput, MatryoshkaLoss};
use matryo::training::micro_batch::{GradientAccumulator, MicroBatch, token_budget};
use matryo::training::profile::Spent;

use crate::helpers::tiny_model::TinyModel;

const DROPOUT: Option<DropoutKey> = Some(DropoutKey { seed: 3, micro_batch: 9, first_sequence: 0, first_token: 0 });

fn encoder(model: &TinyModel) -> SentenceEncoder {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { dropout: 0.2, ..model.clone() }.write(folder.path());
    SentenceEncoder::load(folder.path()).unwrap()
}

/// Anchors, then positives, of lengths from 1 to 15.
fn sequences(pairs: usize) -> Vec<Vec<u32>> {
    let token = |sequence: usize, place: usize| 5 + ((sequence * 31 + place * 17 + sequence * place) % 190) as u32;
    (0..2 * pairs).map(|sequence| (0..1 + (sequence * 7) % 15).map(|place| token(sequence, place)).collect()).collect()
}

fn accumulator(encoder: &SentenceEncoder) -> GradientAccumulator {
    let dimension = encoder.summary().dimension;
    let loss = MatryoshkaLoss { dims: vec![dimension, dimension / 4], weights: vec![1.0, 0.5], scale: 20.0 };
    GradientAccumulator::new(encoder, loss)
}

fn compute(encoder: &SentenceEncoder, micro_batch: &MicroBatch) -> (LossOutput, Vec<f32>) {
    let mut accumulator = accumulator(encoder);
    let output = accumulator.add(encoder, micro_batch, DROPOUT, 1.0, &mut Spent::default(), &|| true).unwrap();
    (output, accumulator.gradients().to_vec())
}

/// Loss and every gradient agree within 1e-5, the gradients as a share of their tensor's norm too.
fn check(encoder: &SentenceEncoder, pairs: usize, budgets: &[usize]) {
    let sequences = sequences(pairs);
    let pack = |budget| MicroBatch::pack(sequences.iter().map(Vec::as_slice), budget);
    let plain = pack(usize::MAX);
    assert_eq!(plain.packs(), 1);
    let (expected, plain) = compute(encoder, &plain);
    for budget in budgets {
        let cached = pack(*budget);
        assert!(cached.packs() > 10, "{budget}: {} packs", cached.packs());
        let (output, cached) = compute(encoder, &cached);
        assert!((output.total - expected.total).abs() < 1e-5 * expected.total, "{output:?} and {expected:?}");
        for spec in &encoder.parameters().specs {
            let place = spec.offset..spec.offset + spec.len;
            let (cached, plain) = (&cached[place.clone()], &plain[place]);
            let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
            let apart = norm(&mut cached.iter().zip(plain).map(|(a, b)| f64::from(a - b)));
            let length = norm(&mut plain.iter().map(|x| f64::from(*x)));
            let bound = if spec.name.ends_with("key.bias") { 1e-5 } else { 1e-5 * length.min(1.0) };
            assert!(apart < bound, "{budget}, {}: {apart} apart at a norm of {length}", spec.name);
        }
    }
}

#[test]
fn packs_give_the_loss_and_the_gradients_of_the_whole() {
    for model in [
        TinyModel::default(),
        TinyModel { pooling: "cls", normalize: false, ..TinyModel::default() },
        TinyModel { pooling: "max", layers: 3, ..TinyModel::default() },
    ] {
        // The smallest budget gives each sequence a pack of its own.
        check(&encoder(&model), 24, &[1, 17, 30]);
    }
}

#[test]
fn so_they_do_at_4096_pairs() {
    check(&encoder(&TinyModel::default()), 4096, &[1000]);
}

#[test]
fn the_same_packs_give_the_same_bits_on_any_number_of_threads() {
    let encoder = encoder(&TinyModel::default());
    let sequences = sequences(100);
    let micro_batch = MicroBatch::pack(sequences.iter().map(Vec::as_slice), 100);
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compute(&encoder, &micro_batch))
    };
    assert!(with_threads(1) == with_threads(3));
}

#[test]
fn a_run_may_stop_between_packs() {
    let encoder = encoder(&TinyModel::default());
    let sequences = sequences(20);
    let micro_batch = MicroBatch::pack(sequences.iter().map(Vec::as_slice), 50);
    // Each pack goes forward, and each but the last again.
    let times = 2 * micro_batch.packs() - 1;
    for stop_at in [1, micro_batch.packs() + 1, times] {
        let asked = Cell::new(0);
        let keep_going = || {
            asked.set(asked.get() + 1);
            asked.get() < stop_at
        };
        let result =
            accumulator(&encoder).add(&encoder, &micro_batch, DROPOUT, 1.0, &mut Spent::default(), &keep_going);
        assert!(matches!(result, Err(TrainError::Cancelled)), "{result:?}");
        assert_eq!(asked.get(), stop_at);
    }
}

#[test]
fn the_budget_keeps_the_recipe_in_one_pack_and_bounds_a_large_model() {
    let tokens = |hidden, layers, intermediate| {
        let model = TinyModel { hidden, layers, intermediate, heads: 12, ..TinyModel::default() };
        token_budget(&encoder(&model))
    };
    // The recipe's micro-batches of 32 pairs have 2,100 tokens on average.
    assert!((12_000..20_000).contains(&tokens(384, 6, 1536)), "MiniLM");
    assert!((4_000..6_000).contains(&tokens(768, 12, 3072)), "BERT-base");
}
