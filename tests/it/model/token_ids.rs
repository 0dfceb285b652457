//! Token ids are sentence-transformers' own, on texts chosen to be awkward.

use std::time::Instant;

use matryo::data::tokenization::{CutEnd, TextTokenizer};
use serde::Deserialize;

use crate::helpers::reference::{fixture, minilm};

#[derive(Deserialize)]
struct Reference {
    max_seq_length: usize,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    input_ids: Vec<u32>,
}

#[test]
fn ids_are_those_of_sentence_transformers() {
    let Some(model) = minilm() else { return };
    let reference: Reference = fixture("reference/embeddings.json");
    assert_eq!((reference.max_seq_length, reference.items.len()), (256, 12));
    let tokenizer = TextTokenizer::from_file(&model.join("tokenizer.json"), 256).expect("it is a tokenizer");
    // Many more texts than cores, so that the order of the answers is put to the test.
    let texts: Vec<&str> = reference.items.iter().map(|item| item.text.as_str()).cycle().take(12 * 40).collect();
    let encoded = tokenizer.encode_batch(&texts).expect("any text can be encoded");
    for (ids, item) in encoded.iter().zip(reference.items.iter().cycle()) {
        assert_eq!(ids, &item.input_ids, "{:?}", item.text);
    }

    let long = reference.items.iter().find(|item| item.input_ids.len() == 256).expect("one text is too long");
    let uncut = tokenizer.encode_uncut(&long.text).expect("any text can be encoded");
    assert!(uncut.len() > 600 && uncut[..255] == long.input_ids[..255], "{} tokens", uncut.len());
    assert_eq!(tokenizer.count(&long.text).expect("any text can be encoded"), uncut.len());
    let end = tokenizer.encode_cut(&long.text, CutEnd::Left).expect("any text can be encoded");
    assert_eq!((end.len(), &end[..1], &end[1..]), (256, &uncut[..1], &uncut[uncut.len() - 255..]));
    assert_eq!(tokenizer.with_max_seq_length(16).encode_batch(&[&long.text]).expect("it can")[0].len(), 16);
    assert_eq!(tokenizer.vocab_size(), 30_522);
}

/// Long texts without a space, of one letter, or of characters that become words of their own must not stop a server.
#[test]
fn pathological_texts_take_no_time() {
    let Some(model) = minilm() else { return };
    let tokenizer = TextTokenizer::from_file(&model.join("tokenizer.json"), 256).expect("it is a tokenizer");
    for part in ["a", "é", "証", "[CLS]", "\u{200b}", "!", "word ", "\u{1F680}\u{FE0F}", "a\u{301}", "[", "[PA"] {
        let text = part.repeat(100_000 / part.chars().count());
        let started = Instant::now();
        let ids = tokenizer.encode_batch(&[&text]).expect("any text can be encoded");
        let took = started.elapsed();
        eprintln!("{part:?}: {} ids in {took:?}", ids[0].len());
        assert!(ids[0].len() <= 256 && took.as_secs_f64() < 2.0, "{part:?} took {took:?}");
    }
}
