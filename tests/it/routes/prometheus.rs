//! The server's metrics.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Method, header};
use futures::poll;
use matryo::data::tokenization::CutEnd;
use matryo::domain::Secret;
use matryo::serving::{EmbedInput, EmbedRequest, EmbeddingService, ServingOptions};
use serde_json::json;

use crate::helpers::exposition::{Page, parse_open_metrics, parse_text};
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job};
use crate::helpers::test_app::{TestApp, request};
use crate::helpers::tiny_model::TinyModel;

async fn scrape(app: &TestApp) -> Page {
    let answer = app.get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    parse_text(answer.text())
}

fn requests(page: &Page, method: &str, route: &str, status: &str) -> f64 {
    let labels = [("method", method), ("route", route), ("status", status)];
    page.value("matryo_http_requests_total", &labels)
}

#[tokio::test]
async fn counters_go_up_by_what_was_asked() {
    let app = TestApp::start().await;
    let before = scrape(&app).await;
    for _ in 0..3 {
        app.get("/health").await.expect(200);
    }
    for id in 0..4 {
        app.get(&format!("/nowhere/{id}?secret=1")).await.expect(404);
        app.get(&format!("/v1/jobs/01890a5d-ac96-774b-bcce-b302099a800{id}")).await.expect(404);
    }
    app.delete("/health").await.expect(405);
    for method in ["BREW", "STEEP"] {
        app.send(request(method.parse().unwrap(), "/health").body(Body::empty()).unwrap()).await.expect(405);
    }
    let after = scrape(&app).await;
    for (method, route, status, asked) in [
        ("GET", "/health", "200", 3.0),
        ("GET", "unmatched", "404", 4.0),
        ("GET", "/v1/jobs/{id}", "404", 4.0),
        ("DELETE", "/health", "405", 1.0),
        ("_OTHER", "/health", "405", 2.0),
        ("GET", "/metrics", "200", 1.0),
    ] {
        let count = requests(&after, method, route, status) - requests(&before, method, route, status);
        assert_eq!(count, asked, "{method} {route} {status}");
    }
    let timed = [("method", "GET"), ("route", "/health"), ("model", "")];
    assert_eq!(after.value("matryo_http_request_duration_seconds_count", &timed), 3.0);
    let bounds = after.samples("matryo_http_request_duration_seconds_bucket").map(|(labels, _)| labels["le"].clone());
    let bounds: BTreeSet<String> = bounds.collect();
    assert!(bounds.contains("0.001") && bounds.contains("60") && bounds.len() > 10, "{bounds:?}");
    assert_eq!(after.value("matryo_http_requests_in_flight", &[]), 1.0, "the scrape itself");
    let page = app.get("/metrics").await;
    assert!(!page.text().contains("nowhere") && !page.text().contains("secret"), "paths are no labels");
}

#[tokio::test]
async fn the_format_is_the_one_that_is_accepted() {
    let app = TestApp::start().await;
    let ask = |accept: &'static str| {
        let request = request(Method::GET, "/metrics").header(header::ACCEPT, accept);
        app.send(request.body(Body::empty()).unwrap())
    };
    // What Prometheus itself sends.
    let usual = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    // Before the first answer there are no series of requests.
    scrape(&app).await;
    let answer = ask(usual).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]), (200, &content_type.parse().unwrap()));
    let open = parse_open_metrics(answer.text());
    let answer = ask("text/plain").await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]), (200, &content_type.parse().unwrap()));
    let text = parse_text(answer.text());
    ask("image/png").await.expect_error(406, "not_acceptable");

    let names =
        |page: &Page| page.0.keys().filter(|name| !name.starts_with("matryo_build")).cloned().collect::<Vec<_>>();
    assert_eq!(names(&open), names(&text));
    for page in [&open, &text] {
        let build = page.samples("matryo_build_info").next().expect("it tells what it is");
        assert_eq!((&*build.0["version"], build.1), (env!("CARGO_PKG_VERSION"), 1.0));
    }
}

#[tokio::test]
async fn metrics_need_the_key() {
    let app = TestApp::start_with(|state| state.api_key = Some(Secret::new("key"))).await;
    app.get("/metrics").await.expect_error(401, "unauthorized");
    let request = request(Method::GET, "/metrics").header(header::AUTHORIZATION, "Bearer key");
    let page = parse_text(app.send(request.body(Body::empty()).unwrap()).await.text());
    assert_eq!(requests(&page, "GET", "/metrics", "401"), 1.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_tells_what_it_uses() {
    let app = TestApp::start().await;
    let page = scrape(&app).await;
    assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(page.value("process_virtual_memory_bytes", &[]) >= page.value("process_resident_memory_bytes", &[]));
    assert!(page.value("process_cpu_seconds_total", &[]) > 0.0);
    assert!((1.0..page.value("process_max_fds", &[])).contains(&page.value("process_open_fds", &[])));
    assert!(page.value("process_threads", &[]) > 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - page.value("process_start_time_seconds", &[]);
    assert!((-1.0..3600.0).contains(&age), "it started {age} s ago");
}

#[tokio::test]
async fn jobs_are_counted_and_the_running_one_tells_how_far_it_is() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let idle = scrape(&app).await;
    assert_eq!(idle.samples("matryo_jobs").map(|(_, count)| count).sum::<f64>(), 0.0);
    assert_eq!(idle.samples("matryo_training_loss").count(), 0);

    let (first, second) = (app.submit(&dataset).await, app.submit(&dataset).await);
    app.told(first, "step").await;
    let page = scrape(&app).await;
    assert_eq!(page.value("matryo_jobs", &[("status", "running")]), 1.0);
    assert_eq!(page.value("matryo_jobs", &[("status", "queued")]), 1.0);
    let id = first.to_string();
    let of_job = [("job_id", id.as_str())];
    for (name, value) in [
        ("matryo_training_step", 1.0),
        ("matryo_training_steps", 4.0),
        ("matryo_training_epoch", 0.5),
        ("matryo_training_loss", 1.0),
        ("matryo_training_gradient_norm", 1.0),
        ("matryo_training_learning_rate", 2e-5),
        ("matryo_training_pairs_per_second", 100.0),
        ("matryo_training_eta_seconds", 1.0),
    ] {
        assert_eq!(page.value(name, &of_job), value, "{name}");
    }

    gate.open();
    gate.open();
    for id in [first, second] {
        app.ended(id).await;
    }
    let page = scrape(&app).await;
    assert_eq!(page.value("matryo_jobs", &[("status", "succeeded")]), 2.0);
    assert_eq!(page.value("matryo_jobs", &[("status", "running")]), 0.0);
    assert_eq!(page.samples("matryo_training_loss").count(), 0, "nothing is left of a job that ended");
}

#[tokio::test]
async fn what_happens_inside_serving_is_counted() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let broken = add_base_model(&app, "broken", &TinyModel::default()).await;
    std::fs::write(broken.join("model.safetensors"), "no weights").unwrap();
    let embed = |model: &str, texts: usize| {
        // Three tokens each: a word between the two special ones.
        let request = json!({ "model": model, "inputs": vec!["company"; texts] });
        let app = &app;
        async move { app.post_json("/embed", &request).await.status.as_u16() }
    };
    let before = scrape(&app).await;
    for texts in [1, 2, 5] {
        assert_eq!(embed("tiny", texts).await, 200);
    }
    assert_ne!(embed("broken", 1).await, 200);
    assert_eq!(embed("unknown", 1).await, 404);
    let page = scrape(&app).await;
    let grown = |name: &str| page.value(name, &[]) - before.value(name, &[]);
    for (name, value) in [
        ("matryo_batch_texts_count", 3.0),
        ("matryo_batch_texts_sum", 8.0),
        ("matryo_batch_tokens_sum", 24.0),
        ("matryo_batch_duration_seconds_count", 3.0),
        ("matryo_model_cache_hits_total", 2.0),
        ("matryo_model_cache_misses_total", 2.0),
        ("matryo_model_cache_load_failures_total", 1.0),
        ("matryo_model_cache_load_duration_seconds_count", 2.0),
        ("matryo_model_cache_evictions_total", 0.0),
        ("matryo_model_cache_models", 1.0),
        ("matryo_queue_texts", 0.0),
        ("matryo_queue_tokens", 0.0),
        ("matryo_queue_refused_total", 0.0),
    ] {
        assert_eq!(grown(name), value, "{name}");
    }
    assert!(page.value("matryo_model_cache_size_bytes", &[]) > 1000.0);

    let of_model = [("model", "tiny")];
    assert_eq!(page.value("matryo_embedded_texts_total", &of_model), 8.0);
    assert_eq!(page.value("matryo_embedded_tokens_total", &of_model), 24.0);
    let latency = |model| [("method", "POST"), ("route", "/embed"), ("model", model)];
    assert_eq!(page.value("matryo_http_request_duration_seconds_count", &latency("tiny")), 3.0);
    assert_eq!(page.value("matryo_http_request_duration_seconds_count", &latency("")), 2.0, "nothing was embedded");
    for stage in ["tokenization", "queue", "inference"] {
        let of_stage = [("model", "tiny"), ("stage", stage)];
        assert_eq!(page.value("matryo_embedding_stage_duration_seconds_count", &of_stage), 3.0);
    }
    let models = page.samples("matryo_embedded_texts_total").count();
    assert_eq!(models, 1, "a model that did not embed has no label");
}

#[tokio::test]
async fn a_full_queue_shows_in_the_gauges_and_the_refusals() {
    let app = TestApp::start_with(|state| {
        let options = ServingOptions { max_waiting_texts: 2, ..ServingOptions::default() };
        state.embedding = EmbeddingService::start(state.store.clone(), state.data_dir.clone(), options);
    })
    .await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let request = json!({ "model": "tiny", "inputs": ["x", "x"] });
    let service = app.state.embedding.clone();
    let taking = EmbedRequest {
        model: "tiny".parse().unwrap(),
        inputs: vec![EmbedInput::Text("x".into()); 2],
        dimensions: None,
        normalize: true,
        truncate: true,
        truncation_direction: CutEnd::Right,
        prompt_name: None,
        own_token_ids: false,
    };
    let mut first = Box::pin(service.embed(taking));
    assert!(poll!(&mut first).is_pending(), "it takes all places");
    for _ in 0..3 {
        assert_eq!(app.post_json("/embed", &request).await.status, 429);
    }
    first.await.unwrap();
    let page = scrape(&app).await;
    assert_eq!(page.value("matryo_queue_refused_total", &[]), 3.0);
    assert_eq!(requests(&page, "POST", "/embed", "429"), 3.0);
}

#[tokio::test]
async fn a_client_who_leaves_is_counted_and_no_longer_in_flight() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let request = json!({ "model": "tiny", "inputs": "x" });
    let mut asked = Box::pin(app.post_json("/embed", &request));
    assert!(poll!(&mut asked).is_pending(), "the model has to be loaded first");
    assert_eq!(scrape(&app).await.value("matryo_http_requests_in_flight", &[]), 2.0);
    drop(asked);
    let page = scrape(&app).await;
    assert_eq!(page.value("matryo_http_requests_in_flight", &[]), 1.0);
    assert_eq!(requests(&page, "POST", "/embed", "499"), 1.0);
}

#[tokio::test]
async fn checkpoints_share_a_label_however_they_are_asked_for() {
    let app = TestApp::start().await;
    let tiny = TinyModel::default();
    add_base_model(&app, "org/name", &tiny).await;
    let job = add_ended_job(&app, "org/name").await;
    add_checkpoint(&app, job, 1, &tiny, true).await;
    for model in [format!("job:{job}"), format!("job:{job}@epoch-1")] {
        app.post_json("/embed", &json!({ "model": model, "inputs": "x" })).await.expect(200);
    }
    app.post_json("/models/org/name/embed", &json!({ "inputs": "x" })).await.expect(200);
    app.post_json("/v1/embeddings", &json!({ "model": "org/name", "input": "x" })).await.expect(200);
    app.post_json("/embed_all", &json!({ "model": "org/name", "inputs": "x" })).await.expect(200);
    app.post_json("/embed", &json!({ "model": "made/up", "inputs": "x" })).await.expect(404);
    let page = scrape(&app).await;
    let texts: BTreeMap<&str, f64> =
        page.samples("matryo_embedded_texts_total").map(|(labels, value)| (labels["model"].as_str(), value)).collect();
    assert_eq!(texts, BTreeMap::from([("job", 2.0), ("org/name", 3.0)]));
    assert_eq!(requests(&page, "POST", "/models/{model}/embed", "200"), 1.0);
}
