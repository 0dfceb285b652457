//! What the server says of itself.

use matryo::domain::ModelStatus;
use serde_json::{Value, json};

use crate::helpers::models::{add_base_model, add_model_row};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

#[tokio::test]
async fn info_tells_the_only_model_and_all_that_are_ready() {
    let app = TestApp::start().await;
    let empty = app.get("/info").await.expect(200);
    assert_eq!((&empty["model_id"], &empty["models"]), (&Value::Null, &json!([])));
    assert_eq!(empty["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&empty["device"], &empty["precision"]), (&"cpu".into(), &"float32".into()));
    assert_eq!(empty["training_device"], "cpu");
    assert_eq!(empty["training_device_reason"], "this is a test");
    assert_eq!(empty["max_client_batch_size"], app.state.limits.max_client_batch_size);

    add_base_model(&app, "one", &TinyModel::default()).await;
    add_model_row(&app, "broken", ModelStatus::Failed).await;
    let one = app.get("/info").await.expect(200);
    assert_eq!(one["model_id"], "one");
    assert_eq!(one["model_type"], json!({ "embedding": { "pooling": "mean" } }));
    assert_eq!((&one["model_sha"], &one["served_model_name"]), (&Value::Null, &json!("one")));
    assert!(one["max_concurrent_requests"].as_u64() > Some(0) && one["tokenization_workers"].as_u64() > Some(0));
    for name in ["max_batch_requests", "sha", "docker_label"] {
        assert_eq!(one.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!((&one["max_input_length"], &one["dimension"]), (&json!(32), &json!(32)));

    add_base_model(&app, "two", &TinyModel::default()).await;
    let two = app.get("/info").await.expect(200);
    assert_eq!((&two["model_id"], &two["models"]), (&Value::Null, &json!(["two", "one"])));
}
