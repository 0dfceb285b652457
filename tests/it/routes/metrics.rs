//! A job's metrics in three forms.

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::json;

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::test_app::{Answer, TestApp, request};

async fn get_as(app: &TestApp, path: &str, accept: &str) -> Answer {
    let request = request(Method::GET, path).header(header::ACCEPT, accept);
    app.send(request.body(Body::empty()).expect("it is a request")).await
}

#[tokio::test]
async fn the_table_comes_as_json_csv_or_markdown() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    let path = format!("/v1/jobs/{id}/metrics");

    let metrics = app.get(&path).await.expect(200);
    assert_eq!((&metrics["best_epoch"], &metrics["job_id"]), (&json!(2), &json!(id)));
    assert_eq!(metrics["metric_for_best_model"], "dim_32_cosine_ndcg@10");
    let rows = metrics["rows"].as_array().expect("a list");
    let epochs: Vec<_> = rows.iter().map(|row| (&row["epoch"], &row["step"], &row["training_loss"])).collect();
    let expected =
        [(json!(0), json!(0), json!(null)), (json!(1), json!(2), json!(0.5)), (json!(2), json!(4), json!(0.25))];
    assert_eq!(epochs, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    assert_eq!(rows[1]["values"]["dim_32_cosine_ndcg@10"], 0.51);
    assert_eq!(rows[1]["values"].as_object().map(serde_json::Map::len), Some(16));

    let csv = get_as(&app, &path, "text/csv").await;
    assert_eq!(
        (csv.status.as_u16(), &csv.headers[header::CONTENT_TYPE]),
        (200, &"text/csv; charset=utf-8".parse().unwrap())
    );
    let lines: Vec<&str> = csv.text().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("Epoch,Training Loss,Validation Loss,Dim 32 Cosine Accuracy@1,"), "{}", lines[0]);
    assert!(lines[1].starts_with("0,No log,No log,0.5,") && lines[3].starts_with("2,0.25,No log,0.52,"), "{lines:?}");

    let markdown = get_as(&app, &path, "text/markdown").await;
    assert_eq!(markdown.headers[header::CONTENT_TYPE], "text/markdown; charset=utf-8");
    let lines: Vec<&str> = markdown.text().lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines[0].starts_with("| Epoch | Training Loss | Validation Loss | Dim 32 Cosine Accuracy@1 |"),
        "{}",
        lines[0]
    );
    assert!(lines[4].contains("0.520000"), "{}", lines[4]);

    assert!(get_as(&app, &path, "text/html").await.expect_error(406, "not_acceptable").contains("text/csv"));
    get_as(&app, &path, "text/html, */*;q=0.1").await.expect(200);
}

#[tokio::test]
async fn a_job_that_waits_has_no_rows_yet() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let running = app.submit(&dataset).await;
    app.told(running, "step").await;
    let queued = app.submit(&dataset).await;
    let metrics = app.get(&format!("/v1/jobs/{queued}/metrics")).await.expect(200);
    assert_eq!((&metrics["rows"], &metrics["best_epoch"]), (&json!([]), &json!(null)));
    gate.open();
    gate.open();
    app.ended(queued).await;
}
