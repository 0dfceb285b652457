//! Awkward texts get the embeddings that sentence-transformers gives them.

use matryo::domain::Precision;
use matryo::model::{Purpose, SentenceEncoder, Workspace};
use serde::Deserialize;

use crate::helpers::reference::{fixture, minilm};

#[derive(Deserialize)]
struct Item {
    text: String,
    input_ids: Vec<u32>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Reference {
    items: Vec<Item>,
}

#[test]
fn awkward_texts_are_embedded_as_sentence_transformers_embeds_them() {
    let Some(model) = minilm() else { return };
    let reference: Reference = fixture("reference/embeddings.json");
    let encoder = SentenceEncoder::load(&model).expect("it is supported");
    let texts: Vec<&str> = reference.items.iter().map(|item| item.text.as_str()).collect();
    let sequences = encoder.tokenizer().encode_batch(&texts).expect("texts are tokenised");
    let mut workspace = Workspace::default();
    let together = encoder.encode(&sequences, &mut workspace, &mut |_| true).expect("nothing stops it");
    for (number, (item, embedding)) in reference.items.iter().zip(together.chunks(384)).enumerate() {
        assert_eq!(sequences[number], item.input_ids, "{:?}", item.text);
        let alone = encoder.encode(&sequences[number..=number], &mut workspace, &mut |_| true).expect("as before");
        for ((together, alone), expected) in embedding.iter().zip(&alone).zip(&item.embedding) {
            assert!((together - expected).abs() < 1e-5, "{:?}: {together} and {expected}", item.text);
            assert!((together - alone).abs() < 1e-6, "what else is in the pack makes no difference");
        }
    }
}

/// In bfloat16 the same texts stay near, and what else is in the pack still makes no difference.
#[test]
fn bf16_embeddings_stay_near() {
    let Some(model) = minilm() else { return };
    let reference: Reference = fixture("reference/embeddings.json");
    let encoder = SentenceEncoder::load_in(&model, Precision::Bf16, Purpose::Inference).expect("it is supported");
    let sequences: Vec<Vec<u32>> = reference.items.iter().map(|item| item.input_ids.clone()).collect();
    let mut workspace = Workspace::default();
    let together = encoder.encode(&sequences, &mut workspace, &mut |_| true).expect("nothing stops it");
    for (number, (item, embedding)) in reference.items.iter().zip(together.chunks(384)).enumerate() {
        // Both have length 1.
        let cosine: f32 = embedding.iter().zip(&item.embedding).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{:?}: cosine {cosine}", item.text);
        let alone = encoder.encode(&sequences[number..=number], &mut workspace, &mut |_| true).expect("as before");
        assert!(embedding.iter().zip(&alone).all(|(together, alone)| (together - alone).abs() < 1e-6));
    }
}
