//! A disk that fills up under a job.

use serde_json::json;

use crate::helpers::server::{Server, Setup};
use crate::helpers::tiny_model::TinyModel;

#[tokio::test]
async fn a_full_disk_fails_the_job_and_says_what_to_do() {
    let Some(setup) = Setup::with_small_disk(&TinyModel::default(), 6) else {
        return;
    };
    let server = Server::start(&setup).await;
    let dataset = server.upload(super::pairs()).await;
    // Far more checkpoints than the disk holds.
    let training = json!({
        "epochs": 500, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "save_total_limit": 500,
    });
    let body = json!({"dataset_id": dataset, "base_model": "tiny", "training": training});
    let id = server.post_json("/v1/jobs", &body).await["id"].as_str().expect("an id").to_owned();
    server.hear(&id, |_| false).await;
    let job = server.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("disk_full")), "{job}");

    // What was written stays whole and can be used.
    let checkpoints = server.get(&format!("/v1/jobs/{id}/checkpoints")).await;
    let kept = checkpoints["data"].as_array().expect("a list");
    assert!(!kept.is_empty());
    let best = kept.iter().find(|checkpoint| checkpoint["is_best"] == true).expect("one is the best");
    let embeddings = server.post_json("/embed", &json!({"inputs": "a text", "model": best["model"]})).await;
    assert_eq!(embeddings[0].as_array().map(Vec::len), Some(32));
}
