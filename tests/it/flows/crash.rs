//! Whatever ends the process in the middle of a job, its final weights are those of a run that nothing disturbed.

use matryo::domain::{JobId, JobStatus};
use matryo::store::Store;
use serde_json::{Value, json};

use super::{register, submit, upload};
use crate::helpers::server::{Server, Setup};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// With dropout and more than one batch, so that shuffling, masks and moments all have to go on where they stood.
fn training() -> Value {
    json!({
        "epochs": 30, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
        "matryoshka_dims": [32, 8], "logging_steps": 1, "save_total_limit": 100,
    })
}

/// What must be the same: every epoch's checkpoint, every metric to the last bit, and the tokens trained on.
type Course = (Vec<(u64, String)>, Value, u64);

fn course(job: &Value, checkpoints: &Value, metrics: &Value) -> Course {
    let of = |one: &Value| {
        (one["epoch"].as_u64().expect("a number"), one["sha256"].as_str().expect("a checksum").to_owned())
    };
    (
        checkpoints["data"].as_array().expect("a list").iter().map(of).collect(),
        metrics["rows"].clone(),
        job["profile"]["tokens"].as_u64().expect("a number"),
    )
}

async fn undisturbed() -> Course {
    let app = TestApp::start().await;
    register(&app, &TinyModel::default()).await;
    let dataset = upload(&app).await;
    let id = submit(&app, &dataset, training()).await;
    let job = app.ended(id).await;
    assert_eq!(job["status"], "succeeded");
    let path = format!("/v1/jobs/{id}");
    course(
        &job,
        &app.get(&format!("{path}/checkpoints")).await.expect(200),
        &app.get(&format!("{path}/metrics")).await.expect(200),
    )
}

/// The job waits to go on: it had not ended when the server stopped.
async fn assert_stopped_running(folder: &tempfile::TempDir, id: JobId) {
    let store = Store::open(&folder.path().join("data/matryo.db")).await.expect("it opens");
    assert_eq!(store.get_job(id).await.expect("it is there").status, JobStatus::Queued);
    store.close().await;
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_changes_nothing() {
    let app = TestApp::start().await;
    register(&app, &TinyModel::default()).await;
    let dataset = upload(&app).await;
    let id = submit(&app, &dataset, training()).await;
    app.told(id, "checkpoint").await;
    let folder = app.stop().await;
    assert_stopped_running(&folder, id).await;
    let app = TestApp::start_in(folder, |_| {}).await;
    let job = app.ended(id).await;
    assert_eq!(job["status"], "succeeded");
    let path = format!("/v1/jobs/{id}");
    let disturbed = course(
        &job,
        &app.get(&format!("{path}/checkpoints")).await.expect(200),
        &app.get(&format!("{path}/metrics")).await.expect(200),
    );
    assert_eq!(disturbed, undisturbed().await);
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_an_epoch_changes_nothing() {
    let setup = Setup::new(&TinyModel::default());
    let server = Server::start(&setup).await;
    let dataset = server.upload(super::pairs()).await;
    let body = json!({"dataset_id": dataset, "base_model": "tiny", "training": training()});
    let id = server.post_json("/v1/jobs", &body).await["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/jobs/{id}");
    // Past the second checkpoint, in the next epoch or one of those after it.
    server
        .hear(&id, |heard| {
            let since = heard.iter().rev().take_while(|event| *event != "checkpoint");
            heard.iter().filter(|event| *event == "checkpoint").count() >= 2
                && since.clone().any(|event| event == "step")
        })
        .await;
    server.kill();

    let server = Server::start(&setup).await;
    let heard = server.hear(&id, |_| false).await;
    // Queued, running, and after the crash again, then succeeded.
    assert_eq!(heard.iter().filter(|event| *event == "status").count(), 5, "it ended before it was killed");
    let job = server.get(&path).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    let disturbed =
        course(&job, &server.get(&format!("{path}/checkpoints")).await, &server.get(&format!("{path}/metrics")).await);
    assert_eq!(disturbed, undisturbed().await);
}
