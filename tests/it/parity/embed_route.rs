//! What /embed answers is what sentence-transformers' `encode` gives, with real weights.

use serde::Deserialize;
use serde_json::json;

use crate::helpers::models::add_model_folder;
use crate::helpers::reference::{fixture, minilm};
use crate::helpers::test_app::TestApp;

#[derive(Deserialize)]
struct Reference {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    input_ids: Vec<u32>,
    embedding: Vec<f32>,
}

#[tokio::test]
async fn awkward_texts_and_their_token_ids_are_embedded_as_by_sentence_transformers() {
    let Some(folder) = minilm() else { return };
    let app = TestApp::start().await;
    add_model_folder(&app, "minilm", &folder).await;
    let mut items = fixture::<Reference>("reference/embeddings.json").items;
    // The route refuses them, as TEI does.
    items.retain(|item| !item.text.is_empty());
    let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
    let ids: Vec<&[u32]> = items.iter().map(|item| &item.input_ids[..]).collect();
    for inputs in [json!(texts), json!(ids)] {
        let answer = app.post_json("/embed", &json!({ "inputs": inputs })).await.expect(200);
        let embeddings: Vec<Vec<f32>> = serde_json::from_value(answer).expect("it is a list of embeddings");
        assert_eq!(embeddings.len(), items.len());
        for (embedding, item) in embeddings.iter().zip(&items) {
            assert_eq!(embedding.len(), item.embedding.len());
            for (value, expected) in embedding.iter().zip(&item.embedding) {
                assert!((value - expected).abs() < 1e-5, "{:?}: {value} and {expected}", item.text);
            }
        }
    }
    let cut = app.post_json("/embed", &json!({ "inputs": texts, "dimensions": 64 })).await.expect(200);
    let cut: Vec<Vec<f32>> = serde_json::from_value(cut).expect("it is a list of embeddings");
    for (embedding, item) in cut.iter().zip(&items) {
        let first = &item.embedding[..64];
        let length = first.iter().map(|value| value * value).sum::<f32>().sqrt();
        for (value, expected) in embedding.iter().zip(first) {
            assert!((value - expected / length).abs() < 1e-5, "{:?}: {value}", item.text);
        }
    }
}
