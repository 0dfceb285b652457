//! The pages below docs, their commands run as they are written. In place of all-MiniLM-L6-v2 stands a model of its
//! embeddings' length that is trained in a moment.

use std::path::Path;

use matryo::store::Store;
use tempfile::TempDir;

use crate::helpers::page::{self, Ran};
use crate::helpers::tiny_model::TinyModel;

/// Runs a page below docs. What other pages take for granted, a service and a base model, is what the tutorial begins with.
async fn run(name: &str) -> Ran {
    let tutorial = page::blocks(&page::read("docs/tutorial.md"));
    let blocks = page::blocks(&page::read(&format!("docs/{name}.md")));
    let mut client = page::of_kind(&blocks, "sh");
    assert!(!client.is_empty());
    let not_run = ["sh", "sh server", "json", "console", "text"];
    assert!(blocks.iter().all(|(kind, _)| not_run.contains(&kind.as_str())), "a fence that this test does not know");
    if name != "tutorial" {
        client.insert(0, page::of_kind(&tutorial, "sh")[0]);
    }
    let model = model();
    let server = page::of_kind(&tutorial, "sh server")[0];
    let mut ran = page::run(server, &client, model.path()).await;
    if name != "tutorial" {
        ran.answers.remove(0);
    }
    ran
}

fn model() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let model = TinyModel { layers: 1, hidden: 384, heads: 4, max_seq_length: 16, ..TinyModel::default() };
    model.write(folder.path());
    folder
}

#[track_caller]
fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing from: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial() {
    let ran = run("tutorial").await;
    let answers = &ran.answers;
    assert_has(&answers[1], &["anchor", "positive"]);
    assert_has(&answers[2], &["\"type\":\"step\"", "\"type\":\"checkpoint\"", "succeeded"]);
    let table: Vec<&str> = answers[3].trim().lines().collect();
    assert_eq!(table.len(), 1 + 3, "{table:?}");
    let dims = ["384", "256", "128", "64"].map(|dim| format!("Dim {dim} Cosine Ndcg@10"));
    assert_eq!(table[0], format!("Epoch,Training Loss,{}", dims.join(",")));
    let embedded: serde_json::Value = serde_json::from_str(&answers[4]).expect("it is JSON");
    assert_eq!(embedded["data"][0]["embedding"].as_array().map(Vec::len), Some(64));
    assert_has(&answers[5], &["model.safetensors", "modules.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_formats() {
    let ran = run("data-formats").await;
    for answer in &ran.answers[..2] {
        assert_has(answer, &["\"train_rows\":3", "\"eval_rows\":1", "topic"]);
    }
    assert_has(&ran.answers[2], &["\"line\":2", "positive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipe() {
    let ran = run("recipe").await;
    assert_has(&ran.answers[0], &["\"lr_scheduler_type\":\"linear\"", "dim_128_cosine_mrr@10", "\"scale\":20.0"]);
    let wrong = ["training.epochs", "training.learning_rate", "training.matryoshka_dims", "training.warm_up"];
    assert_has(&ran.answers[1], &wrong);
    assert_has(&ran.answers[2], &["Dim 64 Cosine Ndcg@10", "ndcg@10"]);
    assert!(ran.folder.path().join("run/best/model.safetensors").exists());
    // Every argument has its row.
    let page = page::read("docs/recipe.md");
    let arguments = serde_json::to_value(matryo::domain::TrainingArguments::default()).expect("it is JSON");
    for argument in arguments.as_object().expect("an object").keys() {
        assert!(
            page.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{argument}`"))),
            "{argument}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn api_and_clients() {
    let ran = run("api-and-clients").await;
    assert_has(&ran.answers[0], &["\"object\":\"embedding\""]);
    assert_has(&ran.answers[1], &["dataset_id", "training.epochs", "error_type"]);
    assert_has(&ran.answers[2], &["\"name\":\"production\""]);
    assert_has(&ran.answers[3], &["x-compute-tokens"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records() {
    let ran = run("records").await;
    assert_has(&ran.answers[1], &["events.out.tfevents."]);
    assert_has(&ran.answers[3], &["==> qrels.txt", " Q0 ", " 1 0.9", " matryo"]);
    assert_has(&ran.answers[4], &["\"event\":\"job.cancelled\"", "\"target\":\"job\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operating() {
    let ran = run("operating").await;
    assert_has(&ran.answers[0], &["matryo_jobs", "\"version\""]);
    let store = Store::open(&ran.folder.path().join("backup/matryo.db")).await.expect("the copy is a database");
    let model = store.get_model_by_name("sentence-transformers/all-MiniLM-L6-v2").await.expect("it holds the model");
    let copied = ran.folder.path().join(format!("backup/models/{}/model.safetensors", model.id));
    assert!(Path::new(&copied).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn gpu() {
    let ran = run("gpu").await;
    assert_has(&ran.answers[0], &["\"training_device\":", "\"training_device_reason\":"]);
}

/// Links between the pages, and to files, lead somewhere.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages =
        std::fs::read_dir(root.join("docs")).expect("it can be read").map(|entry| entry.expect("an entry").path());
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md"].map(|name| root.join(name));
    for page in pages.filter(|path| path.extension().is_some_and(|end| end == "md")).chain(top) {
        let text = std::fs::read_to_string(&page).expect("it can be read");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                let target = page.parent().expect("it lies in a folder").join(path);
                assert!(target.exists(), "{}: {link}", page.display());
            }
        }
    }
}
