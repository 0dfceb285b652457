//! Files in OpenAI's shape: upload, list, read, download, delete.

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::form::{Form, csv_pairs};
use crate::helpers::test_app::{Answer, TestApp, request};

const JSONL: &str = "{\"anchor\": \"what is one\", \"positive\": \"the first\"}\n{\"anchor\": \"what is two\", \"positive\": \"the second\"}\n";

async fn upload(app: &TestApp, form: Form) -> Answer {
    app.send(form.post("/v1/files")).await
}

async fn uploaded(app: &TestApp, name: &str, content: &str) -> Value {
    let form = Form::default().text("purpose", "fine-tune").file("file", name, content);
    upload(app, form).await.expect(200)
}

/// The error's `param` and message; its status must be 400.
async fn refused(app: &TestApp, form: Form) -> (String, String) {
    let error = upload(app, form).await.expect(400)["error"].clone();
    assert_eq!(error["type"], "invalid_request_error", "{error}");
    let text = |key: &str| error[key].as_str().unwrap_or_else(|| panic!("no {key} in {error}")).to_owned();
    (text("param"), text("message"))
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().map(|file| file["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_file_is_a_dataset_and_comes_back_as_it_was() {
    let app = TestApp::start().await;
    let file = uploaded(&app, "pairs.jsonl", JSONL).await;
    assert_eq!(
        (&file["object"], &file["purpose"], &file["status"]),
        (&json!("file"), &json!("fine-tune"), &json!("processed"))
    );
    assert_eq!((&file["filename"], &file["bytes"]), (&json!("pairs.jsonl"), &json!(JSONL.len())));
    assert!(file["created_at"].as_i64().expect("seconds") > 1_700_000_000);
    let id = file["id"].as_str().expect("an id");
    let dataset = file["dataset_id"].as_str().expect("an id");
    assert_eq!(id, format!("file-{}", dataset.replace('-', "")));
    let path = format!("/v1/files/{id}");
    assert_eq!(app.get(&path).await.expect(200), file);
    assert_eq!(app.get(&format!("{path}/content")).await.text(), JSONL);
    let rows = app.get(&format!("/v1/datasets/{dataset}")).await.expect(200);
    assert_eq!(rows["original_bytes"], json!(JSONL.len()));

    let part = request(Method::GET, &format!("{path}/content")).header(header::RANGE, "bytes=0-9");
    let part = app.send(part.body(Body::empty()).expect("it is a request")).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, &JSONL[..10]));

    assert_eq!(app.delete(&path).await.expect(200), json!({"id": id, "object": "file", "deleted": true}));
    for gone in [path.clone(), format!("{path}/content")] {
        assert!(app.get(&gone).await.expect(404)["error"]["message"].as_str().expect("a message").contains(id));
    }
    app.delete(&path).await.expect(404);
    app.get(&format!("/v1/datasets/{dataset}")).await.expect_error(404, "not_found");
    assert!(!app.state.data_dir.datasets().join(dataset).exists());
}

#[tokio::test]
async fn fields_of_a_dataset_go_with_a_file() {
    let app = TestApp::start().await;
    let csv = csv_pairs(10).replacen("anchor,positive", "q,doc", 1);
    let form = Form::default().text("purpose", "fine-tune").text("test_size", "0.3").text("seed", "7");
    let form = form.text("anchor", "q").text("positive", "doc").file("file", "pairs.csv", &csv);
    let file = upload(&app, form).await.expect(200);
    let dataset = app.get(&format!("/v1/datasets/{}", file["dataset_id"].as_str().expect("an id"))).await.expect(200);
    assert_eq!(
        (&dataset["train_rows"], &dataset["eval_rows"], &dataset["format"]),
        (&json!(7), &json!(3), &json!("csv"))
    );
    assert_eq!(dataset["split"], json!({"kind": "fraction", "test_size": 0.3, "seed": 7}));
    let content = format!("/v1/files/{}/content", file["id"].as_str().expect("an id"));
    assert_eq!(app.get(&content).await.text(), csv);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_at_once() {
    let app = TestApp::start().await;
    let file = |content: &str| Form::default().text("purpose", "fine-tune").file("file", "pairs.jsonl", content);
    let bad = "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": \"a\"}\n{\"anchor\": 7, \"positive\": \"b\"}\n";
    let answer = upload(&app, file(bad)).await.expect(400);
    let lines: Vec<_> =
        answer["error"]["details"]["rows"].as_array().expect("rows").iter().map(|row| &row["line"]).collect();
    assert_eq!(lines, [&json!(2), &json!(3)], "{answer}");
    assert_eq!(answer["error"]["param"], "file");
    let none = Form::default().file("file", "pairs.jsonl", JSONL);
    assert_eq!(refused(&app, none.clone()).await.0, "purpose");
    let (param, message) = refused(&app, none.text("purpose", "batch")).await;
    assert!(param == "purpose" && message.contains("`fine-tune`"), "{message}");
    assert_eq!(refused(&app, Form::default().text("purpose", "fine-tune")).await.0, "file");
    assert_eq!(refused(&app, file(JSONL).text("test_sise", "0.2")).await.0, "test_sise");
    let (param, message) = refused(&app, file(JSONL).text("expires_after[anchor]", "created_at")).await;
    assert!(param == "expires_after[anchor]" && message.contains("do not expire"), "{message}");
    app.post_json("/v1/files", &json!({"purpose": "fine-tune"})).await.expect(415);
    assert!(ids(&app.get("/v1/files").await.expect(200)).is_empty());
    assert_eq!(std::fs::read_dir(app.state.data_dir.datasets()).expect("it is there").count(), 0);
}

#[tokio::test]
async fn lists_have_a_cursor_an_order_and_a_purpose() {
    let app = TestApp::start().await;
    let mut uploads = Vec::new();
    for number in 0..3 {
        let file = uploaded(&app, &format!("{number}.jsonl"), JSONL).await;
        uploads.push(file["id"].as_str().expect("an id").to_owned());
    }
    let page = app.get("/v1/files?order=asc&limit=2").await.expect(200);
    assert_eq!(
        (ids(&page), &page["object"], &page["has_more"]),
        (uploads[..2].iter().map(String::as_str).collect(), &json!("list"), &json!(true))
    );
    assert_eq!((&page["first_id"], &page["last_id"]), (&json!(uploads[0]), &json!(uploads[1])));
    let rest = app.get(&format!("/v1/files?order=asc&limit=2&after={}", uploads[1])).await.expect(200);
    assert_eq!((ids(&rest), &rest["has_more"]), (vec![uploads[2].as_str()], &json!(false)));
    let newest: Vec<&str> = uploads.iter().rev().map(String::as_str).collect();
    assert_eq!(ids(&app.get("/v1/files?purpose=fine-tune").await.expect(200)), newest);
    let other = app.get("/v1/files?purpose=assistants").await.expect(200);
    assert_eq!((&other["data"], &other["has_more"], &other["last_id"]), (&json!([]), &json!(false), &Value::Null));
    let unknown = format!("file-{}", "0".repeat(32));
    for (query, param) in [
        (format!("after={unknown}"), "after"),
        ("after=7".to_owned(), "after"),
        ("limit=0".to_owned(), "limit"),
        ("limit=10001".to_owned(), "limit"),
        ("order=up".to_owned(), "order"),
    ] {
        let error = app.get(&format!("/v1/files?{query}")).await.expect(400);
        assert_eq!(error["error"]["param"], param, "{error}");
    }
}

#[tokio::test]
async fn a_dataset_that_was_uploaded_as_one_is_given_as_its_rows() {
    let app = TestApp::start().await;
    let dataset = app.upload("pairs.csv", csv_pairs(5)).await.expect(201);
    let id = format!("file-{}", dataset["id"].as_str().expect("an id").replace('-', ""));
    let file = app.get(&format!("/v1/files/{id}")).await.expect(200);
    assert_eq!((&file["bytes"], &file["filename"]), (&dataset["size_bytes"], &json!("pairs.csv")));
    let content = app.get(&format!("/v1/files/{id}/content")).await;
    assert_eq!(json!(content.body.len()), file["bytes"]);
    let rows: Vec<Value> = content.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row["anchor"].is_string() && row["positive"].is_string()));
}

#[tokio::test]
async fn a_file_in_use_is_kept_and_clients_are_not_to_try_again() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.told(id, "step").await;
    let answer = app.delete(&format!("/v1/files/file-{}", dataset.id.digits())).await;
    answer.expect(409);
    assert_eq!(answer.headers["x-should-retry"], "false");
    gate.open();
    app.ended(id).await;
}
