//! Which model embeds: names, jobs, checkpoints, and models that cannot.

use std::sync::mpsc;
use std::time::Duration;

use futures::poll;
use matryo::domain::{JobId, ModelStatus};
use matryo::serving::{EmbedInput, EmbedRequest, EmbeddingService, ServingOptions};
use serde_json::{Value, json};

use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

fn tiny(seed: u64) -> TinyModel {
    TinyModel { seed, ..TinyModel::default() }
}

async fn embed_with(app: &TestApp, model: &str) -> Value {
    app.post_json("/embed", &json!({ "inputs": "the company", "model": model })).await.expect(200)
}

#[tokio::test]
async fn a_model_may_be_left_out_where_there_is_one() {
    let app = TestApp::start().await;
    let request = json!({ "inputs": "the company" });
    let message = app.post_json("/embed", &request).await.expect_tei_error(422, "Validation");
    assert!(message.contains("no base model is ready"), "{message}");

    add_base_model(&app, "one", &tiny(1)).await;
    add_model_row(&app, "on-its-way", ModelStatus::Pulling).await;
    assert_eq!(app.post_json("/embed", &request).await.expect(200), embed_with(&app, "one").await);

    add_base_model(&app, "two", &tiny(2)).await;
    for path in ["/embed", "/", "/tokenize"] {
        let message = app.post_json(path, &request).await.expect_tei_error(422, "Validation");
        assert!(message.contains("`one`") && message.contains("`two`"), "{message}");
        assert!(!message.contains("on-its-way"), "{message}");
    }
    assert_ne!(embed_with(&app, "one").await, embed_with(&app, "two").await);
}

#[tokio::test]
async fn unknown_models_are_not_found_and_those_that_cannot_embed_yet_are_a_conflict() {
    let app = TestApp::start().await;
    add_base_model(&app, "base", &tiny(1)).await;
    add_model_row(&app, "pulling", ModelStatus::Pulling).await;
    add_model_row(&app, "failed", ModelStatus::Failed).await;
    let job = add_ended_job(&app, "base").await;
    for (model, status, code, part) in [
        ("nowhere".to_owned(), 404, "model_not_found", "`nowhere`"),
        ("../../etc".to_owned(), 404, "model_not_found", "`../../etc`"),
        (format!("job:{}", JobId::generate()), 404, "model_not_found", "there is no job"),
        (format!("job:{job}@epoch-3"), 404, "model_not_found", "there is no checkpoint"),
        (format!("job:{job}"), 409, "conflict", "no checkpoint yet"),
        ("pulling".to_owned(), 409, "conflict", "still being pulled"),
        ("failed".to_owned(), 409, "conflict", "the Hub burned down"),
    ] {
        for (path, request) in [
            ("/embed", json!({ "inputs": "x", "model": model })),
            ("/v1/embeddings", json!({ "input": "x", "model": model })),
            ("/similarity", json!({ "inputs": { "source_sentence": "x", "sentences": ["y"] }, "model": model })),
            ("/tokenize", json!({ "inputs": "x", "model": model })),
        ] {
            let answer = app.post_json(path, &request).await;
            let message = if path.starts_with("/v1") {
                answer.expect_error(status, code)
            } else {
                answer.expect_tei_error(status, if status == 404 { "Validation" } else { "Backend" })
            };
            assert!(message.contains(part), "{path} with {model}: {message}");
        }
    }
}

#[tokio::test]
async fn a_job_means_its_best_checkpoint_whichever_that_is_now() {
    let app = TestApp::start().await;
    add_base_model(&app, "base", &tiny(1)).await;
    let job = add_ended_job(&app, "base").await;
    add_checkpoint(&app, job, 1, &tiny(2), true).await;
    let first = embed_with(&app, &format!("job:{job}")).await;
    assert_ne!(first, embed_with(&app, "base").await);
    assert_eq!(first, embed_with(&app, &format!("job:{job}@epoch-1")).await);

    add_checkpoint(&app, job, 2, &tiny(3), false).await;
    assert_eq!(first, embed_with(&app, &format!("job:{job}")).await, "the second is no better");

    add_checkpoint(&app, job, 3, &tiny(4), true).await;
    let third = embed_with(&app, &format!("job:{job}@best")).await;
    assert_ne!(first, third);
    assert_eq!(third, embed_with(&app, &format!("job:{job}@epoch-3")).await);
    assert_eq!(first, embed_with(&app, &format!("job:{job}@epoch-1")).await);

    // A resumed job writes an epoch anew.
    add_checkpoint(&app, job, 3, &tiny(5), true).await;
    assert_ne!(third, embed_with(&app, &format!("job:{job}")).await);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_says_why_and_is_tried_again() {
    let app = TestApp::start().await;
    let folder = add_base_model(&app, "broken", &tiny(1)).await;
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let request = json!({ "inputs": "x", "model": "broken" });
    let message = app.post_json("/embed", &request).await.expect_tei_error(424, "Backend");
    assert!(message.contains("model.safetensors"), "{message}");
    std::fs::write(folder.join("model.safetensors"), &weights).unwrap();
    app.post_json("/embed", &request).await.expect(200);
}

#[tokio::test]
async fn an_evicted_model_is_read_again() {
    let app = TestApp::start().await;
    let folder = add_base_model(&app, "base", &tiny(1)).await;
    let before = embed_with(&app, "base").await;
    tiny(2).write(&folder);
    assert_eq!(before, embed_with(&app, "base").await, "it is in memory");
    app.state.embedding.evict(&"base".parse().unwrap()).await;
    assert_ne!(before, embed_with(&app, "base").await);
}

#[tokio::test]
async fn with_all_places_taken_clients_are_told_when_to_try_again() {
    let app = TestApp::start_with(|state| {
        let options = ServingOptions { cache_bytes: 1, max_waiting_texts: 2, ..ServingOptions::default() };
        state.embedding = EmbeddingService::start(state.store.clone(), state.data_dir.clone(), options);
    })
    .await;
    add_base_model(&app, "base", &tiny(1)).await;
    let request = EmbedRequest {
        model: "base".parse().unwrap(),
        inputs: vec![EmbedInput::Text("x".into()); 5],
        dimensions: None,
        normalize: true,
        truncate: true,
        truncation_direction: matryo::data::tokenization::CutEnd::Right,
        prompt_name: None,
        own_token_ids: false,
    };
    let mut first = Box::pin(app.state.embedding.embed(request));
    assert!(poll!(&mut first).is_pending(), "it takes all places, being larger than they are");
    let answer = app.post_json("/embed", &json!({ "inputs": "x", "model": "base" })).await;
    answer.expect_tei_error(429, "Overloaded");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(first.await.unwrap().rows().len(), 5);
    embed_with(&app, "base").await;
}

#[test]
fn an_answer_that_is_not_there_in_time_is_given_up() {
    // One thread for what blocks, and the test holds it: no model is loaded for as long as the test wants.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.expect("a runtime can be made").block_on(async {
        let app = TestApp::start_with(|state| {
            let options =
                ServingOptions { timeout: Duration::from_millis(5), max_waiting_texts: 2, ..ServingOptions::default() };
            state.embedding = EmbeddingService::start(state.store.clone(), state.data_dir.clone(), options);
        })
        .await;
        add_base_model(&app, "base", &tiny(1)).await;
        let (release, held) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        // More often than there are places: those who gave up hold none.
        for _ in 0..5 {
            let answer = app.post_json("/embed", &json!({ "inputs": "x", "model": "base" })).await;
            let message = answer.expect_tei_error(503, "Unhealthy");
            assert!(message.contains("not embedded within 0 s"), "{message}");
            assert_eq!(answer.headers["retry-after"], "1");
        }
        let answer = app.post_json("/v1/embeddings", &json!({ "input": "x", "model": "base" })).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        drop(release);
    });
}

#[tokio::test]
async fn after_the_end_nothing_is_embedded() {
    let app = TestApp::start().await;
    add_base_model(&app, "base", &tiny(1)).await;
    embed_with(&app, "base").await;
    app.state.embedding.shutdown().await;
    app.state.embedding.shutdown().await;
    app.post_json("/embed", &json!({ "inputs": "x", "model": "base" })).await.expect_tei_error(503, "Unhealthy");
}
