//! Upload, train, watch, download, embed.

use std::io::Read;

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};

use super::{PAIRS, start, submit, upload};
use crate::helpers::test_app::{TestApp, request};

async fn embed(app: &TestApp, model: &str) -> Vec<Vec<f32>> {
    let inputs = PAIRS.map(|(anchor, _)| anchor);
    let body = json!({"inputs": inputs, "model": model});
    serde_json::from_value(app.post_json("/embed", &body).await.expect(200)).expect("vectors")
}

async fn get_as(app: &TestApp, path: &str, accept: &str) -> String {
    let request = request(Method::GET, path).header(header::ACCEPT, accept);
    let answer = app.send(request.body(Body::empty()).expect("it is a request")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn the_tiny_model_learns_eight_pairs_by_heart_and_the_result_can_be_used_everywhere() {
    let app = start().await;
    let dataset = upload(&app).await;
    let epochs = 40;
    let training = json!({
        "epochs": epochs, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "learning_rate": 3e-3,
        "matryoshka_dims": [32, 16], "logging_steps": 1, "save_total_limit": 2, "deduplicate_corpus": true,
        "metric_for_best_model": "dim_16_cosine_ndcg@10",
    });
    let id = submit(&app, &dataset, training).await;
    let events = get_as(&app, &format!("/v1/jobs/{id}/events"), "text/event-stream").await;
    let job = app.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!((&job["status"], &job["step"]), (&json!("succeeded"), &json!(epochs)), "{job}");
    for event in ["status", "phase", "progress", "step", "evaluation", "checkpoint", "checkpoint_removed"] {
        assert!(events.contains(&format!("event: {event}\n")), "no {event}");
    }

    let metrics = app.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200);
    let rows = metrics["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), epochs + 1);
    let last = &rows[epochs];
    for key in ["dim_32_cosine_ndcg@10", "dim_16_cosine_ndcg@10", "dim_32_cosine_accuracy@1", "sequential_score"] {
        assert_eq!(last["values"][key], json!(1.0), "{key}");
    }
    assert!(rows[0]["values"]["dim_16_cosine_ndcg@10"].as_f64() < Some(1.0), "there was nothing to learn");
    let loss = |row: &Value| row["training_loss"].as_f64().expect("each step is logged");
    assert!(loss(last) < 0.05 && loss(&rows[1]) > 1.0, "from {} to {}", loss(&rows[1]), loss(last));
    let csv = get_as(&app, &format!("/v1/jobs/{id}/metrics"), "text/csv").await;
    assert_eq!(csv.lines().count(), epochs + 2);

    let checkpoints = app.get(&format!("/v1/jobs/{id}/checkpoints")).await.expect(200);
    let best: Vec<&Value> =
        checkpoints["data"].as_array().expect("a list").iter().filter(|one| one["is_best"] == true).collect();
    assert_eq!(best.len(), 1);

    // The download is a model like any other: registered under a name of its own, it embeds the same.
    let archive = app.get(&format!("/v1/jobs/{id}/checkpoints/best/archive")).await.body;
    let folder = app.model_root().join("downloaded");
    unpack(&archive, &folder);
    let body = json!({"source": "folder", "path": folder, "name": "downloaded"});
    app.post_json("/v1/models", &body).await.expect(201);
    let tuned = embed(&app, &format!("job:{id}")).await;
    assert_eq!(tuned, embed(&app, "downloaded").await);
    assert_eq!(tuned, embed(&app, best[0]["model"].as_str().expect("it has a name")).await);
    assert_ne!(tuned, embed(&app, "tiny").await);

    // Deleted, it is gone from everywhere, the memory of loaded models included.
    app.delete(&format!("/v1/jobs/{id}")).await.expect(204);
    let body = json!({"inputs": "gone?", "model": format!("job:{id}")});
    app.post_json("/embed", &body).await.expect_tei_error(404, "Validation");
}

/// Unpacks the files of the archive's one folder into `folder`.
fn unpack(archive: &[u8], folder: &std::path::Path) {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in tar.entries().expect("it is a tar file") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let target = folder.join(path.components().skip(1).collect::<std::path::PathBuf>());
        std::fs::create_dir_all(target.parent().expect("it lies in the folder")).expect("it is made");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it is whole");
        std::fs::write(target, content).expect("it is written");
    }
}
