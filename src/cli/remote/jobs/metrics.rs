//! `matryo jobs metrics`.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use super::super::client::Client;
use super::{JobArgument, of_job};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::table::{Cell, Table};
use crate::domain::{JobId, MetricKey, MetricsRow};

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo jobs metrics first-try\n  \
    matryo jobs metrics first-try --metric mrr@10\n  \
    matryo jobs metrics first-try --format csv > metrics.csv\n\n\
    CSV and Markdown hold every metric at every dimension, as the recipe prints them; the table holds one metric.";

#[derive(Debug, Args)]
pub(super) struct MetricsCommand {
    #[command(flatten)]
    job: JobArgument,

    /// How to print them.
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with = "json")]
    format: Format,

    /// The table's metric, such as `ndcg@10`, `mrr@10`, `map@100` or `accuracy@1`.
    #[arg(long, value_name = "NAME", default_value = "ndcg@10", value_parser = metric)]
    metric: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One metric at each dimension, for people.
    Table,
    /// Every metric, comma-separated.
    Csv,
    /// Every metric as a table of Markdown.
    Markdown,
}

/// A job's metrics by epoch.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct JobMetrics {
    /// The epoch of the best checkpoint.
    pub(in crate::cli) best_epoch: Option<u32>,
    /// The metric that decides which is best.
    pub(in crate::cli) metric_for_best_model: Option<String>,
    /// The epochs, the baseline first.
    pub(in crate::cli) rows: Vec<MetricsRow>,
}

/// Reads a job's metrics.
pub(in crate::cli) async fn read(client: &Client, id: JobId) -> Result<Value, CliError> {
    Ok(client.json(of_job(client, id, &["metrics"])).await?)
}

impl MetricsCommand {
    pub(super) async fn run(&self, client: &Client, json: bool) -> Result<(), CliError> {
        let id = self.job.id(client).await?;
        let accept = match self.format {
            Format::Table => {
                let answer = read(client, id).await?;
                if json {
                    return output::print_json(&answer);
                }
                return table(&serde_json::from_value(answer)?, self.metric)?.print("nothing was evaluated yet");
            }
            Format::Csv => "text/csv",
            Format::Markdown => "text/markdown",
        };
        let request = client.request(reqwest::Method::GET, &["v1", "jobs", &id.to_string(), "metrics"]);
        let text = client.send(request.header("accept", accept)).await?.text().await?;
        output::print(text.trim_end())
    }
}

/// A row an epoch, a column a dimension.
fn table(metrics: &JobMetrics, name: &str) -> Result<Table, CliError> {
    let mut keys: Vec<MetricKey> =
        metrics.rows.iter().flat_map(|row| row.values.keys()).filter_map(|key| key.parse().ok()).collect();
    keys.retain(|key| key.name() == name);
    keys.sort_by_key(|key| std::cmp::Reverse(key.dim));
    keys.dedup();
    let head = [">EPOCH".to_owned(), ">STEP".to_owned(), ">LOSS".to_owned()].into_iter();
    let head = head.chain(keys.iter().map(|key| format!(">{name} AT {}", key.dim))).chain(["BEST".to_owned()]);
    let mut table = Table::new(head);
    for row in &metrics.rows {
        let is_best = metrics.best_epoch == Some(row.epoch);
        let number = |value: Option<f64>| Cell::from(value.map_or_else(String::new, |value| format!("{value:.4}")));
        let fixed = [Cell::from(row.epoch.to_string()), row.step.to_string().into(), number(row.training_loss)];
        let values = keys.iter().map(|key| number(row.values.get(&key.to_string()).copied()));
        let best = Cell::from(if is_best { "best" } else { "" });
        table.row(fixed.into_iter().chain(values).chain([best]));
    }
    Ok(table)
}

fn metric(text: &str) -> Result<&'static str, String> {
    let known = MetricKey::NAMES.into_iter().find(|name| *name == text);
    known.ok_or_else(|| format!("one of {} is expected", MetricKey::NAMES.join(", ")))
}
