//! Texts of token ids.

use serde_json::{Value, json};

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::{TinyModel, vocabulary};

async fn app() -> TestApp {
    let app = TestApp::start_with(|state| state.limits.max_client_batch_size = 3).await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    app
}

#[tokio::test]
async fn what_was_taken_apart_is_put_together() {
    let app = app().await;
    let tokens = app.post_json("/tokenize", &json!({ "inputs": ["the company", "a dog"] })).await.expect(200);
    let ids: Vec<Vec<Value>> = tokens
        .as_array()
        .unwrap()
        .iter()
        .map(|tokens| tokens.as_array().unwrap().iter().map(|token| token["id"].clone()).collect())
        .collect();
    let texts = app.post_json("/decode", &json!({ "ids": ids })).await.expect(200);
    assert_eq!(texts, json!(["the company", "a dog"]));
    let one = json!({ "ids": ids[0], "skip_special_tokens": false, "model": "tiny" });
    assert_eq!(app.post_json("/decode", &one).await.expect(200), json!(["[CLS] the company [SEP]"]));
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let app = app().await;
    for ids in [json!([]), json!([[]]), json!([[2, 3], []])] {
        app.post_json("/decode", &json!({ "ids": ids })).await.expect_tei_error(400, "Empty");
    }
    for ids in [json!("x"), json!([-1]), json!(["x"]), json!([[[1]]]), json!([[2], [2], [2], [2]])] {
        app.post_json("/decode", &json!({ "ids": ids })).await.expect_tei_error(422, "Validation");
    }
    let size = vocabulary().len();
    let message = app.post_json("/decode", &json!({ "ids": [[2], [size]] })).await.expect_tei_error(422, "Tokenizer");
    assert!(message.contains("ids[1]") && message.contains(&size.to_string()), "{message}");
}
