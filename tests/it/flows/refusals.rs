//! A bad upload and unknown ids leave nothing behind.

use serde_json::json;

use super::{start, upload};
use crate::helpers::form::Form;

#[tokio::test]
async fn a_bad_row_is_named_and_nothing_of_its_upload_can_be_trained_on() {
    let app = start().await;
    let csv = "question,context\nwhat is it,a thing\n,no question here\nwhere is it,\n";
    let answer = app.send(Form::default().file("file", "pairs.csv", csv).post("/v1/datasets")).await;
    answer.expect_error(422, "bad_rows");
    let rows = answer.json()["error"]["details"]["rows"].clone();
    let lines: Vec<_> = rows.as_array().expect("a list").iter().map(|row| (&row["line"], &row["field"])).collect();
    assert_eq!(lines, [(&json!(3), &json!("question")), (&json!(4), &json!("context"))]);
    assert_eq!(app.get("/v1/datasets").await.expect(200)["data"], json!([]));

    let unknown = "0190a000-0000-7000-8000-000000000000";
    let body = json!({"dataset_id": unknown, "base_model": "tiny"});
    let message = app.post_json("/v1/jobs", &body).await.expect_error(422, "invalid");
    assert!(message.contains("there is no dataset"), "{message}");
    let dataset = upload(&app).await;
    let body = json!({"dataset_id": dataset, "base_model": "large"});
    let message = app.post_json("/v1/jobs", &body).await.expect_error(422, "invalid");
    assert!(message.contains("there is no base model `large`"), "{message}");
    let body = json!({"inputs": "x", "model": format!("job:{unknown}")});
    app.post_json("/embed", &body).await.expect_tei_error(404, "Validation");
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}
