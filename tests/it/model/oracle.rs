//! Token embeddings against candle-transformers' BERT, which computes them in its own way.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use matryo::data::packing::PackedBatch;
use matryo::domain::Precision;
use matryo::model::{DropoutKey, Purpose, SentenceEncoder, Workspace};

use crate::helpers::tiny_model::TinyModel;

/// With CLS pooling and without normalising, an embedding is the first token's output.
#[test]
fn forward_is_that_of_candle_transformers() {
    for (layers, hidden, heads) in [(1, 32, 1), (2, 32, 4), (3, 48, 6)] {
        let folder = tempfile::tempdir().unwrap();
        let model = TinyModel { layers, hidden, heads, pooling: "cls", normalize: false, ..TinyModel::default() };
        model.write(folder.path());
        let encoder = SentenceEncoder::load(folder.path()).unwrap();
        let config: Config =
            serde_json::from_slice(&std::fs::read(folder.path().join("config.json")).unwrap()).unwrap();
        let tensors = candle_core::safetensors::load(folder.path().join("model.safetensors"), &Device::Cpu).unwrap();
        let oracle = BertModel::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config).unwrap();

        let sequences: Vec<Vec<u32>> = [1, 2, 9, encoder.summary().max_seq_length]
            .iter()
            .map(|length| (0..*length).map(|place| 5 + ((place * 13 + length) % 80) as u32).collect())
            .collect();
        let batch = PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice));
        let mut workspace = Workspace::default();
        let embeddings = encoder.forward(&batch, None, &mut workspace);
        for (sequence, embedding) in sequences.iter().zip(embeddings.chunks(hidden)) {
            let ids = Tensor::new(sequence.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let output = oracle.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
            let expected: Vec<f32> = output.get(0).unwrap().get(0).unwrap().to_vec1().unwrap();
            for (value, expected) in embedding.iter().zip(&expected) {
                // candle's exact GELU is its `gelu_erf`, right to float32's last digits, as ours is.
                assert!((value - expected).abs() < 2e-5, "{value} and {expected}");
            }
        }
    }
}

/// Whether threads divide rows or weights, what keeps nothing for a backward gives the bits of what does.
#[test]
fn a_forward_without_backward_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    TinyModel { hidden: 48, heads: 6, ..TinyModel::default() }.write(folder.path());
    for precision in [Precision::Float32, Precision::Bf16] {
        let encoder = SentenceEncoder::load_in(folder.path(), precision, Purpose::Training).unwrap();
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for lengths in [&[1][..], &[7], &[13], &[20, 3], &[31, 1], &[32, 1, 15], &[49], &[60, 60, 60]] {
                let sequences: Vec<Vec<u32>> = lengths
                    .iter()
                    .map(|length| (0..*length).map(|place| 5 + (place * 11 + length) % 80).collect())
                    .collect();
                let batch = PackedBatch::from_sequences(sequences.iter().map(Vec::as_slice));
                let mut workspace = Workspace::default();
                let dropout = Some(DropoutKey::new(3, 5));
                for key in [None, dropout.as_ref()] {
                    let kept = pool.install(|| encoder.forward(&batch, key, &mut workspace).to_vec());
                    let unkept = pool.install(|| encoder.forward_unkept(&batch, key, &mut workspace).to_vec());
                    assert_eq!(unkept, kept, "{precision:?} {threads} threads {lengths:?}");
                }
            }
        }
    }
}
