//! A micro-batch computed in many packs against the same one computed at once, and micro-batches computed as one against
//! the same ones in turn, with dropout on.

use std::cell::Cell;

use matryo::model::SentenceEncoder;
use matryo::training::TrainError;
use matryo::training::engine::{CpuEngine, Engine, Limits};
use matryo::training::losses::matryoshka::MatryoshkaLoss;
use matryo::training::micro_batch::Group;
use matryo::training::optimizer::{AdamW, AdamWConfig};
use matryo::training::profile::Spent;

use crate::helpers::tiny_model::TinyModel;

const SEED: Option<u64> = Some(3);

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

fn engine(encoder: SentenceEncoder) -> CpuEngine {
    let dimension = encoder.summary().dimension;
    let loss = MatryoshkaLoss { dims: vec![dimension, dimension / 4], weights: vec![1.0, 0.5], scale: 20.0 };
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, max_grad_norm: 1.0 };
    let optimizer = AdamW::new(config, &encoder.parameters().specs);
    CpuEngine::new(encoder, optimizer, loss)
}

fn limits(pack: usize) -> Limits {
    Limits { pack, group: 0 }
}

/// One micro-batch in packs within a budget.
fn pack(sequences: &[Vec<u32>], budget: usize) -> Group {
    let micro_batch = (9, sequences.iter().map(Vec::as_slice).collect());
    Group::pack([micro_batch], limits(budget)).pop().unwrap()
}

fn compute(model: &TinyModel, groups: &[Group], share: f64) -> (f64, Vec<f32>) {
    let mut engine = engine(encoder(model));
    for group in groups {
        group.compute(&mut engine, SEED, share, &mut Spent::default(), &|| true).unwrap();
    }
    (engine.step_loss(), engine.gradients().to_vec())
}

/// Both losses and every gradient agree within 1e-5, the gradients as a share of their tensor's norm too.
fn assert_equal(model: &TinyModel, case: &str, (loss, gradients): &(f64, Vec<f32>), expected: &(f64, Vec<f32>)) {
    let (expected_loss, expected) = expected;
    assert!((loss - expected_loss).abs() < 1e-5 * expected_loss, "{case}: {loss} and {expected_loss}");
    for spec in &encoder(model).parameters().specs {
        let place = spec.offset..spec.offset + spec.len;
        let (gradient, expected) = (&gradients[place.clone()], &expected[place]);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let apart = norm(&mut gradient.iter().zip(expected).map(|(a, b)| f64::from(a - b)));
        let length = norm(&mut expected.iter().map(|x| f64::from(*x)));
        let bound = if spec.name.ends_with("key.bias") { 1e-5 } else { 1e-5 * length.min(1.0) };
        assert!(apart < bound, "{case}, {}: {apart} apart at a norm of {length}", spec.name);
    }
}

fn check(model: &TinyModel, pairs: usize, budgets: &[usize]) {
    let sequences = sequences(pairs);
    let plain = pack(&sequences, usize::MAX);
    assert_eq!(plain.packs(), 1);
    let expected = compute(model, &[plain], 1.0);
    for budget in budgets {
        let cached = pack(&sequences, *budget);
        assert!(cached.packs() > 10, "{budget}: {} packs", cached.packs());
        assert_equal(model, &format!("packs of {budget}"), &compute(model, &[cached], 1.0), &expected);
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
        check(&model, 24, &[1, 17, 30]);
    }
}

#[test]
fn so_they_do_at_4096_pairs() {
    check(&TinyModel::default(), 4096, &[1000]);
}

/// An optimizer step's micro-batches as one pass, with the loss block-diagonal, against one after the other, whose gradients
/// are accumulated; with dropout, with a shorter one at the end, and also where the one pass is cut into packs in turn.
#[test]
fn micro_batches_computed_as_one_give_what_they_give_one_by_one() {
    for model in [TinyModel::default(), TinyModel { pooling: "cls", ..TinyModel::default() }] {
        let sequences = sequences(16 * 4 + 3);
        let micro_batches = || {
            let (whole, rest) = sequences.split_at(2 * 16 * 4);
            let whole = whole.chunks(2 * 16).chain([rest]);
            (7_u64..).zip(whole).map(|(number, sequences)| (number, sequences.iter().map(Vec::as_slice).collect()))
        };
        let within = |pack, group| Group::pack(micro_batches(), Limits { pack, group });
        let one_by_one = within(usize::MAX, 0);
        assert_eq!(one_by_one.len(), 5);
        let expected = compute(&model, &one_by_one, 0.2);

        let as_one = within(usize::MAX, usize::MAX);
        assert_eq!((as_one.len(), as_one[0].packs(), as_one[0].micro_batches()), (1, 1, 5));
        assert_equal(&model, "as one", &compute(&model, &as_one, 0.2), &expected);

        let two_or_so = within(usize::MAX, 600);
        assert!(two_or_so.len() > 1 && two_or_so[0].micro_batches() > 1);
        assert_equal(&model, "two or so at once", &compute(&model, &two_or_so, 0.2), &expected);

        // Packs that end within micro-batches, and hold parts of several.
        let cut = within(100, usize::MAX);
        assert!(cut[0].packs() > 5);
        assert_equal(&model, "as one, in packs", &compute(&model, &cut, 0.2), &expected);
        assert_eq!(as_one[0].within(Limits { pack: 100, group: usize::MAX }), cut);
        assert_eq!(cut[0].within(Limits { pack: usize::MAX, group: 0 }), one_by_one);
    }
}

#[test]
fn the_same_packs_give_the_same_bits_on_any_number_of_threads() {
    let group = pack(&sequences(100), 100);
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compute(&TinyModel::default(), std::slice::from_ref(&group), 1.0))
    };
    assert!(with_threads(1) == with_threads(3));
}

#[test]
fn a_run_may_stop_between_packs() {
    let group = pack(&sequences(20), 50);
    // Each pack goes forward, and each but the last again.
    let times = 2 * group.packs() - 1;
    for stop_at in [1, group.packs() + 1, times] {
        let asked = Cell::new(0);
        let keep_going = || {
            asked.set(asked.get() + 1);
            asked.get() < stop_at
        };
        let mut engine = engine(encoder(&TinyModel::default()));
        let result = group.compute(&mut engine, SEED, 1.0, &mut Spent::default(), &keep_going);
        assert!(matches!(result, Err(TrainError::Cancelled)), "{result:?}");
        assert_eq!(asked.get(), stop_at);
    }
}

#[test]
fn the_budget_keeps_the_recipe_in_one_pack_and_bounds_a_large_model() {
    let tokens = |hidden, layers, intermediate| {
        let model = TinyModel { hidden, layers, intermediate, heads: 12, ..TinyModel::default() };
        engine(encoder(&model)).limits().pack
    };
    // The recipe's micro-batches of 32 pairs have 2,100 tokens on average.
    assert!((12_000..20_000).contains(&tokens(384, 6, 1536)), "MiniLM");
    assert!((4_000..6_000).contains(&tokens(768, 12, 3072)), "BERT-base");
}
