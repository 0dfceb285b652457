//! Tokens of texts.

use serde_json::{Value, json};

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::{TinyModel, vocabulary};

async fn app() -> TestApp {
    let app = TestApp::start().await;
    let prompts = [("query".to_owned(), "what ".to_owned())].into();
    add_base_model(&app, "tiny", &TinyModel { prompts, ..TinyModel::default() }).await;
    app
}

async fn tokenize(app: &TestApp, request: &Value) -> Vec<Vec<Value>> {
    serde_json::from_value(app.post_json("/tokenize", request).await.expect(200)).expect("it is a list of lists")
}

fn token(text: &str, piece: &str, span: Option<(usize, usize)>) -> Value {
    let id = vocabulary().iter().position(|known| known == text).expect("it is a token");
    let (start, stop) = span.unzip();
    json!({ "id": id, "text": piece, "special": span.is_none(), "start": start, "stop": stop })
}

#[tokio::test]
async fn each_token_comes_with_its_piece_of_the_text() {
    let app = app().await;
    let tokens = tokenize(&app, &json!({ "inputs": ["The dogs", " "] })).await;
    let (cls, sep) = (token("[CLS]", "[CLS]", None), token("[SEP]", "[SEP]", None));
    let expected = [
        cls.clone(),
        token("the", "The", Some((0, 3))),
        token("dog", "dog", Some((4, 7))),
        token("##s", "s", Some((7, 8))),
        sep.clone(),
    ];
    assert_eq!(tokens[0], expected);
    assert_eq!(tokens[1], [cls, sep]);
    let bare = tokenize(&app, &json!({ "inputs": "The dogs", "add_special_tokens": false })).await;
    assert_eq!(bare[0], expected[1..4]);
    let prompted = tokenize(&app, &json!({ "inputs": "the", "prompt_name": "query" })).await;
    assert_eq!(prompted[0][1..3], [token("what", "what", Some((0, 4))), token("the", "the", Some((5, 8)))]);
}

#[tokio::test]
async fn spans_are_bytes_and_no_text_is_cut() {
    let app = app().await;
    let tokens = tokenize(&app, &json!({ "inputs": "é the", "add_special_tokens": false })).await;
    let last = tokens[0].last().unwrap();
    assert_eq!((&last["start"], &last["stop"]), (&json!(3), &json!(6)));
    let tokens = tokenize(&app, &json!({ "inputs": "red ".repeat(100) })).await;
    assert_eq!(tokens[0].len(), 102);
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let app = app().await;
    for inputs in [json!([]), json!(""), json!(["x", ""])] {
        app.post_json("/tokenize", &json!({ "inputs": inputs })).await.expect_tei_error(400, "Empty");
    }
    for (request, field) in [
        (json!({ "inputs": [1] }), "inputs"),
        (json!({ "inputs": "x".repeat((1 << 20) + 1) }), "inputs"),
        (json!({ "inputs": "x", "prompt_name": "no" }), "prompt_name"),
    ] {
        let json = app.post_json("/tokenize", &request).await.expect(422);
        assert_eq!(json["details"]["fields"][0]["field"], field, "{json}");
    }
}
