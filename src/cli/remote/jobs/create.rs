//! `matryo jobs create`.

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::list::id_of;
use super::super::logs::{follow_as_json, follow_in_words};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::progress::{Lines, say};
use crate::cli::training_flags::TrainingFlags;
use crate::config;
use crate::domain::{DatasetId, Job, JobId, Secret};

pub(super) const EXAMPLE: &str = "Examples:\n  \
    JOB=$(matryo jobs create --dataset annual-reports --base-model sentence-transformers/all-MiniLM-L6-v2)\n  \
    matryo jobs create --dataset annual-reports --name first-try --epochs 2 --batch-size 16 --follow\n\n\
    With `--follow` the exit code tells how the job ended: 0 where it succeeded, 5 where it failed or was cancelled.";

#[derive(Debug, Args)]
pub(super) struct CreateCommand {
    /// The dataset to train on, by id or by name.
    #[arg(long, value_name = "DATASET")]
    dataset: String,

    /// Another dataset, all of whose rows evaluate the job in place of the first one's evaluation rows.
    #[arg(long, alias = "eval_dataset", value_name = "DATASET")]
    eval_dataset: Option<String>,

    /// The server's model to start from, by name; `BAAI/bge-base-en-v1.5` where none is given.
    #[arg(long, aliases = ["base_model", "model"], value_name = "NAME")]
    base_model: Option<String>,

    /// What to call the job.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What to find it by later; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,

    /// Who is told of the job's end by a POST.
    #[arg(long, alias = "webhook_url", value_name = "URL")]
    webhook_url: Option<String>,

    /// The key that signs it: `whsec_` and 24 to 64 bytes in base64.
    #[arg(long, alias = "webhook_secret", value_name = "KEY", requires = "webhook_url",
        value_parser = config::secret)]
    webhook_secret: Option<Secret>,

    /// Follows it to its end, as `matryo logs -f` does.
    #[arg(long, short)]
    follow: bool,

    #[command(flatten)]
    training: TrainingFlags,
}

impl CreateCommand {
    pub(super) async fn run(&self, client: &Client, json: bool) -> Result<(), CliError> {
        let body = self.body(client).await?;
        let answer: Value = client.json(client.request(Method::POST, &["v1", "jobs"]).json(&body)).await?;
        if json && !self.follow {
            return output::print_json(&answer);
        }
        let job: Job = serde_json::from_value(answer)?;
        let id = job.id;
        if !json {
            output::print(id)?;
        }
        if self.follow {
            return follow_job(client, id, json).await;
        }
        say(&format!("job {id} is {}; `matryo logs -f {id}` follows it", job.status.as_str()));
        Ok(())
    }

    async fn body(&self, client: &Client) -> Result<Map<String, Value>, CliError> {
        let dataset: DatasetId = id_of(client, "dataset", "datasets", &self.dataset).await?;
        let mut body = Map::from_iter([
            ("dataset_id".to_owned(), json!(dataset)),
            ("training".to_owned(), json!(self.training.arguments())),
        ]);
        if let Some(eval_dataset) = &self.eval_dataset {
            let id: DatasetId = id_of(client, "dataset", "datasets", eval_dataset).await?;
            body.insert("eval_dataset_id".into(), json!(id));
        }
        if let Some(base_model) = &self.base_model {
            body.insert("base_model".into(), json!(base_model));
        }
        if let Some(name) = &self.name {
            body.insert("name".into(), json!(name));
        }
        if let Some(url) = &self.webhook_url {
            body.insert("webhook_url".into(), json!(url));
        }
        if let Some(secret) = &self.webhook_secret {
            body.insert("webhook_secret".into(), json!(secret.expose()));
        }
        if !self.metadata.is_empty() {
            let pairs = self.metadata.iter().map(|(key, value)| (key.clone(), json!(value)));
            body.insert("metadata".into(), Value::Object(pairs.collect()));
        }
        Ok(body)
    }
}

/// Follows a job beside what the command itself prints.
pub(super) async fn follow_job(client: &Client, id: JobId, json: bool) -> Result<(), CliError> {
    if json {
        return follow_as_json(client, id).await;
    }
    follow_in_words(client, id, Lines::Stderr).await?;
    say(&format!(
        "`matryo jobs metrics {id}` shows what it has reached, `matryo jobs download {id}` fetches the model"
    ));
    Ok(())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "KEY=VALUE is expected".into())
}
