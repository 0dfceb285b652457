//! A job that was paused ends with the same bits as one that nobody disturbed.

use matryo::domain::JobId;
use serde_json::{Value, json};

use super::{register, submit, upload};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// With dropout and more than one batch, so that shuffling, masks and moments all have to go on where they stood.
fn training() -> Value {
    json!({
        "epochs": 30, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
        "matryoshka_dims": [32, 8], "logging_steps": 1, "save_total_limit": 100,
    })
}

/// Every epoch's checksum and every metric of a job that has ended.
async fn course(app: &TestApp, id: JobId) -> (Vec<Value>, Value) {
    assert_eq!(app.ended(id).await["status"], "succeeded");
    let checkpoints = app.get(&format!("/v1/jobs/{id}/checkpoints")).await.expect(200);
    let checksums = checkpoints["data"].as_array().expect("a list").iter().map(|one| one["sha256"].clone()).collect();
    (checksums, app.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200)["rows"].clone())
}

#[tokio::test]
async fn a_pause_in_the_middle_changes_nothing() {
    let app = TestApp::start().await;
    register(&app, &TinyModel::default()).await;
    let dataset = upload(&app).await;
    let id = submit(&app, &dataset, training()).await;
    let path = format!("/v1/jobs/{id}");
    app.told(id, "checkpoint").await;
    app.post(&format!("{path}/pause")).await.expect(202);
    app.told_status(id, "paused").await;
    let job = app.get(&path).await.expect(200);
    assert_eq!((&job["status"], &job["finished_at"]), (&json!("paused"), &Value::Null), "{job}");
    assert!(job["step"].as_u64() < job["total_steps"].as_u64(), "it ended before it was paused: {job}");
    app.post(&format!("{path}/pause")).await.expect(200);
    assert_eq!(app.post(&format!("{path}/resume")).await.expect(200)["status"], "queued");

    let disturbed = course(&app, id).await;
    let undisturbed = submit(&app, &dataset, training()).await;
    assert_eq!(disturbed, course(&app, undisturbed).await);
    app.post(&format!("{path}/pause")).await.expect_error(409, "conflict");
}
