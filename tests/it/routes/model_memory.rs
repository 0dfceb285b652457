//! Models in memory: loading before use, dropping.

use futures::future::join_all;
use matryo::domain::ModelStatus;
use serde_json::json;

use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

async fn is_loaded(app: &TestApp, name: &str) -> bool {
    app.get(&format!("/v1/models/{name}")).await.expect(200)["loaded"].as_bool().expect("it is told")
}

#[tokio::test]
async fn a_model_is_loaded_and_dropped_when_asked_for() {
    let app = TestApp::start().await;
    let tiny = TinyModel::default();
    let folder = add_base_model(&app, "org/base", &tiny).await;
    let job = add_ended_job(&app, "org/base").await;
    add_checkpoint(&app, job, 1, &TinyModel { seed: 2, ..tiny }, true).await;
    let fine_tuned = format!("job:{job}");
    for name in ["org/base", &fine_tuned] {
        assert!(!is_loaded(&app, name).await);
        let path = format!("/v1/models/{name}/load");
        for answer in join_all((0..4).map(|_| app.post(&path))).await {
            let json = answer.expect(200);
            assert_eq!((&json["id"], &json["loaded"]), (&json!(name), &json!(true)));
            assert!(json["duration_ms"].is_u64());
        }
        assert!(is_loaded(&app, name).await);
    }
    assert!(is_loaded(&app, &format!("{fine_tuned}@epoch-1")).await, "it is the same");
    let listed = app.get("/v1/models").await.expect(200);
    assert!(listed["data"].as_array().unwrap().iter().all(|model| model["loaded"] == true), "{listed}");

    // Without its files it can embed as long as it is in memory.
    std::fs::remove_dir_all(folder).unwrap();
    let request = json!({ "inputs": "x", "model": "org/base" });
    app.post_json("/embed", &request).await.expect(200);
    let json = app.post("/v1/models/org/base/unload").await.expect(200);
    assert_eq!(json["loaded"], false);
    assert!(!is_loaded(&app, "org/base").await && is_loaded(&app, &fine_tuned).await);
    app.post_json("/embed", &request).await.expect_tei_error(424, "Backend");
    app.post("/v1/models/org/base/load").await.expect_error(400, "unsupported_model");
    app.post("/v1/models/org/base/unload").await.expect(200);
}

#[tokio::test]
async fn a_model_that_is_not_ready_cannot_be_loaded() {
    let app = TestApp::start().await;
    add_model_row(&app, "coming", ModelStatus::Pulling).await;
    for action in ["load", "unload"] {
        app.post(&format!("/v1/models/coming/{action}")).await.expect_error(409, "conflict");
    }
}
