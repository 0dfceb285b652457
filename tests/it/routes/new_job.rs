//! Submitting a job: what is filled in, and what is refused.

use axum::body::Body;
use axum::http::{Method, header};
use matryo::domain::{Dataset, DatasetId, Model, ModelStatus};
use serde_json::{Value, json};

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::rows;
use crate::helpers::test_app::{TestApp, request};

/// The fields of a refused job, each with its message.
async fn refused(app: &TestApp, body: &Value) -> Vec<(String, String)> {
    let answer = app.post_json("/v1/jobs", body).await;
    answer.expect_error(422, "invalid");
    let json = answer.json();
    let fields = json["error"]["details"]["fields"].as_array().expect("the fields are listed");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    fields.iter().map(|field| (text(&field["field"]), text(&field["message"]))).collect()
}

#[tokio::test]
async fn what_is_left_out_is_as_the_recipe_has_it() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let answer = app.post_json("/v1/jobs", &json!({"dataset_id": dataset.id, "base_model": "tiny"})).await;
    let job = answer.expect(201);
    let path = format!("/v1/jobs/{}", job["id"].as_str().expect("it has an id"));
    assert_eq!(answer.headers[header::LOCATION], path.as_str());
    assert_eq!((&job["status"], &job["name"], &job["eval_dataset_id"]), (&json!("queued"), &Value::Null, &Value::Null));
    let training = &job["training"];
    assert_eq!((&training["epochs"], &training["per_device_train_batch_size"]), (&json!(4), &json!(32)));
    assert_eq!((&training["gradient_accumulation_steps"], &training["learning_rate"]), (&json!(16), &json!(2e-5)));
    assert_eq!(training["precision"], "auto");
    // The model has 32 dimensions, so none of the shorter ones fits.
    assert_eq!(training["matryoshka_dims"], json!([32]));
    assert_eq!(training["metric_for_best_model"], "dim_32_cosine_ndcg@10");
    assert_eq!(app.get(&path).await.expect(200)["training"], *training);
}

#[tokio::test]
async fn what_is_given_is_kept() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let body = json!({
        "name": "second try", "metadata": {"team": "search"}, "dataset_id": dataset.id, "eval_dataset_id": dataset.id, "base_model": "tiny",
        "training": {"num_train_epochs": 1, "matryoshka_dims": [8, 32], "matryoshka_weights": [1, 2],
            "metric_for_best_model": "eval_dim_8_cosine_map@100", "lr_scheduler_type": "linear", "precision": "float32"},
    });
    let job = app.post_json("/v1/jobs", &body).await.expect(201);
    assert_eq!((&job["name"], &job["eval_dataset_id"]), (&body["name"], &body["eval_dataset_id"]));
    assert_eq!(job["metadata"], body["metadata"]);
    let training = &job["training"];
    assert_eq!((&training["epochs"], &training["lr_scheduler_type"]), (&json!(1), &json!("linear")));
    assert_eq!(training["precision"], "float32");
    assert_eq!((&training["matryoshka_dims"], &training["matryoshka_weights"]), (&json!([32, 8]), &json!([2.0, 1.0])));
    assert_eq!(training["metric_for_best_model"], "dim_8_cosine_map@100");
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    app.add_inputs().await;
    let unknown = DatasetId::generate();
    let body = json!({
        "name": "", "dataset_id": unknown, "eval_dataset_id": 7, "base_model": "tiny", "epochs": 3,
        "training": {"epochs": "four", "learning_rate": -1, "sede": 1, "matryoshka_dims": [64], "warmup_ratio": 2,
            "precision": "fp16"},
    });
    let mut fields: Vec<String> = refused(&app, &body).await.into_iter().map(|(field, _)| field).collect();
    fields.sort();
    let expected = [
        "dataset_id",
        "epochs",
        "eval_dataset_id",
        "name",
        "training.epochs",
        "training.learning_rate",
        "training.matryoshka_dims",
        "training.precision",
        "training.sede",
        "training.warmup_ratio",
    ];
    assert_eq!(fields, expected);
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let add = async |train_rows, eval_rows| {
        let dataset = Dataset { train_rows, eval_rows, ..rows::dataset() };
        app.state.store.insert_dataset(&dataset).await.expect("it is stored");
        dataset.id
    };
    let (no_eval, one_row, no_rows) = (add(8, 0).await, add(1, 4).await, add(0, 0).await);
    let pulling = Model { status: ModelStatus::Pulling, summary: None, ..rows::ready_model("pulling") };
    let error = Some("config.json: model_type is gpt2".to_owned());
    let failed = Model { status: ModelStatus::Failed, error, ..rows::ready_model("failed") };
    for model in [pulling, failed] {
        app.state.store.insert_model(&model).await.expect("it is stored");
    }
    let id = dataset.id;
    for (body, field, part) in [
        (json!({"base_model": "tiny"}), "dataset_id", "is expected"),
        (json!({"dataset_id": null, "base_model": "tiny"}), "dataset_id", "is expected"),
        (json!({"dataset_id": "7", "base_model": "tiny"}), "dataset_id", "`7` is not a dataset id"),
        (json!({"dataset_id": no_eval, "base_model": "tiny"}), "dataset_id", "give an eval_dataset_id"),
        (json!({"dataset_id": one_row, "base_model": "tiny"}), "dataset_id", "at least 2"),
        (json!({"dataset_id": id, "eval_dataset_id": no_rows, "base_model": "tiny"}), "eval_dataset_id", "no rows"),
        (json!({"dataset_id": id}), "base_model", "there is no base model `BAAI/bge-base-en-v1.5`; pull"),
        (json!({"dataset_id": id, "base_model": "other"}), "base_model", "pull or register it with POST /v1/models"),
        (json!({"dataset_id": id, "base_model": "job:7"}), "base_model", "not from another job's checkpoint"),
        (json!({"dataset_id": id, "base_model": "pulling"}), "base_model", "still being pulled"),
        (json!({"dataset_id": id, "base_model": "failed"}), "base_model", "model_type is gpt2"),
        (json!({"dataset_id": id, "base_model": 3}), "base_model", "a text of 1 to 300 characters"),
        (json!({"dataset_id": id, "base_model": "tiny", "name": "x".repeat(201)}), "name", "1 to 200 characters"),
        (json!({"dataset_id": id, "base_model": "tiny", "training": []}), "training", "an object"),
        (
            json!({"dataset_id": id, "base_model": "tiny", "metadata": ["x"]}),
            "metadata",
            "an object of at most 16 texts",
        ),
        (json!({"dataset_id": id, "base_model": "tiny", "metadata": {"k": 1}}), "metadata.k", "a text of at most 512"),
        (
            json!({"dataset_id": id, "base_model": "tiny", "training": {"epochs": 1, "num_train_epochs": 2}}),
            "training",
            "duplicate field",
        ),
        (
            json!({"dataset_id": id, "base_model": "tiny", "training": {"metric_for_best_model": "dim_64_cosine_ndcg@10"}}),
            "training.metric_for_best_model",
            "dimension 64 is not among matryoshka_dims [32]",
        ),
        (
            json!({"dataset_id": id, "base_model": "tiny", "training": {"max_seq_length": 65}}),
            "training.max_seq_length",
            "the model's limit of 64",
        ),
    ] {
        let fields = refused(&app, &body).await;
        let found = fields.iter().find(|(name, _)| name == field);
        let (_, message) = found.unwrap_or_else(|| panic!("{field} is missing from {fields:?}"));
        assert!(message.contains(part), "{body}: {message}");
    }
    let split = json!({"dataset_id": no_eval, "eval_dataset_id": id, "base_model": "tiny"});
    app.post_json("/v1/jobs", &split).await.expect(201);
}

#[tokio::test]
async fn what_is_not_a_json_object_is_refused() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    app.post_json("/v1/jobs", &json!([1])).await.expect_error(422, "invalid");
    let send = async |content_type: &str, body: &'static str| {
        let request = request(Method::POST, "/v1/jobs").header(header::CONTENT_TYPE, content_type);
        app.send(request.body(Body::from(body)).expect("it is a request")).await
    };
    send("application/json", "{\"dataset_id\": ").await.expect_error(400, "malformed_request");
    send("text/plain", "{}").await.expect_error(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_full_queue_asks_to_come_again() {
    let (trainer, gate) = FakeTrainer::gated();
    let folder = tempfile::tempdir().expect("a folder");
    let app = TestApp::start_on(folder, trainer, |state| state.limits.max_queued_jobs = 1).await;
    let dataset = app.add_inputs().await;
    let running = app.submit(&dataset).await;
    app.told(running, "step").await;
    let queued = app.submit(&dataset).await;
    let body = json!({"dataset_id": dataset.id, "base_model": "tiny"});
    let answer = app.post_json("/v1/jobs", &body).await;
    assert!(answer.expect_error(429, "too_many_requests").contains("1 jobs wait"));
    assert_eq!(answer.headers[header::RETRY_AFTER], "60");
    app.post(&format!("/v1/jobs/{queued}/cancel")).await.expect(200);
    let next = app.submit(&dataset).await;
    let answer = app.post(&format!("/v1/jobs/{queued}/resume")).await;
    answer.expect_error(429, "too_many_requests");
    gate.open();
    gate.open();
    app.ended(next).await;
}
