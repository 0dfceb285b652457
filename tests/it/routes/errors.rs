//! What holds for every route: errors are JSON, requests have ids, panics are caught.

use axum::body::Body;
use axum::http::{Method, header};
use matryo::domain::{ModelStatus, Secret};
use serde_json::{Value, json};

use crate::helpers::models::add_model_row;
use crate::helpers::test_app::{TestApp, request};

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let app = TestApp::start().await;
    assert!(app.get("/v1/nothing").await.expect_error(404, "not_found").contains("/v1/nothing"));
    let answer = app.delete("/health").await;
    answer.expect_tei_error(405, "Validation");
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let app = TestApp::start().await;
    let first = app.get("/health").await.headers["x-request-id"].to_str().unwrap().to_owned();
    let second = app.get("/nowhere").await.headers["x-request-id"].to_str().unwrap().to_owned();
    assert!(first.len() == 36 && second.len() == 36 && first != second);
    let long = "x".repeat(129);
    for (given, kept) in [("trace-7", true), (long.as_str(), false)] {
        let request = request(Method::GET, "/health").header("x-request-id", given);
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers["x-request-id"] == given, kept);
    }
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let app = TestApp::start().await;
    let answer = app.send(request(Method::HEAD, "/health").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}

#[tokio::test]
async fn a_database_that_fails_is_an_internal_error_that_tells_the_client_nothing() {
    let app = TestApp::start().await;
    app.state.store.close().await;
    let message = app.get("/v1/jobs").await.expect_error(500, "internal");
    assert!(message.contains("x-request-id") && !message.contains("pool"), "{message}");
    let answer = app.get("/health").await;
    assert!(!answer.expect_tei_error(503, "Unhealthy").contains("pool"));
    assert_eq!(answer.headers[header::RETRY_AFTER], "10");
}

/// What goes wrong before a handler is reached: a status, TEI's type, OpenAI's status, type and code.
#[tokio::test]
async fn errors_of_every_layer_are_written_as_the_paths_clients_read_them() {
    let app = TestApp::start_with(|state| {
        state.api_key = Some(Secret::new("s3cret"));
        state.limits.max_body_bytes = 100;
    })
    .await;
    let json = "application/json";
    for (key, method, content_type, body, status, code) in [
        ("wrong", Method::POST, json, "{}".to_owned(), 401, "invalid_api_key"),
        ("s3cret", Method::PATCH, json, "{}".to_owned(), 405, "method_not_supported"),
        ("s3cret", Method::POST, json, "{".to_owned(), 400, "malformed_request"),
        ("s3cret", Method::POST, "text/plain", "{}".to_owned(), 415, "unsupported_media_type"),
        ("s3cret", Method::POST, json, " ".repeat(101), 413, "too_large"),
    ] {
        let send = async |path: &str| {
            let request = request(method.clone(), path).header("authorization", format!("Bearer {key}"));
            let request = request.header(header::CONTENT_TYPE, content_type).body(body.clone().into());
            app.send(request.unwrap()).await
        };
        for path in ["/embed", "/", "/similarity", "/tokenize"] {
            let answer = send(path).await;
            let message = answer.expect_tei_error(status, "Validation");
            assert_eq!(answer.json(), json!({ "error": message, "error_type": "Validation" }));
        }
        let answer = send("/v1/embeddings").await;
        let message = answer.expect_error(status, code);
        let error = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": code });
        assert_eq!(answer.json(), json!({ "error": error }));
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
        let expected = if status == 401 { Some("Bearer realm=\"matryo\"") } else { None };
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE);
        assert_eq!(challenge.map(|value| value.to_str().unwrap()), expected);
    }
}

#[tokio::test]
async fn paths_without_a_route_speak_their_dialect_too() {
    let app = TestApp::start().await;
    app.get("/embed/x").await.expect_tei_error(404, "Validation");
    let answer = app.get("/v1/fine_tuning/nothing").await;
    assert_eq!(answer.expect(404)["error"]["type"], "invalid_request_error");
    assert_eq!(answer.json()["error"]["param"], Value::Null);
    let head = app.send(request(Method::HEAD, "/v1/files/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
}

#[tokio::test]
async fn a_conflict_tells_openais_client_not_to_try_again() {
    let app = TestApp::start().await;
    add_model_row(&app, "coming", ModelStatus::Pulling).await;
    let request = json!({ "input": "x", "model": "coming" });
    let answer = app.post_json("/v1/embeddings", &request).await;
    answer.expect_error(409, "conflict");
    assert_eq!(answer.headers["x-should-retry"], "false");
    let unknown = app.post_json("/v1/embeddings", &json!({ "input": "x", "model": "nowhere" })).await;
    unknown.expect_error(404, "model_not_found");
    assert_eq!(unknown.json()["error"]["param"], "model");
    assert!(!unknown.headers.contains_key("x-should-retry"));
}
