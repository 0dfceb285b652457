//! What the demo asks of its service, over HTTP alone, as any program would.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::remote::client::Client;
use crate::cli::remote::refusal::ClientError;
use crate::cli::remote::upload::{UploadFile, upload};
use crate::domain::{Checkpoint, Job, JobId};

/// Registers a model's folder under a name, unless an earlier demo did.
pub(super) async fn register(client: &Client, name: &str, folder: &str) -> Result<(), CliError> {
    let body = json!({"source": "folder", "path": folder, "name": name});
    match client.send(client.request(Method::POST, &["v1", "models"]).json(&body)).await {
        Err(ClientError::Refused(refusal)) if refusal.status == StatusCode::CONFLICT => Ok(()),
        answer => Ok(answer.map(drop)?),
    }
}

/// Uploads two files of JSON Lines as one dataset; returns its id.
pub(super) async fn upload_pairs(
    client: &Client,
    train: &'static [u8],
    eval: &'static [u8],
) -> Result<String, CliError> {
    let files = [("file", "train.jsonl", train), ("eval_file", "eval.jsonl", eval)];
    let files = files.map(|(field, name, bytes)| UploadFile::bytes(field, name, bytes)).into();
    let dataset = upload(client, "datasets", Vec::new(), files).await?;
    dataset["id"].as_str().map(str::to_owned).ok_or_else(|| CliError::failed("the dataset has no id"))
}

/// Submits a job.
pub(super) async fn submit(client: &Client, job: &Value) -> Result<Job, CliError> {
    Ok(client.json(client.request(Method::POST, &["v1", "jobs"]).json(job)).await?)
}

/// Reads a job's best checkpoint.
pub(super) async fn best_checkpoint(client: &Client, id: JobId) -> Result<Checkpoint, CliError> {
    Ok(Checkpoint::deserialize(client.read(&["v1", "jobs", &id.to_string(), "checkpoints", "best"]).await?)?)
}

/// Sends what the printed curl command sends; returns the embedding's length.
pub(super) async fn embed(client: &Client, body: &Value) -> Result<usize, CliError> {
    let embeddings: Vec<Vec<f32>> = client.json(client.request(Method::POST, &["embed"]).json(body)).await?;
    embeddings.first().map(Vec::len).ok_or_else(|| CliError::failed("/embed answers with no embedding"))
}
