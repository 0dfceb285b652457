//! Cancel in the middle, and go on.

use serde_json::json;

use super::{start, submit, upload};

#[tokio::test]
async fn a_cancelled_job_keeps_its_checkpoints_and_goes_on_from_the_last() {
    let app = start().await;
    let dataset = upload(&app).await;
    // Long enough not to end by itself meanwhile.
    let epochs = 1000;
    let training = json!({
        "epochs": epochs, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "logging_steps": 1,
        "learning_rate": 1e-4, "save_total_limit": 1,
    });
    let id = submit(&app, &dataset, training).await;
    app.told(id, "checkpoint").await;
    app.post(&format!("/v1/jobs/{id}/cancel")).await.expect(202);
    let job = app.ended(id).await;
    assert_eq!(job["status"], "cancelled", "{job}");
    let list = app.get(&format!("/v1/jobs/{id}/checkpoints")).await.expect(200);
    let kept = list["data"].as_array().expect("a list").len();
    assert!((1..=2).contains(&kept), "{list}");
    let newest = list["data"][kept - 1]["epoch"].as_u64().expect("a number");

    // Until it passes the epoch that it was in, and no further.
    app.post(&format!("/v1/jobs/{id}/resume")).await.expect(200);
    let mut feed = app.state.worker.follow(id, None).await.expect("the job is there");
    while app.state.store.get_checkpoint(id, newest as u32 + 2).await.is_err() {
        feed.next().await.expect("the store answers").expect("the job goes on");
    }
    app.post(&format!("/v1/jobs/{id}/cancel")).await.expect(202);
    app.ended(id).await;
    // No epoch is missing or told twice.
    let metrics = app.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200);
    let rows = metrics["rows"].as_array().expect("a list").iter();
    let told: Vec<u64> = rows.map(|row| row["epoch"].as_u64().expect("a number")).collect();
    assert_eq!(told, (0..told.len() as u64).collect::<Vec<_>>());
}
