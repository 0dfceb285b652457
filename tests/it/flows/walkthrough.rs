//! The README's walk-through, run as it is written, with real weights.

use std::process::Command;

use serde_json::Value;

use crate::helpers::page;
use crate::helpers::reference::minilm;

const SECTION: &str = "## Walk-through with curl";

/// How many numbers a JSON array holds, and their norm.
fn length(vector: &Value) -> (usize, f64) {
    let values: Vec<f64> = vector.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect();
    (values.len(), values.iter().map(|x| x * x).sum::<f64>().sqrt())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_walk_through_works_as_written() {
    let Some(model) = minilm() else { return };
    let readme = page::read("README.md");
    let section = readme.split_once(SECTION).expect("the README has a walk-through").1;
    let blocks = page::blocks(section.split("\n## ").next().expect("there is a first part"));
    let server = page::of_kind(&blocks, "sh server");
    assert!(server[0].contains("target/release/matryo serve --data-dir matryo-data"), "{}", server[0]);
    let client = page::of_kind(&blocks, "sh");
    assert!(client.len() >= 5 && client.len() + 1 == blocks.len(), "every block is run");
    let ran = page::run(server[0], &client, &model).await;
    let answers = &ran.answers;
    assert!(answers[0].contains("ready"), "{}", answers[0]);
    assert!(answers[1].contains("\"train_rows\":272"), "{}", answers[1]);
    let table: Vec<&str> = answers[2].lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 2 + 3, "a head, and epochs 0 to 2: {table:?}");
    assert!(answers[2].contains("succeeded") && answers[3].contains("\"is_best\":true"));
    let archive =
        Command::new("tar").args(["-tzf", "best.tar.gz"]).current_dir(ran.folder.path()).output().expect("tar");
    let names = String::from_utf8_lossy(&archive.stdout).into_owned();
    for name in ["model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json", "README.md"] {
        assert!(names.contains(name), "{name} is missing from {names}");
    }
    let vectors: Vec<Value> = serde_json::Deserializer::from_str(&answers[4])
        .into_iter::<Value>()
        .map(|value| value.expect("it is JSON"))
        .collect();
    let (tei, openai) = (&vectors[0][0], &vectors[1]["data"][0]["embedding"]);
    for vector in [tei, openai] {
        let (dimension, norm) = length(vector);
        assert!(dimension == 128 && (norm - 1.0).abs() < 1e-5, "{dimension} numbers of norm {norm}");
    }
    assert_eq!(tei, openai, "both shapes hold the same embedding");
}
