//! The routes below a model's own address, and what answers tell of their computation.

use serde_json::{Value, json};

use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

fn tiny(seed: u64) -> TinyModel {
    TinyModel { seed, ..TinyModel::default() }
}

#[tokio::test]
async fn a_model_has_all_of_teis_routes_below_its_address() {
    let app = TestApp::start().await;
    add_base_model(&app, "org/one", &tiny(1)).await;
    add_base_model(&app, "two", &tiny(2)).await;
    let job = add_ended_job(&app, "two").await;
    add_checkpoint(&app, job, 1, &tiny(3), true).await;
    app.put_json("/v1/aliases/live", &json!({ "model": "two" })).await.expect(201);
    let checkpoint = format!("job:{job}@epoch-1");
    let texts = json!({ "source_sentence": "x", "sentences": ["y"] });
    for name in ["org/one", "org%2Fone", "two", &checkpoint, &format!("job:{job}"), "live"] {
        let model = name.replace("%2F", "/");
        for (route, body) in [
            ("/embed", json!({ "inputs": "the company" })),
            ("/embed_all", json!({ "inputs": "the company" })),
            ("/similarity", json!({ "inputs": texts })),
            ("/tokenize", json!({ "inputs": "the company" })),
            ("/decode", json!({ "ids": [2, 3] })),
        ] {
            let mut named = body.clone();
            named["model"] = json!(model);
            let expected = app.post_json(route, &named).await.expect(200);
            assert_eq!(app.post_json(&format!("/models/{name}{route}"), &body).await.expect(200), expected, "{name}");
            // Naming it twice does no harm.
            assert_eq!(app.post_json(&format!("/models/{name}{route}"), &named).await.expect(200), expected, "{name}");
        }
        let request = json!({ "inputs": "the company" });
        let at_root = app.post_json(&format!("/models/{name}"), &request).await.expect(200);
        assert_eq!(at_root, app.post_json(&format!("/models/{name}/embed"), &request).await.expect(200));
        let info = app.get(&format!("/models/{name}/info")).await.expect(200);
        assert_eq!((&info["model_id"], &info["max_input_length"]), (&json!(model), &json!(32)));
        assert_eq!(info["model_type"], json!({ "embedding": { "pooling": "mean" } }));
        assert_eq!(info["model_sha"].is_string(), name.starts_with("job:"));
    }
    let both = json!({ "inputs": "x", "model": "org/one" });
    let message = app.post_json("/models/two/embed", &both).await.expect_tei_error(422, "Validation");
    assert!(message.contains("`two`"), "{message}");
    app.post_json("/models/none/embed", &json!({ "inputs": "x" })).await.expect_tei_error(404, "Validation");
    app.get("/models/none/info").await.expect_tei_error(404, "Validation");
    app.post_json("/models/job:7/embed", &json!({ "inputs": "x" })).await.expect_tei_error(422, "Validation");
}

#[tokio::test]
async fn answers_tell_what_they_took_by_teis_names() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &tiny(1)).await;
    let similarity = json!({ "inputs": { "source_sentence": "é", "sentences": ["the company"] } });
    for (path, body, characters, tokens) in [
        ("/embed", json!({ "inputs": ["é", "the company"] }), "12", "7"),
        ("/", json!({ "inputs": ["é", "the company"] }), "12", "7"),
        ("/embed", json!({ "inputs": [2, 40, 3] }), "3", "3"),
        ("/similarity", similarity, "12", "7"),
        ("/v1/embeddings", json!({ "input": ["é", "the company"] }), "12", "7"),
        ("/models/tiny/embed", json!({ "inputs": "the company" }), "11", "4"),
    ] {
        let answer = app.post_json(path, &body).await;
        answer.expect(200);
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        assert_eq!((header("x-compute-type"), header("x-compute-characters")), ("cpu", characters), "{path}");
        assert_eq!(header("x-compute-tokens"), tokens, "{path}");
        for name in ["x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"] {
            header(name).parse::<u64>().expect("it is a number of milliseconds");
        }
        assert!(!answer.headers.contains_key("x-matryo-warning"));
    }
}

#[tokio::test]
async fn a_length_that_the_model_was_not_trained_at_is_warned_of() {
    let app = TestApp::start().await;
    let folder = add_base_model(&app, "matryoshka", &tiny(1)).await;
    let config = folder.join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    json["matryoshka_dimensions"] = json!([16, 8]);
    std::fs::write(&config, json.to_string()).unwrap();
    add_base_model(&app, "plain", &tiny(2)).await;
    let texts = json!({ "source_sentence": "x", "sentences": ["y"] });
    for (model, dimensions, is_odd) in [
        ("matryoshka", json!(12), true),
        ("matryoshka", json!(16), false),
        ("matryoshka", json!(32), false),
        ("matryoshka", Value::Null, false),
        ("plain", json!(12), false),
    ] {
        for (path, body) in [
            ("/embed", json!({ "inputs": "x", "model": model, "dimensions": dimensions })),
            ("/v1/embeddings", json!({ "input": "x", "model": model, "dimensions": dimensions })),
            ("/similarity", json!({ "inputs": texts, "model": model, "parameters": { "dimensions": dimensions } })),
        ] {
            let answer = app.post_json(path, &body).await;
            answer.expect(200);
            let warning = answer.headers.get("x-matryo-warning").map(|value| value.to_str().unwrap());
            assert_eq!(warning.is_some(), is_odd, "{path} {body}: {warning:?}");
            assert!(
                warning.is_none_or(|text| text.contains("dimension 12") && text.ends_with("at 16, 8")),
                "{warning:?}"
            );
        }
    }
}
