//! A look at a file before it becomes a dataset.

use axum::http::{Method, header};
use serde_json::json;

use crate::helpers::form::{Form, csv_pairs};
use crate::helpers::test_app::{TestApp, request};

#[tokio::test]
async fn the_first_rows_are_shown_and_nothing_is_kept() {
    let app = TestApp::start().await;
    let csv = "nr,Question,text\n7,q,t\n";
    let raw = request(Method::POST, "/v1/datasets/preview?file_name=a.csv").header(header::CONTENT_TYPE, "text/csv");
    let expected = json!({
        "format": "csv", "columns": ["nr", "Question", "text"],
        "mapping": {"anchor": "Question", "positive": null, "id": null}, "rows": [["7", "q", "t"]],
    });
    assert_eq!(app.send(raw.body(csv.into()).unwrap()).await.expect(200), expected);
    let form = Form::default().file("file", "a.csv", csv).text("anchor", "Question").text("name", "mine");
    assert_eq!(app.send(form.post("/v1/datasets/preview")).await.expect(200), expected);
    let long = Form::default().file("file", "a.csv", csv_pairs(100));
    let preview = app.send(long.post("/v1/datasets/preview")).await.expect(200);
    assert_eq!(preview["rows"].as_array().unwrap().len(), 5);
    assert_eq!(app.get("/v1/datasets").await.expect(200)["data"], json!([]));
    let left = std::fs::read_dir(app.state.data_dir.datasets()).unwrap().count();
    assert_eq!(left, 0, "the file stays behind");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_as_an_upload_is() {
    let app = TestApp::start_with(|state| state.limits.max_upload_bytes = 10_000).await;
    let send = async |form: Form| app.send(form.post("/v1/datasets/preview")).await;
    let message = send(Form::default().file("file", "a.csv", "")).await.expect_error(422, "invalid");
    assert!(message.starts_with("file: "), "{message}");
    send(Form::default()).await.expect_error(422, "invalid");
    send(Form::default().file("file", "a.csv", "a,b\n").text("shuffle", "true")).await.expect_error(422, "invalid");
    send(Form::default().file("file", "a.csv", csv_pairs(1000))).await.expect_error(413, "too_large");
    let raw = request(Method::POST, "/v1/datasets/preview").header(header::CONTENT_TYPE, "image/png");
    app.send(raw.body("x".into()).unwrap()).await.expect_error(415, "unsupported_media_type");
    assert_eq!(std::fs::read_dir(app.state.data_dir.datasets()).unwrap().count(), 0);
}
