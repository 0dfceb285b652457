//! What `matryo serve` tells of its work: log lines, and spans to a collector.

use std::time::Duration;

use serde_json::{Value, json};

use super::Bench;
use super::serve::Server;
use crate::helpers::collector::{Collector, attributes};

/// A job that trains the tiny model for an epoch, from upload to end.
async fn train(server: &Server, bench: &Bench) -> String {
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", server.base);
    let model = json!({"source": "folder", "path": bench.path("model").to_str(), "name": "tiny"});
    let answer = client.post(url("/v1/models")).json(&model).send().await.expect("it answers");
    assert_eq!(answer.status(), 201);
    let rows = std::fs::read(bench.path("train.jsonl")).expect("it is there");
    let upload = client.post(url("/v1/datasets?test_size=0.25")).header("content-type", "application/x-ndjson");
    let dataset: Value = upload.body(rows).send().await.expect("it answers").json().await.expect("JSON");
    let training = json!({"epochs": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1});
    let job = json!({"dataset_id": dataset["id"], "base_model": "tiny", "training": training});
    let answer = client.post(url("/v1/jobs")).json(&job).send().await.expect("it answers");
    let job: Value = answer.json().await.expect("JSON");
    let id = job["id"].as_str().expect("it has an id").to_owned();
    let events = client.get(url(&format!("/v1/jobs/{id}/events"))).header("accept", "text/event-stream");
    let events = events.send().await.expect("it answers").text().await.expect("the job ends");
    assert!(events.contains("succeeded"), "{events}");
    id
}

async fn embed(server: &Server, request: Value) {
    let answer = reqwest::Client::new().post(format!("{}/embed", server.base)).json(&request).send().await;
    let answer = answer.expect("it answers");
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
}

fn roots(bench: &Bench) -> [String; 2] {
    ["--model-root".to_owned(), bench.path("").to_str().expect("UTF-8").to_owned()]
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn requests_and_jobs_are_spans_of_a_collector() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";
    let collector = Collector::start().await;
    let bench = Bench::new();
    let [flag, root] = roots(&bench);
    let server = Server::start(&bench, &[&flag, &root, "--otlp-endpoint", &collector.url]);
    let id = train(&server, &bench).await;
    let asked = reqwest::Client::new().get(format!("{}/v1/jobs/{id}/checkpoints?key=secret", server.base));
    let asked = asked.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).header("x-request-id", "mine");
    assert_eq!(asked.send().await.expect("it answers").status(), 200);
    embed(&server, json!({"model": format!("job:{id}"), "inputs": ["the company", "net income"]})).await;
    let (_, log) = tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    assert!(log.contains(TRACE), "log lines name the trace");

    let spans = collector.spans();
    let sender = collector.sender();
    assert_eq!((&*sender["service.name"], &*sender["service.version"]), ("matryo", env!("CARGO_PKG_VERSION")));
    let span = |name: &str| {
        let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(named.len(), 1, "{name} among {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        named[0]
    };
    let request = span("GET /v1/jobs/{id}/checkpoints");
    assert_eq!((hex::encode(&request.trace_id), hex::encode(&request.parent_span_id)), (TRACE.into(), PARENT.into()));
    let told = attributes(&request.attributes);
    let path = format!("/v1/jobs/{id}/checkpoints");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v1/jobs/{id}/checkpoints"),
        ("url.path", &path),
        ("http.response.status_code", "200"),
        ("matryo.request_id", "mine"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert!(request.end_time_unix_nano > request.start_time_unix_nano);
    assert!(!format!("{spans:?}").contains("secret"), "query strings are in no span");
    let created = span("POST /v1/jobs");
    assert!(created.parent_span_id.is_empty(), "a trace of its own");
    assert_eq!(attributes(&created.attributes)["http.response.status_code"], "201");

    let embedded = span("POST /embed");
    let told = attributes(&embedded.attributes);
    let model = format!("job:{id}");
    for (name, value) in [("matryo.model", &*model), ("matryo.texts", "2"), ("matryo.tokens", "8")] {
        assert_eq!(told[name], value, "{name}");
    }
    let mut end = embedded.start_time_unix_nano;
    for stage in ["tokenization", "queue", "inference"] {
        let stage = span(stage);
        assert_eq!((&stage.parent_span_id, &stage.trace_id), (&embedded.span_id, &embedded.trace_id));
        assert!(stage.start_time_unix_nano >= end, "one after the other, within the request");
        end = stage.end_time_unix_nano;
    }
    assert!(end <= embedded.end_time_unix_nano);

    let job = span("job");
    let told = attributes(&job.attributes);
    assert_eq!((&told["matryo.job.id"], &*told["matryo.job.status"]), (&id, "succeeded"));
    for phase in ["tokenize", "baseline", "train", "evaluate", "save"] {
        let phase = span(phase);
        assert_eq!((&phase.parent_span_id, &phase.trace_id), (&job.span_id, &job.trace_id));
        assert!(phase.start_time_unix_nano >= job.start_time_unix_nano);
        assert!(phase.end_time_unix_nano <= job.end_time_unix_nano);
    }
    let train = attributes(&span("train").attributes);
    assert!(train["matryo.job.loss"].parse::<f64>().expect("a number") > 0.0, "{train:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_costs_one_warning() {
    let bench = Bench::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", closed.local_addr().expect("it listens"));
    drop(closed);
    // Each span is tried at once, so that there are many failures.
    let server = Server::start_with(&bench, &["--otlp-endpoint", &url], |command| {
        command.env("OTEL_BSP_SCHEDULE_DELAY", "1").env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
    });
    for _ in 0..50 {
        let answer = reqwest::get(format!("{}/health", server.base)).await.expect("it answers");
        assert_eq!(answer.status(), 200);
    }
    let (took, log) = tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
    assert!(took < Duration::from_secs(8), "{took:?}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("does not take spans")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    let bench = Bench::new();
    let serve = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--otlp-endpoint", "localhost:4317"];
    bench.run(&serve).ended_with(1).saying("http://localhost:4318");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_has_one_line_a_request_and_no_secrets() {
    let bench = Bench::new();
    let server = Server::start(&bench, &["--api-key", "secret-key"]);
    let client = reqwest::Client::new();
    for (path, id) in [
        ("/v1/jobs?limit=secret-7", "one"),
        ("/v1/jobs", "two"),
        ("/nowhere", "three"),
        ("/health", "four"),
        ("/metrics", "five"),
    ] {
        let request = client.get(format!("{}{path}", server.base)).header("x-request-id", id);
        let request = if id == "two" { request } else { request.bearer_auth("secret-key") };
        request.send().await.expect("it answers");
    }
    let (_, log) = tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
    assert!(!log.contains("secret"), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let answered: Vec<&Value> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert_eq!(answered.len(), 3, "what programs ask for again and again is left out: {log}");
    for (line, (id, path, route, status, code)) in answered.iter().zip([
        ("one", "/v1/jobs", json!("/v1/jobs"), 422, "invalid"),
        ("two", "/v1/jobs", json!("/v1/jobs"), 401, "unauthorized"),
        ("three", "/nowhere", Value::Null, 404, "not_found"),
    ]) {
        assert_eq!(line["level"], "INFO");
        assert_eq!((&line["span"]["request_id"], &line["span"]["path"]), (&json!(id), &json!(path)));
        assert_eq!((&line["span"]["method"], &line["route"]), (&json!("GET"), &route));
        assert_eq!((&line["status"], &line["code"]), (&json!(status), &json!(code)));
        assert!(line["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{line}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_tells_what_was_embedded_and_where_the_time_went() {
    let bench = Bench::new();
    let [flag, root] = roots(&bench);
    let server = Server::start(&bench, &[&flag, &root]);
    let model = json!({"source": "folder", "path": bench.path("model").to_str(), "name": "tiny"});
    let answer = reqwest::Client::new().post(format!("{}/v1/models", server.base)).json(&model).send().await;
    assert_eq!(answer.expect("it answers").status(), 201);
    embed(&server, json!({"model": "tiny", "inputs": ["the company", "net income of the year"]})).await;
    let (_, log) = tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
    assert!(!log.contains("company"), "texts are nobody's business: {log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let line = lines.iter().find(|line| line["route"] == "/embed").expect("it was logged");
    assert_eq!((&line["model"], &line["texts"], &line["tokens"]), (&json!("tiny"), &json!(2), &json!(11)));
    let time = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    let stages = time("tokenization_ms") + time("queue_ms") + time("inference_ms");
    assert!(time("inference_ms") > 0.0 && stages <= time("latency_ms"), "{line}");
    assert!(line["code"].is_null() && line["error"].is_null(), "{line}");
}
