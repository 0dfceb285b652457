//! Whole stories over the real router, a real SQLite file and the real engine, with a model small enough to train in
//! seconds.

mod cancel;
mod crash;
mod full_disk;
mod pages;
mod pause;
mod refusals;
mod walkthrough;
mod whole_job;

use matryo::domain::JobId;
use serde_json::{Value, json};

use crate::helpers::form::Form;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// Eight questions, each with its answer; no two share more than a few words.
const PAIRS: [(&str, &str); 8] = [
    ("what color is the sun", "the sun is red and very old"),
    ("which city is the capital", "the capital is a great city by the river"),
    ("how many years did the company grow", "growth of the company went on for three years"),
    ("who made the computer", "a man in school made the computer machine"),
    ("where do fish live", "fish live under water in the sea"),
    ("what music do they play", "they play a song about the moon and a star"),
    ("is rice a food", "people eat bread and rice every day as food"),
    ("what was the net loss of the fiscal year", "the annual report says the net loss was two percent of revenue"),
];

/// The pairs as a dataset to upload, to be trained and evaluated on.
fn pairs() -> Form {
    let jsonl =
        PAIRS.map(|(anchor, positive)| json!({"anchor": anchor, "positive": positive}).to_string() + "\n").concat();
    Form::default().file("file", "train.jsonl", &jsonl).file("eval_file", "eval.jsonl", &jsonl)
}

/// A service that has the tiny model, by the name `tiny`, as its base model.
async fn start() -> TestApp {
    let app = TestApp::start().await;
    register(&app, &TinyModel { dropout: 0.0, ..TinyModel::default() }).await;
    app
}

pub(crate) async fn register(app: &TestApp, model: &TinyModel) {
    let folder = app.model_root().join("tiny");
    model.write(&folder);
    let body = json!({"source": "folder", "path": folder, "name": "tiny"});
    app.post_json("/v1/models", &body).await.expect(201);
}

/// Uploads the pairs; the dataset's id.
pub(crate) async fn upload(app: &TestApp) -> String {
    let dataset = app.send(pairs().post("/v1/datasets")).await.expect(201);
    assert_eq!((&dataset["train_rows"], &dataset["eval_rows"]), (&json!(8), &json!(8)));
    dataset["id"].as_str().expect("it has an id").to_owned()
}

/// Submits a job from the tiny model.
pub(crate) async fn submit(app: &TestApp, dataset: &str, training: Value) -> JobId {
    let body = json!({"dataset_id": dataset, "base_model": "tiny", "training": training});
    let job = app.post_json("/v1/jobs", &body).await.expect(201);
    job["id"].as_str().expect("it has an id").parse().expect("the id is one")
}
