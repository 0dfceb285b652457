//! Search of a dataset's corpus by several models side by side.

use std::collections::BTreeSet;

use matryo::domain::{DatasetId, ModelStatus};
use matryo::serving::{EmbeddingService, ServingOptions};
use serde_json::{Value, json};

use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

const PASSAGES: [&str; 12] = [
    "net income rose in the year",
    "the company paid a tax on income",
    "a red bird in a tree",
    "the cat and the dog of the house",
    "sales of bread and rice",
    "interest on the debt of the company",
    "a train to the capital city",
    "the river runs to the sea",
    "a book and a letter",
    "the market for music",
    "water from the mountain",
    "stars and the moon",
];

fn tiny(seed: u64) -> TinyModel {
    TinyModel { seed, ..TinyModel::default() }
}

/// A service with the models `one` and `two`, and a dataset of [`PASSAGES`], two rows of which evaluate.
async fn service() -> (TestApp, String) {
    let app = TestApp::start().await;
    add_base_model(&app, "one", &tiny(1)).await;
    add_base_model(&app, "two", &tiny(2)).await;
    let dataset = add_dataset(&app).await;
    (app, dataset)
}

async fn add_dataset(app: &TestApp) -> String {
    let row = |(number, passage): (usize, &&str)| {
        json!({ "id": format!("{number:02}"), "anchor": format!("question {number}"), "positive": passage }).to_string()
    };
    let rows: Vec<String> = PASSAGES.iter().enumerate().map(row).collect();
    // A passage twice: it is one document of the corpus.
    let again = json!({ "id": "99", "anchor": "another", "positive": PASSAGES[0] }).to_string();
    let train = [&rows[2..], &[again]].concat().join("\n");
    let form = crate::helpers::form::Form::default();
    let form = form.file("file", "train.jsonl", train).file("eval_file", "eval.jsonl", rows[..2].join("\n"));
    let dataset = app.send(form.post("/v1/datasets")).await.expect(201);
    dataset["id"].as_str().expect("it has an id").to_owned()
}

async fn embed(app: &TestApp, model: &str, texts: &[&str], dimensions: usize) -> Vec<Vec<f32>> {
    let request = json!({ "inputs": texts, "model": model, "dimensions": dimensions });
    serde_json::from_value(app.post_json("/embed", &request).await.expect(200)).expect("embeddings")
}

/// The passages by falling similarity, with their scores.
async fn by_brute_force(app: &TestApp, model: &str, query: &str, dimensions: usize) -> Vec<(String, f32)> {
    let query = &embed(app, model, &[query], dimensions).await[0];
    let passages = embed(app, model, &PASSAGES, dimensions).await;
    let cosine = |other: &Vec<f32>| query.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    let mut all: Vec<(String, f32)> =
        PASSAGES.iter().zip(&passages).map(|(text, other)| ((*text).to_owned(), cosine(other))).collect();
    all.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    all
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|hit| hit["passage"].as_str().expect("a text")).collect()
}

#[tokio::test]
async fn passages_come_in_the_order_that_brute_force_gives_at_each_dimension() {
    let (app, dataset) = service().await;
    for dimensions in [32, 8] {
        let query = "the income of the company";
        let request =
            json!({ "query": query, "models": ["one", "two"], "dataset_id": dataset, "dimensions": dimensions });
        let found = app.post_json("/v1/search", &request).await.expect(200);
        assert_eq!(found["passages"], 12, "identical passages are one");
        assert_eq!(found["relevant_passages"], Value::Null, "it is none of the evaluation rows'");
        for (place, model) in ["one", "two"].into_iter().enumerate() {
            let list = &found["models"][place];
            assert_eq!((&list["model"], &list["dimension"]), (&json!(model), &json!(dimensions)));
            let expected = by_brute_force(&app, model, query, dimensions).await;
            assert_eq!(list["hits"].as_array().map(Vec::len), Some(10));
            for (hit, (text, score)) in list["hits"].as_array().unwrap().iter().zip(&expected) {
                assert_eq!(hit["passage"], *text, "{model} at {dimensions}: {list}");
                let difference = hit["score"].as_f64().expect("a number") - f64::from(*score);
                assert!(difference.abs() < 1e-5, "{hit} {score}");
            }
        }
    }
}

#[tokio::test]
async fn what_moved_against_the_first_model_is_told() {
    let (app, dataset) = service().await;
    let request = json!({ "query": " question 1 ", "models": ["one", "two"], "dataset_id": dataset, "top_k": 4 });
    let found = app.post_json("/v1/search", &request).await.expect(200);
    assert_eq!(found["relevant_passages"], 1);
    let (first, second) = (&found["models"][0], &found["models"][1]);
    assert!(first["hits"].as_array().unwrap().iter().all(|hit| hit["moved"].is_null()));
    assert_eq!(first["left"], json!([]));
    let all = json!({ "query": "question 1", "models": ["one"], "dataset_id": dataset, "top_k": 12 });
    let before = app.post_json("/v1/search", &all).await.expect(200);
    let before = texts(&before["models"][0]["hits"]);
    assert_eq!(texts(&first["hits"]), before[..4]);
    let now = texts(&second["hits"]);
    assert_ne!(now, before[..4], "the models differ, so that there is something to see");
    for (place, hit) in second["hits"].as_array().unwrap().iter().enumerate() {
        let rank = before.iter().position(|text| *text == now[place]).expect("all are found") + 1;
        assert_eq!((&hit["rank"], &hit["rank_before"]), (&json!(place + 1), &json!(rank)), "{hit}");
        let moved = match rank {
            rank if rank > 4 => "in",
            rank if rank > place + 1 => "up",
            rank if rank < place + 1 => "down",
            _ => "same",
        };
        assert_eq!(hit["moved"], moved, "{hit}");
        assert_eq!(hit["is_relevant"], now[place] == PASSAGES[1], "{hit}");
    }
    let gone: BTreeSet<&str> = before[..4].iter().filter(|text| !now.contains(text)).copied().collect();
    assert_eq!(texts(&second["left"]).into_iter().collect::<BTreeSet<_>>(), gone);
    let place = before.iter().position(|text| *text == PASSAGES[1]).unwrap() + 1;
    assert_eq!(first["relevant_rank"], place);
}

#[tokio::test]
async fn bad_requests_name_their_fields() {
    let (app, dataset) = service().await;
    let good = json!({ "query": "x", "models": ["one"], "dataset_id": dataset });
    app.post_json("/v1/search", &good).await.expect(200);
    for (field, value, named) in [
        ("query", json!("  "), "query"),
        ("query", json!("x".repeat(8193)), "query"),
        ("models", json!([]), "models"),
        ("models", json!(["a", "b", "c", "d", "e"]), "models"),
        ("models", json!(["one", "one"]), "models[1]"),
        ("models", json!(["one", "job:7"]), "models[1]"),
        ("models", json!("one"), "models"),
        ("dimensions", json!(0), "dimensions"),
        ("dimensions", json!(33), "dimensions"),
        ("top_k", json!(0), "top_k"),
        ("top_k", json!(101), "top_k"),
        ("wait_seconds", json!(301), "wait_seconds"),
        ("dataset_id", json!("7"), "dataset_id"),
        ("dataset_id", json!(DatasetId::generate()), "dataset_id"),
        ("topk", json!(5), "topk"),
    ] {
        let mut request = good.clone();
        request[field] = value;
        let json = app.post_json("/v1/search", &request).await.expect(422);
        assert_eq!(json["error"]["details"]["fields"][0]["field"], named, "{json}");
    }
    add_model_row(&app, "pulling", ModelStatus::Pulling).await;
    for (model, status, code) in [("nowhere", 404, "not_found"), ("pulling", 409, "conflict")] {
        let request = json!({ "query": "x", "models": ["one", model], "dataset_id": dataset });
        let message = app.post_json("/v1/search", &request).await.expect_error(status, code);
        assert!(message.contains(model), "{message}");
    }
}

#[tokio::test]
async fn a_corpus_is_embedded_once_for_all_who_ask_until_it_is_gone() {
    let (app, dataset) = service().await;
    let job = add_ended_job(&app, "one").await;
    add_checkpoint(&app, job, 1, &tiny(3), true).await;
    let (best, epoch) = (format!("job:{job}"), format!("job:{job}@epoch-1"));
    let ask = async |model: &str, dataset: &str| {
        let request = json!({ "query": "x", "models": [model], "dataset_id": dataset });
        app.post_json("/v1/search", &request).await
    };
    // However the checkpoint is named, it is one.
    let asked = [&best, &epoch, &best, &epoch].map(|model| ask(model, &dataset));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.expect(200)["models"][0]["resolved"], epoch);
    }
    assert_eq!(embedded(&app), 1);
    ask("one", &dataset).await.expect(200);
    ask("one", &dataset).await.expect(200);
    assert_eq!(embedded(&app), 2);
    // A new best is another checkpoint.
    add_checkpoint(&app, job, 2, &tiny(4), true).await;
    ask(&best, &dataset).await.expect(200);
    assert_eq!(embedded(&app), 3);
    app.state.embedding.evict(&epoch.parse().unwrap()).await;
    ask(&epoch, &dataset).await.expect(200);
    assert_eq!(embedded(&app), 4);

    let other = add_dataset(&app).await;
    ask("two", &other).await.expect(200);
    app.delete(&format!("/v1/datasets/{other}")).await.expect(204);
    let json = ask("two", &other).await.expect(422);
    assert_eq!(json["error"]["details"]["fields"][0]["field"], "dataset_id");
    assert_eq!(gauge(&app, "matryo_corpus_cache_corpora"), 3);
    // 12 passages of 32 numbers of 4 bytes, three times.
    assert_eq!(gauge(&app, "matryo_corpus_cache_size_bytes"), 3 * 12 * 32 * 4);
}

#[tokio::test]
async fn a_corpus_that_is_not_there_in_time_is_told_of_and_comes_later() {
    let (app, dataset) = service().await;
    let mut request = json!({ "query": "x", "models": ["one", "two"], "dataset_id": dataset, "wait_seconds": 0 });
    let answer = app.post_json("/v1/search", &request).await;
    let progress = answer.expect(202);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(progress["passages"], 12);
    let models: Vec<_> = progress["models"].as_array().unwrap().iter().map(|model| &model["model"]).collect();
    assert_eq!(models, ["one", "two"]);
    request["wait_seconds"] = json!(60);
    app.post_json("/v1/search", &request).await.expect(200);
    assert_eq!(embedded(&app), 2, "what was begun was not begun again");
    request["wait_seconds"] = json!(0);
    app.post_json("/v1/search", &request).await.expect(200);
}

/// A service whose searches keep to so many bytes, with the models `one`, `two` and `three`, and a dataset.
async fn service_within(search_cache_bytes: u64) -> (TestApp, String) {
    let app = TestApp::start_with(|state| {
        let options = ServingOptions { search_cache_bytes, ..ServingOptions::default() };
        state.embedding = EmbeddingService::start(state.store.clone(), state.data_dir.clone(), options);
    })
    .await;
    for (name, seed) in [("one", 1), ("two", 2), ("three", 3)] {
        add_base_model(&app, name, &tiny(seed)).await;
    }
    let dataset = add_dataset(&app).await;
    (app, dataset)
}

#[tokio::test]
async fn beyond_the_budget_the_least_recently_used_corpus_goes() {
    // Three quarters of it are for embeddings: room for two corpora of 1,536 bytes.
    let (app, dataset) = service_within(6000).await;
    for (model, times) in [("one", 1), ("two", 2), ("one", 2), ("three", 3), ("one", 3), ("two", 4)] {
        let request = json!({ "query": "x", "models": [model], "dataset_id": dataset });
        app.post_json("/v1/search", &request).await.expect(200);
        assert_eq!(embedded(&app), times, "{model}");
    }
    assert_eq!(gauge(&app, "matryo_corpus_cache_corpora"), 2);
}

#[tokio::test]
async fn a_corpus_that_does_not_fit_is_refused_with_what_to_do() {
    // Of either the texts or the embeddings there are too many.
    for bytes in [400, 1900] {
        let (app, dataset) = service_within(bytes).await;
        let request = json!({ "query": "x", "models": ["one"], "dataset_id": dataset });
        let json = app.post_json("/v1/search", &request).await.expect(422);
        let error = &json["error"]["details"]["fields"][0];
        assert_eq!(error["field"], "dataset_id");
        assert!(error["message"].as_str().unwrap().contains("--search-cache-mib"), "{error}");
        assert_eq!(embedded(&app), 0);
    }
}

/// How many corpora were embedded.
fn embedded(app: &TestApp) -> i64 {
    gauge(app, "matryo_corpus_cache_misses_total")
}

fn gauge(app: &TestApp, name: &str) -> i64 {
    app.state.embedding.measure();
    let mut text = String::new();
    let mut registry = prometheus_client::registry::Registry::default();
    app.state.embedding.register_metrics(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("it is a number")
}
