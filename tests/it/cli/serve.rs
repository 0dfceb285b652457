//! `matryo serve`: starts, refuses to, and ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;

/// A server and where it listens.
pub(super) struct Server {
    child: Child,
    pub(super) base: String,
    /// What it logs from now on.
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    pub(super) fn start(bench: &Bench, more: &[&str]) -> Self {
        Self::start_with(bench, more, |_| {})
    }

    /// Starts one whose environment `adjust` may change first.
    pub(super) fn start_with(bench: &Bench, more: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let arguments = ["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--log-format", "json"];
        let mut command = bench.matryo(&[&arguments[..], more].concat());
        adjust(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        let base = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("it logs") > 0, "it ended before it listened");
            let entry: Value = serde_json::from_str(&line).expect("it logs JSON");
            if let Some(address) = entry["address"].as_str().filter(|_| line.contains("listening on")) {
                break format!("http://{address}");
            }
        };
        Self { child, base, log }
    }

    /// Asks it to end; returns how long that took, and what it logged since it listened.
    pub(super) fn terminate(mut self) -> (Duration, String) {
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there").success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("it logs text");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status} {log}");
        (asked.elapsed(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where a test failed; a server that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_at_once_though_events_are_followed_and_the_job_goes_on_later() {
    let bench = Bench::new();
    let roots = ["--model-root", bench.path("").to_str().expect("UTF-8"), "--api-key", "secret"].map(str::to_owned);
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    let server = Server::start(&bench, &roots);
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", server.base);
    assert_eq!(client.get(url("/v1/jobs")).send().await.expect("it answers").status(), 401);

    let post = |path: &str, body: Value| client.post(url(path)).bearer_auth("secret").json(&body).send();
    let folder = bench.path("model");
    let model = json!({"source": "folder", "path": folder.to_str(), "name": "tiny"});
    assert_eq!(post("/v1/models", model).await.expect("it answers").status(), 201);
    let rows = std::fs::read(bench.path("train.jsonl")).expect("it is there");
    let upload = client.post(url("/v1/datasets?test_size=0.25")).bearer_auth("secret");
    let upload = upload.header("content-type", "application/x-ndjson").body(rows);
    let dataset: Value = upload.send().await.expect("it answers").json().await.expect("JSON");
    let training = json!({"epochs": 900, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1});
    let job = json!({"dataset_id": dataset["id"], "base_model": "tiny", "training": training});
    let job: Value = post("/v1/jobs", job).await.expect("it answers").json().await.expect("JSON");
    let id = job["id"].as_str().expect("it has an id").to_owned();

    let events = client.get(url(&format!("/v1/jobs/{id}/events"))).bearer_auth("secret");
    let mut events = events.header("accept", "text/event-stream").send().await.expect("it answers");
    let mut seen = String::new();
    while !seen.contains("checkpoint") {
        seen.push_str(&String::from_utf8_lossy(&events.chunk().await.expect("it streams").expect("it goes on")));
    }
    let (took, log) = tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
    assert!(took < Duration::from_secs(4), "{took:?} {log}");
    assert!(!log.contains("cut off"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    while let Ok(Some(_)) = events.chunk().await {}

    let server = Server::start(&bench, &roots);
    let url = format!("{}/v1/jobs/{id}", server.base);
    let job: Value =
        client.get(url).bearer_auth("secret").send().await.expect("it answers").json().await.expect("JSON");
    assert!(["queued", "running"].contains(&job["status"].as_str().expect("a status")), "{job}");
    tokio::task::spawn_blocking(|| server.terminate()).await.expect("it ends");
}

#[test]
fn what_cannot_be_started_says_why() {
    let bench = Bench::new();
    let serve =
        |more: &[&str]| bench.run(&[&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"], more].concat());
    serve(&["--device", "cuda:0"]).ended_with(1).saying("--device cuda:0").saying("libcuda");
    serve(&["--model-root", "nothing"]).ended_with(1).saying("--model-root nothing");
    bench.run(&["serve", "--data-dir", "train.jsonl", "--listen", "127.0.0.1:0"]).ended_with(1).saying("--data-dir");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it listens").to_string();
    bench
        .run(&["serve", "--data-dir", "data", "--listen", &address])
        .ended_with(1)
        .saying("give another with --listen");
}

#[cfg(unix)]
#[test]
fn a_data_directory_serves_one_at_a_time() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[]);
    bench.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]).ended_with(1).saying("data");
    server.terminate();
}
