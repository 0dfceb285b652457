//! Jobs' ends are told: once each, signed, again where that failed, after a restart too, and nowhere they must not go.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use matryo::domain::{Job, JobError, JobStatus, Secret};
use matryo::store::{JobOutcome, PeakBytes, Store, StoreOptions};
use matryo::webhooks::{self, Schedule, ServerWebhook, WebhookSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::receiver::{Received, Receiver};
use crate::helpers::rows;
use crate::helpers::test_app::TestApp;

const KEY: &[u8; 32] = b"thirty-two bytes that nobody has";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

/// Tries again at once.
fn at_once(attempts: u32) -> Schedule {
    Schedule { first: Duration::ZERO, factor: 1, attempts }
}

fn settings(receiver: Option<&Receiver>) -> WebhookSettings {
    let server = receiver.map(|receiver| ServerWebhook::new(&receiver.url(), None).expect("it is a URL"));
    WebhookSettings { server, allow_private: true, schedule: at_once(3) }
}

/// Verifies a signature as a receiver does, without any code of ours.
fn verify(received: &Received) {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("any length");
    mac.update(received.header("webhook-id").as_bytes());
    mac.update(b".");
    mac.update(received.header("webhook-timestamp").as_bytes());
    mac.update(b".");
    mac.update(&received.body);
    let signature = received.header("webhook-signature").strip_prefix("v1,").expect("it names its version");
    mac.verify_slice(&STANDARD.decode(signature).expect("it is base64")).expect("the signature is right");
}

/// A store with a job that runs, and the sender of its events.
struct Fixture {
    folder: TempDir,
    store: Store,
    job: Job,
    events: broadcast::Sender<std::sync::Arc<matryo::domain::EventRecord>>,
}

impl Fixture {
    /// Of a job with this webhook, on a server that has one too or not.
    async fn new(url: Option<String>, server_webhook: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = matryo::domain::DataDir::new(folder.path());
        let options = StoreOptions { server_webhook, ..StoreOptions::default() };
        let store = Store::open_with(&data_dir.database(), &options).await.expect("it opens");
        let (dataset, model) = rows::inputs(&store, &data_dir).await;
        let webhook_secret = url.is_some().then(|| Secret::new(secret()));
        let job = Job { webhook_url: url, webhook_secret, ..rows::job(&dataset, &model) };
        store.insert_job(&job).await.expect("it is queued");
        let job = store.claim_next().await.expect("it is claimed").expect("one waits").job;
        Self { folder, store, job, events: broadcast::channel(16).0 }
    }

    fn start(&self, settings: WebhookSettings) -> tokio::task::JoinHandle<()> {
        webhooks::start(self.store.clone(), settings, self.events.subscribe()).expect("it starts")
    }

    /// Ends the job and tells of it as the worker does.
    async fn end(&self, outcome: JobOutcome) {
        let change = self.store.finish(self.job.id, &outcome, PeakBytes::default()).await.expect("it ends");
        // Nobody may listen yet.
        let _ = self.events.send(std::sync::Arc::new(change.event.expect("it is told")));
    }

    /// Waits until nothing is pending; the deliveries as JSON.
    async fn settled(&self) -> Vec<Value> {
        let wait = async {
            while self.store.next_delivery_at().await.expect("it is read").is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes to an end");
        let deliveries = self.store.deliveries(self.job.id).await.expect("they are read");
        deliveries.iter().map(|delivery| serde_json::to_value(delivery).expect("it is JSON")).collect()
    }
}

fn failure() -> JobOutcome {
    JobOutcome::Failed(JobError { code: "panic".into(), message: "the trainer panicked".into() })
}

#[tokio::test]
async fn an_end_is_told_signed_and_again_under_the_same_id_until_it_is_taken() {
    let mut receiver = Receiver::start(&[500, 302]).await;
    let fixture = Fixture::new(Some(receiver.url()), false).await;
    let _task = fixture.start(settings(None));
    fixture.end(failure()).await;
    let attempts = [receiver.next().await, receiver.next().await, receiver.next().await];
    for attempt in &attempts {
        verify(attempt);
        assert_eq!(attempt.body, attempts[0].body);
        assert_eq!(attempt.header("webhook-id"), attempts[0].header("webhook-id"));
        assert_eq!(attempt.header("content-type"), "application/json");
    }
    let body = attempts[0].json();
    assert_eq!((&body["event"], &body["id"]), (&json!("job.failed"), &json!(attempts[0].header("webhook-id"))));
    assert_eq!(body["job"]["id"], fixture.job.id.to_string());
    assert_eq!(body["job"]["error"]["code"], "panic");
    assert!(!body.to_string().contains("whsec_"), "{body}");

    let deliveries = fixture.settled().await;
    assert_eq!(deliveries.len(), 1);
    let delivery = &deliveries[0];
    assert_eq!((&delivery["status"], &delivery["attempts"]), (&json!("delivered"), &json!(3)), "{delivery}");
    assert_eq!((&delivery["last_status"], &delivery["last_error"]), (&json!(204), &json!(null)));
    assert_eq!(receiver.left(), 0);
}

#[tokio::test]
async fn attempts_end_and_a_receiver_that_is_gone_is_left_alone() {
    let mut receiver = Receiver::start(&[500, 500, 500]).await;
    let fixture = Fixture::new(Some(receiver.url()), false).await;
    let _task = fixture.start(settings(None));
    fixture.end(JobOutcome::Cancelled).await;
    let deliveries = fixture.settled().await;
    assert_eq!((&deliveries[0]["status"], &deliveries[0]["attempts"]), (&json!("failed"), &json!(3)));
    assert_eq!((&deliveries[0]["event"], &deliveries[0]["last_status"]), (&json!("job.cancelled"), &json!(500)));
    assert_eq!(receiver.left(), 3);

    let mut receiver = Receiver::start(&[410]).await;
    let fixture = Fixture::new(Some(receiver.url()), false).await;
    let _task = fixture.start(settings(None));
    fixture.end(JobOutcome::Cancelled).await;
    let deliveries = fixture.settled().await;
    assert_eq!((&deliveries[0]["status"], &deliveries[0]["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(receiver.left(), 1);
}

#[tokio::test]
async fn job_and_server_are_each_told_once_and_a_job_that_goes_on_is_not() {
    let (mut own, mut server) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let fixture = Fixture::new(Some(own.url()), true).await;
    let _task = fixture.start(settings(Some(&server)));
    fixture.store.requeue(fixture.job.id, "the server stops").await.expect("it goes back");
    assert!(fixture.settled().await.is_empty(), "a job that waits has not ended");
    fixture.store.claim_next().await.expect("it is claimed").expect("it waits");
    fixture.end(failure()).await;
    let (told, server_told) = (own.next().await, server.next().await);
    assert_ne!(told.header("webhook-id"), server_told.header("webhook-id"));
    assert!(server_told.headers.get("webhook-signature").is_none(), "it has no key");
    // It fails a second time, which is another end.
    fixture.store.resume(fixture.job.id).await.expect("it is resumed");
    fixture.store.claim_next().await.expect("it is claimed").expect("it waits");
    fixture.end(failure()).await;
    own.next().await;
    server.next().await;
    assert_eq!(fixture.settled().await.len(), 4);
    assert_eq!((own.left(), server.left()), (0, 0));
}

#[tokio::test]
async fn what_a_server_could_not_send_its_next_one_does() {
    let mut receiver = Receiver::start(&[]).await;
    let fixture = Fixture::new(Some(receiver.url()), false).await;
    // Nobody sends yet: the process died right after the job's end.
    fixture.end(failure()).await;
    fixture.store.close().await;
    let store = Store::open(&fixture.folder.path().join("matryo.db")).await.expect("it opens");
    let (_events, listener) = broadcast::channel(16);
    let _task = webhooks::start(store.clone(), settings(None), listener).expect("it starts");
    verify(&receiver.next().await);
}

#[tokio::test]
async fn the_task_ends_with_the_worker_s_events() {
    let fixture = Fixture::new(None, false).await;
    let task = fixture.start(settings(None));
    drop(fixture.events);
    tokio::time::timeout(Duration::from_secs(60), task).await.expect("it ends").expect("it does not panic");
}

#[tokio::test]
async fn a_job_s_url_leads_to_no_private_address_whatever_it_is_called() {
    let mut receiver = Receiver::start(&[]).await;
    let port = receiver.address.port();
    // Names resolve to what hosts and DNS say at the moment of the connection; this one says loopback.
    for url in [format!("http://localhost:{port}/"), receiver.url()] {
        let fixture = Fixture::new(Some(url), false).await;
        let guarded = WebhookSettings { allow_private: false, schedule: at_once(2), server: None };
        let _task = fixture.start(guarded);
        fixture.end(failure()).await;
        let deliveries = fixture.settled().await;
        assert_eq!(deliveries[0]["status"], "failed", "{deliveries:?}");
        let error = deliveries[0]["last_error"].as_str().expect("it says why");
        assert!(error.contains("not a public address"), "{error}");
        assert!(!error.contains("hidden"), "{error}");
    }
    assert_eq!(receiver.left(), 0);
}

#[tokio::test]
async fn jobs_are_submitted_with_a_webhook_that_is_checked_and_whose_key_is_not_shown() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let body = |url: Value, secret: Value| {
        json!({"dataset_id": dataset.id, "base_model": "tiny", "training": {"epochs": 1}, "webhook_url": url,
            "webhook_secret": secret})
    };
    let job = app.post_json("/v1/jobs", &body(json!("https://example.invalid/hook"), json!(secret()))).await;
    let job = job.expect(201);
    assert_eq!(job["webhook_url"], "https://example.invalid/hook");
    let id = job["id"].as_str().expect("an id").parse().expect("an id");
    let ended = app.ended(id).await;
    assert_eq!(ended["status"], JobStatus::Succeeded.as_str());
    let path = format!("/v1/jobs/{id}/webhooks");
    let deliveries = app.get(&path).await.expect(200);
    assert_eq!(deliveries["data"][0]["event"], "job.succeeded", "{deliveries}");
    assert_eq!(deliveries["data"][0]["status"], "pending", "nothing sends in this test");
    for path in ["/v1/jobs", &format!("/v1/jobs/{id}"), &path] {
        assert!(!app.get(path).await.text().contains("whsec_"), "{path}");
    }
    app.get("/v1/jobs/00000000-0000-7000-8000-000000000000/webhooks").await.expect_error(404, "not_found");

    for (url, secret, field) in [
        (json!("http://127.0.0.1/"), json!(null), "webhook_url"),
        (json!("http://[::ffff:a00:1]/"), json!(null), "webhook_url"),
        (json!("http://169.254.169.254/latest/meta-data"), json!(null), "webhook_url"),
        (json!("https://me:word@example.org/"), json!(null), "webhook_url"),
        (json!("gopher://example.org/"), json!(null), "webhook_url"),
        (json!(5), json!(null), "webhook_url"),
        (json!("https://example.org/"), json!("hunter2"), "webhook_secret"),
        (json!(null), json!(self::secret()), "webhook_secret"),
    ] {
        let answer = app.post_json("/v1/jobs", &body(url.clone(), secret)).await;
        let message = answer.expect_error(422, "invalid");
        assert!(message.starts_with(field), "{url}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
