//! Embedding in OpenAI's shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

async fn app() -> TestApp {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    app
}

fn floats(json: &Value) -> Vec<f32> {
    serde_json::from_value(json.clone()).expect("it is a list of numbers")
}

#[tokio::test]
async fn the_answer_is_a_list_in_order_with_usage() {
    let app = app().await;
    let texts = ["the company", "net income of the year"];
    // What the `openai` package and LangChain send beside the inputs.
    let request =
        json!({ "input": texts, "model": "tiny", "user": "u", "encoding_format": "float", "extra": { "a": 1 } });
    let json = app.post_json("/v1/embeddings", &request).await.expect(200);
    assert_eq!(json["object"], "list");
    assert_eq!(json["model"], "tiny");
    // 2 and 5 words, and two special tokens with each.
    assert_eq!(json["usage"], json!({ "prompt_tokens": 11, "total_tokens": 11 }));
    let data = json["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    let as_tei = app.post_json("/embed", &json!({ "inputs": texts })).await.expect(200);
    for (index, object) in data.iter().enumerate() {
        assert_eq!(object["object"], "embedding");
        assert_eq!(object["index"], index);
        assert_eq!(object["embedding"], as_tei[index]);
    }
}

#[tokio::test]
async fn base64_holds_the_same_numbers() {
    let app = app().await;
    for dimensions in [None, Some(8)] {
        let request =
            |format: &str| json!({ "input": "the company", "encoding_format": format, "dimensions": dimensions });
        let plain = app.post_json("/v1/embeddings", &request("float")).await.expect(200);
        let packed = app.post_json("/v1/embeddings", &request("base64")).await.expect(200);
        let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let unpacked: Vec<f32> =
            bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(unpacked, floats(&plain["data"][0]["embedding"]));
        assert_eq!(unpacked.len(), dimensions.unwrap_or(32));
        let length: f32 = unpacked.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        assert_eq!(packed["usage"], plain["usage"]);
    }
}

#[tokio::test]
async fn token_ids_one_text_or_many_are_taken() {
    let app = app().await;
    let one = app.post_json("/v1/embeddings", &json!({ "input": [2, 40, 3] })).await.expect(200);
    let many = app.post_json("/v1/embeddings", &json!({ "input": [[2, 40, 3], [2, 3]] })).await.expect(200);
    assert_eq!(one["usage"]["prompt_tokens"], 3);
    assert_eq!(many["usage"]["prompt_tokens"], 5);
    let (one, many) = (floats(&one["data"][0]["embedding"]), floats(&many["data"][0]["embedding"]));
    assert!(one.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[tokio::test]
async fn token_ids_of_another_tokenizer_are_refused_with_a_hint() {
    let app = app().await;
    // All are in the vocabulary, as OpenAI's ids of common words are in most, but no special token stands round them.
    for (input, param) in [
        (json!([40, 41, 42]), "input[0]"),
        (json!([[2, 40, 3], [40, 41]]), "input[1]"),
        (json!([2, 40]), "input[0]"),
        (json!([2, 100_000, 3]), "input[0]"),
        (json!([2]), "input[0]"),
    ] {
        let answer = app.post_json("/v1/embeddings", &json!({ "input": input })).await;
        let message = answer.expect_error(400, "bad_tokens");
        assert!(message.contains("check_embedding_ctx_length=False"), "{message}");
        assert_eq!(answer.json()["error"]["param"], param, "{message}");
    }
    // TEI's route takes them as they are.
    app.post_json("/embed", &json!({ "inputs": [40, 41, 42] })).await.expect(200);
}

#[tokio::test]
async fn as_many_inputs_as_openai_takes_are_taken_at_once() {
    let app = app().await;
    let json = app.post_json("/v1/embeddings", &json!({ "input": vec!["a"; 2048] })).await.expect(200);
    assert_eq!(json["data"].as_array().unwrap().len(), 2048);
    let answer = app.post_json("/v1/embeddings", &json!({ "input": vec!["a"; 2049] })).await;
    assert!(answer.expect_error(400, "array_above_max_length").contains("maximum length 2048"));
}

#[tokio::test]
async fn a_text_that_is_too_long_is_cut_and_counted_as_cut() {
    let app = app().await;
    let json = app.post_json("/v1/embeddings", &json!({ "input": "red ".repeat(500) })).await.expect(200);
    assert_eq!(json["usage"]["prompt_tokens"], 32);
}

#[tokio::test]
async fn empty_input_and_too_much_are_refused_in_openais_words() {
    let app = TestApp::start_with(|state| state.limits.max_client_batch_size = 3).await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let empty =
        "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.";
    let long = "Invalid 'input': array too long. Expected an array with maximum length 3, but got an array with length 4 instead.";
    for (input, code, param, message) in [
        (json!([]), "empty_array", "input", empty),
        (json!(["a", "b", "c", "d"]), "array_above_max_length", "input", long),
        (json!(""), "invalid_value", "input", "Invalid 'input': the input cannot be an empty string."),
        (json!(["a", ""]), "invalid_value", "input[1]", "Invalid 'input[1]': the input cannot be an empty string."),
    ] {
        let answer = app.post_json("/v1/embeddings", &json!({ "input": input })).await;
        assert_eq!(answer.expect_error(400, code), message);
        assert_eq!(answer.json()["error"]["param"], param);
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn bad_requests_name_the_field_as_the_client_wrote_it() {
    let app = app().await;
    for (request, field) in [
        (json!({ "input": {} }), "input"),
        (json!({ "input": "x", "encoding_format": "int8" }), "encoding_format"),
        (json!({ "input": "x", "dimensions": 33 }), "dimensions"),
    ] {
        let json = app.post_json("/v1/embeddings", &request).await.expect(400);
        assert_eq!(json["error"]["details"]["fields"][0]["field"], field, "{request}: {json}");
    }
}
