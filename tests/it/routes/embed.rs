//! Embedding in TEI's shape.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::{TinyModel, vocabulary};

const TEXTS: [&str; 4] = ["the company", "net income of the year fell", "?", "a red bird in the tree by the river"];

/// A service with one model.
async fn app() -> TestApp {
    let app = TestApp::start().await;
    let prompts = BTreeMap::from([("query".to_owned(), "what is ".to_owned())]);
    add_base_model(&app, "tiny", &TinyModel { prompts, ..TinyModel::default() }).await;
    app
}

async fn embed(app: &TestApp, request: &Value) -> Vec<Vec<f32>> {
    let json = app.post_json("/embed", request).await.expect(200);
    serde_json::from_value(json).expect("it is a list of embeddings")
}

async fn refused(app: &TestApp, request: &Value) -> Value {
    let json = app.post_json("/embed", request).await.expect(422);
    assert_eq!(json["error_type"], "Validation", "{json}");
    json["details"]["fields"].clone()
}

fn length(embedding: &[f32]) -> f32 {
    embedding.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[track_caller]
fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "they differ by {worst}: {a:?} {b:?}");
}

#[tokio::test]
async fn one_text_or_many_become_embeddings_of_length_one() {
    let app = app().await;
    let one = embed(&app, &json!({ "inputs": TEXTS[0] })).await;
    assert_eq!((one.len(), one[0].len()), (1, 32));
    let many = embed(&app, &json!({ "inputs": TEXTS })).await;
    assert_eq!(many.len(), 4);
    assert!(many.iter().all(|embedding| (length(embedding) - 1.0).abs() < 1e-5));
    assert_close(&many[0], &one[0]);
    assert!(many[0].iter().zip(&many[1]).any(|(a, b)| (a - b).abs() > 1e-3), "texts differ, so embeddings do");
}

#[tokio::test]
async fn the_root_answers_as_embed_does() {
    let app = app().await;
    let request = json!({ "inputs": TEXTS[0] });
    let at_root = app.post_json("/", &request).await.expect(200);
    assert_eq!(at_root, app.post_json("/embed", &request).await.expect(200));
}

#[tokio::test]
async fn an_embedding_is_cut_and_then_normalised() {
    let app = app().await;
    let raw = embed(&app, &json!({ "inputs": TEXTS, "normalize": false })).await;
    assert!((length(&raw[0]) - 1.0).abs() > 1e-2, "the model's own normalising is left out: {}", length(&raw[0]));
    for dimensions in [32, 16, 1] {
        let cut = embed(&app, &json!({ "inputs": TEXTS, "dimensions": dimensions })).await;
        let raw_cut = embed(&app, &json!({ "inputs": TEXTS, "dimensions": dimensions, "normalize": false })).await;
        for ((cut, raw_cut), raw) in cut.iter().zip(&raw_cut).zip(&raw) {
            let first = &raw[..dimensions];
            assert_close(raw_cut, first);
            let expected: Vec<f32> = first.iter().map(|value| value / length(first)).collect();
            assert_close(cut, &expected);
        }
    }
    for dimensions in [json!(0), json!(33), json!(-1), json!("8"), json!(1.5)] {
        let fields = refused(&app, &json!({ "inputs": "x", "dimensions": dimensions })).await;
        assert_eq!(fields[0]["field"], "dimensions", "{fields}");
    }
}

#[tokio::test]
async fn what_else_is_embedded_at_the_same_time_changes_nothing() {
    let app = app().await;
    let text = |number: usize| TEXTS.repeat(number).join(" ");
    let alone = embed(&app, &json!({ "inputs": (1..=24).map(text).collect::<Vec<_>>() })).await;
    let requests = (1..=24).map(|number| json!({ "inputs": [text(number), text(25 - number)] })).collect::<Vec<_>>();
    let together = join_all(requests.iter().map(|request| embed(&app, request))).await;
    for (number, embeddings) in together.iter().enumerate() {
        assert_close(&embeddings[0], &alone[number]);
        assert_close(&embeddings[1], &alone[23 - number]);
    }
}

#[tokio::test]
async fn token_ids_are_embedded_as_the_text_that_they_stand_for() {
    let app = app().await;
    let id = |token: &str| vocabulary().iter().position(|known| known == token).expect("it is a token");
    let ids = [id("[CLS]"), id("the"), id("company"), id("[SEP]")];
    let of_text = embed(&app, &json!({ "inputs": "the company" })).await;
    for request in [json!({ "inputs": ids }), json!({ "inputs": [ids] })] {
        assert_close(&embed(&app, &request).await[0], &of_text[0]);
    }
    let mixed = embed(&app, &json!({ "inputs": ["a bird", ids] })).await;
    assert_close(&mixed[1], &of_text[0]);

    let size = vocabulary().len();
    let answer = app.post_json("/embed", &json!({ "inputs": [[2, 3], [2, size, 3]] })).await;
    answer.expect_tei_error(422, "Tokenizer");
    let fields = answer.json()["details"]["fields"].clone();
    assert_eq!(fields[0]["field"], "inputs[1]");
    let message = fields[0]["message"].as_str().unwrap();
    assert!(message.contains(&format!("token id {size} ")), "{message}");
}

#[tokio::test]
async fn texts_that_are_too_long_are_cut_unless_the_request_forbids_it() {
    let app = app().await;
    // 30 words and the two special tokens are what the model takes.
    let (first, last) = (["red"; 30].join(" "), ["blue"; 30].join(" "));
    let long = format!("{first} {last}");
    let ends = embed(&app, &json!({ "inputs": [first, last] })).await;
    for (request, expected) in [
        (json!({ "inputs": long }), &ends[0]),
        (json!({ "inputs": long, "truncate": null, "truncation_direction": null }), &ends[0]),
        (json!({ "inputs": long, "truncate": true, "truncation_direction": "right" }), &ends[0]),
        (json!({ "inputs": long, "truncation_direction": "Left" }), &ends[1]),
    ] {
        assert_close(&embed(&app, &request).await[0], expected);
    }
    assert_eq!(embed(&app, &json!({ "inputs": first, "truncate": false })).await.len(), 1, "it just fits");
    let ids = vec![5; 33];
    let fields = refused(&app, &json!({ "inputs": ["x", long, ids], "truncate": false })).await;
    assert_eq!([&fields[0]["field"], &fields[1]["field"]], ["inputs[1]", "inputs[2]"]);
    let message = fields[0]["message"].as_str().unwrap();
    assert!(message.starts_with("62 tokens, but the model takes 32 at most"), "{message}");
    assert_close(
        &embed(&app, &json!({ "inputs": [ids] })).await[0],
        &embed(&app, &json!({ "inputs": [ids[..32]] })).await[0],
    );
}

#[tokio::test]
async fn a_prompt_goes_before_each_text() {
    let app = app().await;
    let prompted = embed(&app, &json!({ "inputs": ["the tax", "a dog"], "prompt_name": "query" })).await;
    let written = embed(&app, &json!({ "inputs": ["what is the tax", "what is a dog"] })).await;
    assert_close(&prompted[0], &written[0]);
    assert_close(&prompted[1], &written[1]);
    let fields = refused(&app, &json!({ "inputs": "the tax", "prompt_name": "document" })).await;
    assert_eq!(fields[0]["field"], "prompt_name");
    assert!(fields[0]["message"].as_str().unwrap().contains("`query`"), "{fields}");
    let fields = refused(&app, &json!({ "inputs": [2, 3], "prompt_name": "query" })).await;
    assert_eq!(fields[0]["field"], "prompt_name");
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field_that_is_wrong() {
    let app = app().await;
    for (request, field) in [
        (json!({ "inputs": 7 }), "inputs"),
        (json!({ "inputs": [1, "x"] }), "inputs"),
        (json!({ "inputs": ["x", null] }), "inputs"),
        (json!({ "inputs": "x", "normalize": "yes" }), "normalize"),
        (json!({ "inputs": "x", "truncation_direction": "middle" }), "truncation_direction"),
        (json!({ "inputs": "x", "model": "" }), "model"),
        (json!({ "inputs": "x", "model": "job:7" }), "model"),
    ] {
        let fields = refused(&app, &request).await;
        let found = fields[0]["field"].as_str().unwrap();
        assert!(found == field || found.starts_with(&format!("{field}[")), "{request}: {fields}");
    }
    for (inputs, name) in [
        (json!([]), "`inputs`"),
        (json!(""), "`inputs`"),
        (json!(["x", ""]), "`inputs[1]`"),
        (json!([[2, 3], []]), "`inputs[1]`"),
    ] {
        let message = app.post_json("/embed", &json!({ "inputs": inputs })).await.expect_tei_error(400, "Empty");
        assert_eq!(message, format!("{name} cannot be empty"));
    }
    app.post_json("/embed", &json!({})).await.expect(422);
    app.post_json("/embed", &json!([])).await.expect(422);
    let both = refused(&app, &json!({ "inputs": "x", "dimensions": 0, "prompt_name": "no" })).await;
    assert_eq!(both.as_array().unwrap().len(), 2, "{both}");
}

#[tokio::test]
async fn more_texts_than_the_limit_are_refused() {
    let app = TestApp::start_with(|state| state.limits.max_client_batch_size = 3).await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    app.post_json("/embed", &json!({ "inputs": ["a", "b", "c"] })).await.expect(200);
    let message =
        app.post_json("/embed", &json!({ "inputs": ["a", "b", "c", "d"] })).await.expect_tei_error(422, "Validation");
    assert!(message.contains("batch size 4 > maximum allowed batch size 3"), "{message}");
}
