//! What `matryo models` asks a server for.

use std::path::Path;

use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::jobs::deleted;
use super::list::PageFlags;
use super::refusal::ClientError;
use super::sse::EventParser;
use super::upload::{self, UploadFile};
use crate::cli::confirm::ConfirmFlag;
use crate::cli::error::{CliError, flag_of};
use crate::cli::output;
use crate::cli::progress::{BytesDisplay, say};
use crate::cli::signals::stop_requested;
use crate::cli::table::{Cell, Facts, Table};
use crate::cli::units::{bytes, count, moment};
use crate::domain::ModelSource;

/// A model as the server shows it. What it is in particular stands beside what all have.
#[derive(Debug, Deserialize)]
struct ShownModel {
    id: String,
    kind: String,
    dimension: Option<usize>,
    max_model_len: Option<usize>,
    matryoshka_dims: Option<Vec<usize>>,
    loaded: bool,
    size_bytes: u64,
    created_at: String,
    /// Of a base model.
    source: Option<ModelSource>,
    status: Option<String>,
    error: Option<String>,
    summary: Option<ShownSummary>,
    /// Of a checkpoint.
    job_name: Option<String>,
    base_model: Option<String>,
    epoch: Option<u32>,
    metric_for_best_model: Option<String>,
    metric: Option<f64>,
    /// Of an alias.
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ShownSummary {
    architecture: String,
    num_hidden_layers: usize,
    parameters: u64,
}

impl ShownModel {
    /// `base`, or what it comes from.
    fn origin(&self) -> String {
        match self.kind.as_str() {
            "alias" => format!("alias of {}", self.model.as_deref().unwrap_or_default()),
            "fine_tuned" => format!("fine-tuned from {}", self.base_model.as_deref().unwrap_or_default()),
            kind => kind.to_owned(),
        }
    }
}

pub(in crate::cli) async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let items = PageFlags::ALL.read(client, &["v1", "models"], &[]).await?;
    if json {
        return output::print_json(&items);
    }
    let mut table = Table::new(["MODEL", "STATUS", ">DIMENSION", ">SIZE", "LOADED", "CREATED", "~WHAT"]);
    for model in items.typed::<ShownModel>()? {
        let what = model.origin();
        table.row([
            model.id.into(),
            Cell::status(model.status.as_deref().unwrap_or("ready")),
            model.dimension.map_or_else(String::new, |dimension| dimension.to_string()).into(),
            bytes(model.size_bytes).into(),
            if model.loaded { "loaded" } else { "" }.into(),
            moment(&model.created_at).into(),
            what.into(),
        ]);
    }
    table.print("there are no models; `matryo models pull NAME --url URL` has the server pull one")
}

pub(in crate::cli) async fn show(client: &Client, name: &str, json: bool) -> Result<(), CliError> {
    let answer = client.read(&["v1", "models", name]).await?;
    if json {
        return output::print_json(&answer);
    }
    let model: ShownModel = serde_json::from_value(answer)?;
    let mut facts = Facts::default();
    facts.add("model", model.id.as_str());
    facts.add("what", model.origin());
    facts.add_some("status", model.status.as_deref().map(Cell::status));
    facts.add_some("error", model.error);
    facts.add_some(
        "source",
        model.source.map(|source| match source {
            ModelSource::Hub { repo, revision } => format!("{repo}, revision {revision}, from the Hub"),
            ModelSource::Folder { path } => path,
            ModelSource::Upload { file_name, sha256 } => {
                format!("{}, uploaded, SHA-256 {sha256}", file_name.unwrap_or_else(|| "an archive".into()))
            }
        }),
    );
    facts.add_some("job", model.job_name);
    facts.add_some("epoch", model.epoch.map(|epoch| epoch.to_string()));
    let metric = model.metric_for_best_model.zip(model.metric);
    facts.add_some("metric", metric.map(|(key, value)| format!("{key} {value:.4}")));
    facts.add_some("dimension", model.dimension.map(|dimension| dimension.to_string()));
    let dims = model.matryoshka_dims.map(|dims| dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
    facts.add_some("trained for", dims);
    facts.add_some("most tokens", model.max_model_len.map(|tokens| tokens.to_string()));
    if let Some(ShownSummary { architecture, num_hidden_layers, parameters }) = model.summary {
        facts.add("network", format!("{architecture}, {num_hidden_layers} layers, {} parameters", count(parameters)));
    }
    facts.add("size", bytes(model.size_bytes));
    facts.add("in memory", if model.loaded { "yes" } else { "no" });
    facts.add("created", moment(&model.created_at));
    facts.print()
}

pub(in crate::cli) async fn register(
    client: &Client,
    path: &str,
    name: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let body = json!({"source": "folder", "path": path, "name": name});
    added(&client.json(client.request(Method::POST, &["v1", "models"]).json(&body)).await?, json)
}

/// Prints what a model that was added is called.
fn added(model: &Value, json: bool) -> Result<(), CliError> {
    if json {
        return output::print_json(model);
    }
    output::print(model["id"].as_str().unwrap_or_default())
}

/// Uploads an archive of a model folder, and prints the name of the model that it became.
pub(in crate::cli) async fn upload(
    client: &Client,
    file: &Path,
    name: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let fields = name.map(|name| ("name", name.to_owned())).into_iter().collect();
    let files = vec![UploadFile::open("file", file).await?];
    let answer = upload::upload(client, "models", fields, files).await;
    let answer = answer
        .map_err(|error| error.with_flags(|field| if field == "file" { "FILE".into() } else { flag_of(field) }))?;
    added(&answer, json)
}

pub(in crate::cli) async fn delete(
    client: &Client,
    name: &str,
    confirm: &ConfirmFlag,
    json: bool,
) -> Result<(), CliError> {
    confirm.delete(&format!("model {name}"))?;
    client.delete(&["v1", "models", name]).await?;
    deleted("model", name, json)
}

/// Loads a model, or drops it.
pub(in crate::cli) async fn memory(client: &Client, name: &str, action: &str, json: bool) -> Result<(), CliError> {
    let answer = client.act(&["v1", "models", name, action]).await?;
    if json {
        return output::print_json(&answer);
    }
    let state = if answer["loaded"] == true { "in memory" } else { "not in memory any more" };
    say(&format!("{name} is {state} ({} ms)", answer["duration_ms"]));
    Ok(())
}

/// Has the server pull a model, and waits for it; one that is there already, or on its way, is no error.
pub(in crate::cli) async fn pull(client: &Client, repo: &str, revision: &str, json: bool) -> Result<(), CliError> {
    let body = json!({"source": "hub", "repo": repo, "revision": revision});
    let begun = client.json::<Value>(client.request(Method::POST, &["v1", "models"]).json(&body)).await;
    let name = match begun {
        Ok(model) => model["id"].as_str().unwrap_or(repo).to_owned(),
        Err(ClientError::Refused(refusal)) if refusal.status == StatusCode::CONFLICT => {
            let name = if revision == "main" { repo.to_owned() } else { format!("{repo}@{revision}") };
            if client.read(&["v1", "models", &name]).await?["status"] == "failed" {
                client.act(&["v1", "models", &name, "pull"]).await?;
            }
            name
        }
        Err(error) => return Err(error.into()),
    };
    tokio::select! {
        pulled = follow_pull(client, &name) => pulled?,
        _ = stop_requested() => return Err(CliError::Interrupted("the server goes on pulling".into())),
    }
    if json {
        return output::print_json(&client.read(&["v1", "models", &name]).await?);
    }
    output::print(name)
}

/// What a pull tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PullEvent {
    Waiting,
    Progress { file: String, done_bytes: u64, total_bytes: u64 },
    Ready,
    Failed { error: String },
}

async fn follow_pull(client: &Client, name: &str) -> Result<(), CliError> {
    let request = client.request(Method::GET, &["v1", "models", name, "events"]);
    let mut pieces = client.send(request.header("accept", "text/event-stream")).await?.bytes_stream();
    let mut parser = EventParser::default();
    let mut display = BytesDisplay::new(name);
    while let Some(piece) = pieces.next().await {
        for event in parser.push(&piece.map_err(|error| client.broken(&error))?) {
            match serde_json::from_str(&event.data)? {
                PullEvent::Waiting => {}
                PullEvent::Progress { file, done_bytes, total_bytes } => display.show(&file, done_bytes, total_bytes),
                PullEvent::Ready => {
                    display.end();
                    return Ok(());
                }
                PullEvent::Failed { error } => {
                    display.end();
                    return Err(CliError::Failed(error));
                }
            }
        }
    }
    display.end();
    Err(CliError::Unreachable(format!("{} ended before {name} was there; the same command waits on", client.address())))
}
