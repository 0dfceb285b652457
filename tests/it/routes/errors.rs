//! What holds for every route: errors are JSON, requests have ids, panics are caught.

use axum::body::Body;
use axum::http::{Method, header};

use crate::helpers::test_app::{TestApp, request};

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let app = TestApp::start().await;
    assert!(app.get("/v1/nothing").await.expect_error(404, "not_found").contains("/v1/nothing"));
    let answer = app.delete("/health").await;
    answer.expect_error(405, "method_not_allowed");
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
    let message = app.get("/health").await.expect_error(500, "internal");
    assert!(message.contains("x-request-id") && !message.contains("pool"), "{message}");
}
