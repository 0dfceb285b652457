//! The demo as a client: it speaks to the service over HTTP alone, as any program would.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::sse::EventParser;
use crate::cli::error::CliError;
use crate::domain::{Checkpoint, EventRecord, Job, JobEvent, JobId, JobStatus, MetricsRow, TrainEvent};

/// How often an event stream that broke off is asked for again.
const RECONNECTS: u32 = 5;
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// A client of one service.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
struct Items<T> {
    data: Vec<T>,
}

/// A job's metrics by epoch.
#[derive(Debug, Deserialize)]
pub(super) struct JobMetrics {
    /// The epoch of the best checkpoint.
    pub(super) best_epoch: Option<u32>,
    /// The metric that decides which is best.
    pub(super) metric_for_best_model: Option<String>,
    /// The epochs, the baseline first.
    pub(super) rows: Vec<MetricsRow>,
}

impl Client {
    /// Speaks to the service at an address such as `http://127.0.0.1:8080`.
    pub(super) fn new(base: String) -> Result<Self, CliError> {
        // The service is on this machine, whatever proxy leads elsewhere.
        Ok(Self { http: reqwest::Client::builder().no_proxy().build()?, base })
    }

    /// Registers a model's folder under a name, unless an earlier demo did.
    pub(super) async fn register(&self, name: &str, folder: &str) -> Result<(), CliError> {
        let body = json!({"source": "folder", "path": folder, "name": name});
        let response = self.http.post(self.url("/v1/models")).json(&body).send().await?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(());
        }
        refuse(response).await.map(drop)
    }

    /// Uploads two files of JSON Lines as one dataset; returns its id.
    pub(super) async fn upload(&self, train: &'static [u8], eval: &'static [u8]) -> Result<String, CliError> {
        let boundary = format!("matryo-{}", JobId::generate());
        let mut body = Vec::with_capacity(train.len() + eval.len() + 1024);
        for (field, file) in [("file", train), ("eval_file", eval)] {
            let head = format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{field}.jsonl\"\r\n\
                 content-type: application/x-ndjson\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(file);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let request = self.http.post(self.url("/v1/datasets")).header("content-type", content_type).body(body);
        let dataset: Value = json_of(request).await?;
        dataset["id"].as_str().map(str::to_owned).ok_or_else(|| CliError::failed("the dataset has no id"))
    }

    /// Submits a job.
    pub(super) async fn submit(&self, job: &Value) -> Result<Job, CliError> {
        json_of(self.http.post(self.url("/v1/jobs")).json(job)).await
    }

    /// Follows a job to its end.
    pub(super) async fn follow(&self, id: JobId, mut on_event: impl FnMut(&TrainEvent)) -> Result<(), CliError> {
        let mut last_id = None;
        for _ in 0..RECONNECTS {
            let mut request = self.http.get(self.url(&format!("/v1/jobs/{id}/events")));
            request = request.header("accept", "text/event-stream");
            if let Some(last_id) = &last_id {
                request = request.header("last-event-id", last_id);
            }
            let mut pieces = refuse(request.send().await?).await?.bytes_stream();
            let mut parser = EventParser::default();
            while let Some(Ok(piece)) = pieces.next().await {
                for event in parser.push(&piece) {
                    last_id = event.id.or(last_id);
                    match serde_json::from_str::<EventRecord>(&event.data)?.event {
                        JobEvent::Train(event) => on_event(&event),
                        JobEvent::Status { status: JobStatus::Succeeded, .. } => return Ok(()),
                        JobEvent::Status { status, message } if status.is_final() => {
                            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                            return Err(CliError::Failed(format!("the job ended as {}{message}", status.as_str())));
                        }
                        JobEvent::Status { .. } => {}
                    }
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
        Err(CliError::failed("the job's events broke off again and again"))
    }

    /// Reads a job's metrics.
    pub(super) async fn metrics(&self, id: JobId) -> Result<JobMetrics, CliError> {
        json_of(self.http.get(self.url(&format!("/v1/jobs/{id}/metrics"))).header("accept", "application/json")).await
    }

    /// Reads a job's best checkpoint.
    pub(super) async fn best_checkpoint(&self, id: JobId) -> Result<Checkpoint, CliError> {
        let list: Items<Checkpoint> = json_of(self.http.get(self.url(&format!("/v1/jobs/{id}/checkpoints")))).await?;
        let best = list.data.into_iter().find(|checkpoint| checkpoint.is_best);
        best.ok_or_else(|| CliError::failed("the job has no best checkpoint"))
    }

    /// Sends what the printed curl command sends; returns the embedding's length.
    pub(super) async fn embed(&self, body: &Value) -> Result<usize, CliError> {
        let embeddings: Vec<Vec<f32>> = json_of(self.http.post(self.url("/embed")).json(body)).await?;
        embeddings.first().map(Vec::len).ok_or_else(|| CliError::failed("/embed answers with no embedding"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

async fn json_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, CliError> {
    Ok(refuse(request.send().await?).await?.json().await?)
}

/// Turns an answer that is an error into one.
async fn refuse(response: Response) -> Result<Response, CliError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, path) = (response.status(), response.url().path().to_owned());
    let body: Value = response.json().await.unwrap_or_default();
    // Routes that come from other services write errors as those do.
    let error = &body["error"];
    let message = error["message"].as_str().or(error.as_str()).unwrap_or("no reason is given");
    Err(CliError::Failed(format!("{path} answers {status}: {message}")))
}
