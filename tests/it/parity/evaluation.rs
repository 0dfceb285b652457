//! The untrained MiniLM scores what sentence-transformers' InformationRetrievalEvaluator gives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use matryo::domain::Pair;
use matryo::evaluation::evaluate_model;
use matryo::evaluation::information_retrieval::RetrievalTask;
use matryo::model::SentenceEncoder;

use crate::helpers::reference::{minilm, shared};

fn pairs(path: &Path) -> Vec<Pair> {
    let text = fs::read_to_string(path).expect("it can be read");
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("it is JSON Lines");
        let text = |field: &str| row[field].as_str().expect("it is text").to_owned();
        Pair { id: row["id"].to_string(), anchor: text("anchor"), positive: text("positive") }
    };
    text.lines().map(row).collect()
}

/// Where embeddings agree to rounding, metrics agree to 1e-6 but for near ties: these may move one query in 700, which
/// moves a mean by at most 1/700.
#[test]
fn the_baseline_is_that_of_sentence_transformers() {
    let (Some(model), Some(data), Some(expected)) =
        (minilm(), shared("data"), shared("reference/minilm_baseline_eval.json"))
    else {
        return;
    };
    let expected: BTreeMap<String, f64> =
        serde_json::from_slice(&fs::read(expected).expect("it can be read")).expect("it is JSON");
    let encoder = SentenceEncoder::load(&model).expect("it is supported");
    let task = RetrievalTask::from_pairs(&pairs(&data.join("train.jsonl")), &pairs(&data.join("test.jsonl")), false);
    assert_eq!((task.queries.len(), task.corpus.len(), task.capped_queries), (700, 7000, 33));

    let metrics =
        evaluate_model(&encoder, &task, &[384, 256, 128, 64], None, &mut |_, _| true).expect("nothing stops it");
    assert!(metrics.values.keys().eq(expected.keys()), "{:?}", metrics.values.keys());
    let one_query = 1.0 / task.queries.len() as f64;
    let mut moved = 0;
    for (key, expected) in &expected {
        let apart = (metrics.values[key] - expected).abs();
        assert!(apart <= one_query + 1e-6, "{key}: {}, not {expected}", metrics.values[key]);
        moved += usize::from(apart > 1e-6);
    }
    eprintln!("{moved} of {} metrics differ by more than 1e-6, none by more than one query", expected.len());
}
