//! Jobs: look, list, cancel, resume, delete.

use matryo::domain::JobId;
use serde_json::json;

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::test_app::TestApp;

const UNKNOWN: &str = "0190a000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_job_shows_how_far_it_is_and_what_it_has_reached() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.told(id, "step").await;
    let job = app.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!((&job["status"], &job["progress"]), (&json!("running"), &json!(0.25)));
    let baseline = json!({"key": "dim_32_cosine_ndcg@10", "baseline": 0.5, "latest": 0.5, "latest_epoch": 0,
        "best": null, "best_epoch": null});
    assert_eq!(job["best_metric"], baseline);
    gate.open();
    let job = app.ended(id).await;
    assert_eq!((&job["status"], &job["progress"]), (&json!("succeeded"), &json!(1.0)));
    let reached = json!({"key": "dim_32_cosine_ndcg@10", "baseline": 0.5, "latest": 0.52, "latest_epoch": 2,
        "best": 0.52, "best_epoch": 2});
    assert_eq!(job["best_metric"], reached);
    assert!(job["finished_at"].is_string() && job["timings"]["train"].is_number());
    assert_eq!(job["profile"], json!(crate::helpers::rows::profile()));
}

#[tokio::test]
async fn lists_come_in_pages_and_by_status() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = app.submit(&dataset).await;
        app.ended(id).await;
        ids.insert(0, id.to_string());
    }
    let page = app.get("/v1/jobs?limit=2").await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("there is one more");
    let rest = app.get(&format!("/v1/jobs?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(rest["next_cursor"], json!(null));
    let both = [&page, &rest].map(|page| page["data"].as_array().expect("a list").clone()).concat();
    assert_eq!(both.iter().map(|job| job["id"].as_str().expect("an id")).collect::<Vec<_>>(), ids);
    assert_eq!(app.get("/v1/jobs?status=failed").await.expect(200)["data"], json!([]));
    let succeeded = app.get("/v1/jobs?status=succeeded").await.expect(200);
    assert_eq!(succeeded["data"].as_array().map(Vec::len), Some(3));
    for query in ["limit=0", "limit=101", "limit=x", "cursor=7", "status=done"] {
        app.get(&format!("/v1/jobs?{query}")).await.expect_error(422, "invalid");
    }
}

#[tokio::test]
async fn an_unknown_job_is_not_found_everywhere() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    for id in [UNKNOWN, "7", "..%2f.."] {
        for path in ["", "/metrics", "/events", "/checkpoints", "/checkpoints/best", "/checkpoints/1/archive"] {
            app.get(&format!("/v1/jobs/{id}{path}")).await.expect_error(404, "not_found");
        }
        for path in ["cancel", "pause", "resume"] {
            app.post(&format!("/v1/jobs/{id}/{path}")).await.expect_error(404, "not_found");
        }
        app.delete(&format!("/v1/jobs/{id}")).await.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn a_running_job_is_cancelled_resumed_and_deleted() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let id: JobId = app.submit(&dataset).await;
    app.told(id, "step").await;
    let path = format!("/v1/jobs/{id}");
    app.delete(&path).await.expect_error(409, "conflict");
    app.post(&format!("{path}/resume")).await.expect_error(409, "conflict");
    let job = app.post(&format!("{path}/cancel")).await.expect(202);
    assert_eq!(job["cancel_requested"], json!(true));
    assert_eq!(app.ended(id).await["status"], "cancelled");
    app.post(&format!("{path}/cancel")).await.expect_error(409, "conflict");

    assert_eq!(app.post(&format!("{path}/resume")).await.expect(200)["status"], "queued");
    gate.open();
    assert_eq!(app.ended(id).await["status"], "succeeded");
    let folder = app.state.data_dir.job(id);
    assert!(folder.is_dir());
    app.delete(&path).await.expect(204);
    assert!(!folder.exists());
    app.get(&path).await.expect_error(404, "not_found");
    app.delete(&path).await.expect_error(404, "not_found");
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let running = app.submit(&dataset).await;
    app.told(running, "step").await;
    let queued = app.submit(&dataset).await;
    let job = app.post(&format!("/v1/jobs/{queued}/cancel")).await.expect(200);
    assert_eq!(job["status"], "cancelled");
    gate.open();
    app.ended(running).await;
}

#[tokio::test]
async fn a_resume_without_its_dataset_is_a_conflict() {
    let app =
        TestApp::start_training_by(FakeTrainer::new(|_, _| Err(matryo::training::TrainError::Data("odd".into()))))
            .await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    let job = app.ended(id).await;
    assert_eq!(job["error"], json!({"code": "invalid_data", "message": "odd"}));
    app.delete(&format!("/v1/datasets/{}", dataset.id)).await.expect(204);
    let message = app.post(&format!("/v1/jobs/{id}/resume")).await.expect_error(409, "conflict");
    assert!(message.contains("there is no dataset"), "{message}");
}
