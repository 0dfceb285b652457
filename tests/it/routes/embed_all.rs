//! An embedding for each token.

use serde_json::json;

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

async fn app() -> TestApp {
    let app = TestApp::start().await;
    let prompts = [("query".to_owned(), "what ".to_owned())].into();
    add_base_model(&app, "tiny", &TinyModel { prompts, ..TinyModel::default() }).await;
    app
}

#[tokio::test]
async fn the_mean_over_tokens_is_the_pooled_embedding() {
    let app = app().await;
    let texts = ["the company", "net income of the year"];
    for prompt in [None, Some("query")] {
        let request = json!({ "inputs": texts, "normalize": false, "prompt_name": prompt });
        let pooled: Vec<Vec<f32>> =
            serde_json::from_value(app.post_json("/embed", &request).await.expect(200)).unwrap();
        let request = json!({ "inputs": texts, "prompt_name": prompt });
        let all = app.post_json("/embed_all", &request).await;
        let tokens: Vec<Vec<Vec<f32>>> = serde_json::from_value(all.expect(200)).unwrap();
        let prompt_tokens = usize::from(prompt.is_some());
        // 2 and 5 words, and two special tokens with each.
        assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [4 + prompt_tokens, 7 + prompt_tokens]);
        let expected = 11 + 2 * prompt_tokens;
        assert_eq!(all.headers["x-compute-tokens"], expected.to_string().as_str());
        for (tokens, pooled) in tokens.iter().zip(&pooled) {
            for (dimension, value) in pooled.iter().enumerate() {
                let mean = tokens.iter().map(|token| token[dimension]).sum::<f32>() / tokens.len() as f32;
                assert!((mean - value).abs() < 1e-5, "{mean} {value}");
            }
        }
    }
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let app = app().await;
    app.post_json("/embed_all", &json!({ "inputs": "" })).await.expect_tei_error(400, "Empty");
    let long = "red ".repeat(40);
    let request = json!({ "inputs": long, "truncate": false });
    app.post_json("/embed_all", &request).await.expect_tei_error(422, "Validation");
    app.post_json("/embed_all", &json!({ "inputs": "x", "model": "no" })).await.expect_tei_error(404, "Validation");
    let cut = app.post_json("/embed_all", &json!({ "inputs": long })).await.expect(200);
    assert_eq!(cut[0].as_array().unwrap().len(), 32);
}
