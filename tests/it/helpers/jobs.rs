//! Jobs in a running service.

use std::time::Duration;

use matryo::domain::{Dataset, EventRecord, JobEvent, JobId};
use serde_json::{Value, json};

use super::rows;
use super::test_app::TestApp;

/// Something hangs where a test waits this long.
const PATIENCE: Duration = Duration::from_secs(120);

impl TestApp {
    /// Adds a dataset, and a base model `tiny` that only a fake trainer can train.
    pub(crate) async fn add_inputs(&self) -> Dataset {
        rows::inputs(&self.state.store, &self.state.data_dir).await.0
    }

    /// Submits a job of two epochs; returns its id.
    pub(crate) async fn submit(&self, dataset: &Dataset) -> JobId {
        let body =
            json!({"dataset_id": dataset.id, "base_model": "tiny", "training": {"epochs": 2, "logging_steps": 1}});
        let job = self.post_json("/v1/jobs", &body).await.expect(201);
        job["id"].as_str().expect("it has an id").parse().expect("the id is one")
    }

    /// Waits until a job has told something of this type.
    pub(crate) async fn told(&self, id: JobId, type_name: &str) {
        self.heard(id, |record| record.event.type_name() == type_name).await;
    }

    /// Waits until a job has told that it stands so.
    pub(crate) async fn told_status(&self, id: JobId, word: &str) {
        let is_it =
            |record: &EventRecord| matches!(record.event, JobEvent::Status { status, .. } if status.as_str() == word);
        self.heard(id, is_it).await;
    }

    async fn heard(&self, id: JobId, is_it: impl Fn(&EventRecord) -> bool) {
        let mut feed = self.state.worker.follow(id, None).await.expect("the job is there");
        loop {
            let next = tokio::time::timeout(PATIENCE, feed.next()).await.expect("it comes in time");
            let record = next.expect("the store answers").expect("the job goes on");
            if is_it(&record) {
                return;
            }
        }
    }

    /// Waits for a job's end; the job as it is then.
    pub(crate) async fn ended(&self, id: JobId) -> Value {
        let mut feed = self.state.worker.follow(id, None).await.expect("the job is there");
        let end = async { while feed.next().await.expect("the store answers").is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("it ends in time");
        self.get(&format!("/v1/jobs/{id}")).await.expect(200)
    }
}
