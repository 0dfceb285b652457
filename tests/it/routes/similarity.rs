//! Similarity of one text to others.

use serde_json::json;

use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

#[tokio::test]
async fn similarities_are_cosines_of_the_embeddings() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let texts = ["net income of the year", "net income of the year", "a red bird", "?"];
    for dimensions in [None, Some(8)] {
        let request = json!({ "inputs": texts, "dimensions": dimensions });
        let embeddings = app.post_json("/embed", &request).await.expect(200);
        let embeddings: Vec<Vec<f32>> = serde_json::from_value(embeddings).unwrap();
        let request = json!({
            "inputs": { "source_sentence": texts[0], "sentences": texts[1..] },
            "parameters": { "dimensions": dimensions },
            "model": "tiny",
        });
        let scores = app.post_json("/similarity", &request).await.expect(200);
        let scores: Vec<f32> = serde_json::from_value(scores).unwrap();
        assert_eq!(scores.len(), 3);
        assert!((scores[0] - 1.0).abs() < 1e-5 && scores[0] <= 1.0, "a text is like itself: {scores:?}");
        for (score, other) in scores.iter().zip(&embeddings[1..]) {
            let cosine: f32 = embeddings[0].iter().zip(other).map(|(a, b)| a * b).sum();
            assert!((score - cosine).abs() < 1e-5, "{score} {cosine}");
        }
    }
}

#[tokio::test]
async fn bad_requests_name_the_text_that_is_wrong() {
    let app = TestApp::start_with(|state| state.limits.max_client_batch_size = 3).await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let long = "red ".repeat(40);
    for (source, sentences, field) in
        [(long.as_str(), vec!["y"], "inputs.source_sentence"), ("x", vec!["y", &long], "inputs.sentences[1]")]
    {
        let inputs = json!({ "source_sentence": source, "sentences": sentences });
        let request = json!({ "inputs": inputs, "parameters": { "truncate": false } });
        let json = app.post_json("/similarity", &request).await.expect(422);
        assert_eq!(json["details"]["fields"][0]["field"], field, "{json}");
    }
    let inputs = json!({ "source_sentence": "x", "sentences": ["a", "b", "c"] });
    app.post_json("/similarity", &json!({ "inputs": inputs })).await.expect_tei_error(422, "Validation");
    for (source, sentences) in [("x", json!([])), ("x", json!([""])), ("", json!(["x"]))] {
        let inputs = json!({ "source_sentence": source, "sentences": sentences });
        app.post_json("/similarity", &json!({ "inputs": inputs })).await.expect_tei_error(400, "Empty");
    }
    app.post_json("/similarity", &json!({ "inputs": "x" })).await.expect_tei_error(422, "Validation");
}
