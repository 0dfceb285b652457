//! `matryo logs`: following a job to its end, over whatever happens on the way.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;

use super::{Bench, run_at};
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::test_app::TestApp;

const ID: &str = "019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_live_to_its_end() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let base = format!("http://{}", app.listen().await);
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await.to_string();
    let bench = Bench::new();
    let mut command = bench.matryo(&["logs", "-f", &id, "--url", &base]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    // The job stands at the gate, so that this line came while it ran.
    assert!(lines.any(|line| line.contains("step 1/4: loss 1.0000")), "no first step");
    gate.open();
    let rest: Vec<String> = lines.collect();
    assert!(rest.last().is_some_and(|line| line.ends_with("  succeeded")), "{rest:?}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));

    // What is stored is told in the same words, and as JSON.
    let told = run_at(&bench, &base, &["logs", &id]).ended_with(0);
    assert!(told.stdout.ends_with(&format!("{}\n", rest.join("\n"))), "{told:?} {rest:?}");
    let followed = run_at(&bench, &base, &["logs", "-f", &id, "--json"]).ended_with(0).lines();
    let stored = run_at(&bench, &base, &["logs", &id, "--json"]).ended_with(0).lines();
    assert_eq!(followed, stored);
    assert_eq!(stored.last().expect("there are some")["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_job_running_and_says_so() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let base = format!("http://{}", app.listen().await);
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    let bench = Bench::new();
    let mut command = bench.matryo(&["logs", "-f", &id.to_string(), "--url", &base]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("step 1/4")), "no first step");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there").success());
    let ended = super::Ran::from(child.wait_with_output().expect("it ends")).ended_with(130);
    ended.saying("the job goes on").saying(&format!("matryo jobs cancel {id}"));
    gate.open();
    assert_eq!(app.ended(id).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_ends_the_following_with_5() {
    let trainer = FakeTrainer::new(|_, _| Err(matryo::training::TrainError::NonFiniteLoss { step: 3 }));
    let app = TestApp::start_training_by(trainer).await;
    let base = format!("http://{}", app.listen().await);
    let dataset = app.add_inputs().await;
    let bench = Bench::new();
    let create = ["jobs", "create", "--dataset", &dataset.id.to_string(), "--base-model", "tiny", "--follow"];
    let ran = run_at(&bench, &base, &create).ended_with(5).saying("error: the job failed: ");
    let id = ran.stdout.trim();
    assert_eq!(id.len(), 36, "{ran:?}");
    run_at(&bench, &base, &["logs", "-f", id, "--json"]).ended_with(5);
    run_at(&bench, &base, &["logs", id]).ended_with(0);
    let resumed = run_at(&bench, &base, &["jobs", "resume", id, "--follow"]).ended_with(5);
    assert!(resumed.stderr.matches("failed").count() >= 3, "the first failure is no end: {resumed:?}");
    let ran = run_at(&bench, &base, &[&create[..], &["--json"]].concat()).ended_with(5);
    assert_eq!(ran.lines().last().expect("events are told")["status"], "failed");
}

/// Answers the first connection with the first two events, the second with an error, and the third with the rest.
#[derive(Clone, Default)]
struct Flaky(Arc<Mutex<Vec<Option<String>>>>);

fn event(id: u64, fields: &str) -> String {
    format!(
        "id: {id}\ndata: {{\"id\": {id}, \"job_id\": \"{ID}\", \"created_at\": \"2026-01-01T00:00:00Z\", {fields}}}\n\n"
    )
}

async fn flaky(State(Flaky(asked)): State<Flaky>, headers: HeaderMap) -> impl IntoResponse {
    let last_id = headers.get("last-event-id").map(|id| id.to_str().expect("ASCII").to_owned());
    let mut asked = asked.lock().expect("no test panics with it");
    asked.push(last_id);
    let status = |id, status| event(id, &format!("\"type\": \"status\", \"status\": \"{status}\", \"message\": null"));
    let body = match asked.len() {
        1 => status(1, "queued") + &status(2, "running") + "id: 3\ndata: {\"half",
        2 => return (axum::http::StatusCode::BAD_GATEWAY, "a proxy's page".to_owned()),
        // A type that this version does not know is no reason to stop.
        _ => event(3, "\"type\": \"wonder\"") + &status(4, "succeeded"),
    };
    (axum::http::StatusCode::OK, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_again_and_nothing_told_twice() {
    let state = Flaky::default();
    let router = Router::new().route("/v1/jobs/{id}/events", get(flaky)).with_state(state.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let base = format!("http://{}", listener.local_addr().expect("it listens"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let bench = Bench::new();
    let ran = run_at(&bench, &base, &["logs", "-f", ID, "--json"]).ended_with(0).saying("connecting again");
    let ids: Vec<Value> = ran.lines().iter().map(|event| event["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(ran.stderr.matches("connecting again").count(), 1, "one outage is told once: {ran:?}");
    let asked = state.0.lock().expect("no test panics with it").clone();
    assert_eq!(asked, [None, Some("2".to_owned()), Some("2".to_owned())]);
}
