//! Events over a connection, and as pages.

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::test_app::{TestApp, request};

const COURSE: [&str; 16] = [
    "status",
    "status",
    "phase",
    "phase",
    "evaluation",
    "phase",
    "step",
    "step",
    "evaluation",
    "checkpoint",
    "phase",
    "step",
    "step",
    "evaluation",
    "checkpoint",
    "status",
];

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    id: Option<u64>,
    event: String,
    data: Value,
}

/// The events of a whole stream; comments are left out.
fn parse(stream: &str) -> Vec<Sent> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let blocks =
        stream.split("\n\n").filter(|block| block.lines().any(|line| !line.starts_with(':') && !line.is_empty()));
    blocks
        .map(|block| Sent {
            id: field(block, "id").map(|id| id.parse().expect("an id is a number")),
            event: field(block, "event").expect("every event has a type"),
            data: serde_json::from_str(&field(block, "data").expect("every event has data")).expect("data is JSON"),
        })
        .collect()
}

async fn follow(app: &TestApp, path: &str, last_event_id: Option<&str>) -> Vec<Sent> {
    let mut request = request(Method::GET, path).header(header::ACCEPT, "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let answer = app.send(request.body(Body::empty()).expect("it is a request")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
    parse(answer.text())
}

fn stored(sent: &[Sent]) -> Vec<Sent> {
    sent.iter().filter(|sent| sent.id.is_some()).cloned().collect()
}

#[tokio::test]
async fn a_stream_from_the_start_tells_the_whole_job_and_ends_with_it() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    let told = stored(&follow(&app, &format!("/v1/jobs/{id}/events"), None).await);
    assert_eq!(told.iter().map(|sent| sent.event.as_str()).collect::<Vec<_>>(), COURSE);
    for sent in &told {
        assert_eq!((&sent.data["type"], &sent.data["id"]), (&json!(sent.event), &json!(sent.id)));
        assert_eq!(sent.data["job_id"], json!(id));
        assert!(sent.data["created_at"].is_string());
    }
    let step = &told[6].data;
    for field in
        ["step", "total_steps", "epoch", "loss", "grad_norm", "learning_rate", "pairs_per_second", "eta_seconds"]
    {
        assert!(step[field].is_number(), "{field}: {step}");
    }
    assert_eq!(told[15].data["status"], "succeeded");
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_id() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    let path = format!("/v1/jobs/{id}/events");
    let all = follow(&app, &path, None).await;
    assert_eq!(all.len(), COURSE.len(), "what is not stored is not replayed");
    let middle = all[7].id.expect("it is stored");
    assert_eq!(follow(&app, &path, Some(&middle.to_string())).await, all[8..]);
    assert_eq!(follow(&app, &format!("{path}?last_event_id={middle}"), None).await, all[8..]);
    // A browser that connects again to the same address sends the header too, which is the later one.
    assert_eq!(follow(&app, &format!("{path}?last_event_id=0"), Some(&middle.to_string())).await, all[8..]);
    assert_eq!(follow(&app, &path, Some("9999999")).await, []);
}

#[tokio::test]
async fn stored_events_come_as_pages_too() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    let path = format!("/v1/jobs/{id}/events");
    let streamed: Vec<Value> = follow(&app, &path, None).await.into_iter().map(|sent| sent.data).collect();
    let page = async |query: &str| {
        let request = request(Method::GET, &format!("{path}{query}")).header(header::ACCEPT, "application/json");
        app.send(request.body(Body::empty()).expect("it is a request")).await
    };
    let first = page("?limit=10").await.expect(200);
    let cursor = first["next_cursor"].as_u64().expect("there are more");
    let second = page(&format!("?limit=10&last_event_id={cursor}")).await.expect(200);
    assert_eq!(second["next_cursor"], json!(null));
    let both = [&first, &second].map(|page| page["data"].as_array().expect("a list").clone()).concat();
    assert_eq!(both, streamed);
    page("?limit=1001").await.expect_error(422, "invalid");
}

#[tokio::test]
async fn what_is_no_event_id_is_refused() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    let path = format!("/v1/jobs/{id}/events");
    for bad in ["-1", "abc", "1e3", "18446744073709551616"] {
        let request = request(Method::GET, &path).header("last-event-id", bad);
        let answer = app.send(request.body(Body::empty()).expect("it is a request")).await;
        assert!(answer.expect_error(422, "invalid").starts_with("last-event-id: "), "{bad}");
        app.get(&format!("{path}?last_event_id={bad}")).await.expect_error(422, "invalid");
    }
    let request = request(Method::GET, &path).header(header::ACCEPT, "text/html");
    app.send(request.body(Body::empty()).expect("it is a request")).await.expect_error(406, "not_acceptable");
}
