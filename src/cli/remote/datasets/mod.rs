//! `matryo datasets`: the datasets of a server.

mod upload;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use super::RemoteFlags;
use super::client::Client;
use super::jobs::deleted;
use super::list::{PageFlags, id_of};
use crate::cli::confirm::ConfirmFlag;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::progress::say;
use crate::cli::table::{Facts, Table};
use crate::cli::units::{bytes, count, moment};
use crate::data::length_histogram::{ColumnLengths, LengthHistogram};
use crate::domain::{Dataset, DatasetId, Pair, SplitSource};

const LIST_EXAMPLE: &str = "Examples:\n  matryo datasets list\n  matryo datasets list --all --json";
const SHOW_EXAMPLE: &str = "Examples:\n  \
    matryo datasets show annual-reports\n  \
    matryo datasets show annual-reports --model sentence-transformers/all-MiniLM-L6-v2";
const ROWS_EXAMPLE: &str = "Examples:\n  \
    matryo datasets rows annual-reports --split eval --limit 5\n  \
    matryo datasets rows annual-reports --offset 100 --json | jq -r '.rows[].anchor'";
const DELETE_EXAMPLE: &str = "Example:\n  matryo datasets delete annual-reports --yes\n\n\
    Jobs that have ended keep what they reached; a dataset that another job needs is not deleted.";

#[derive(Debug, Args)]
pub(in crate::cli) struct DatasetsCommand {
    #[command(flatten)]
    remote: RemoteFlags,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists datasets, newest first.
    #[command(after_help = LIST_EXAMPLE)]
    List(PageFlags),
    /// Shows what is known of a dataset.
    #[command(after_help = SHOW_EXAMPLE)]
    Show {
        #[command(flatten)]
        dataset: DatasetArgument,

        /// Adds how long the texts are in the tokens of this base model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
    /// Uploads a file of pairs and prints the dataset's id.
    #[command(after_help = upload::EXAMPLE)]
    Upload(Box<upload::UploadCommand>),
    /// Shows rows of a dataset.
    #[command(after_help = ROWS_EXAMPLE)]
    Rows {
        #[command(flatten)]
        dataset: DatasetArgument,

        /// Which part.
        #[arg(long, value_name = "PART", default_value = "train")]
        split: SplitName,

        /// Leaves out so many rows at the beginning.
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        offset: u64,

        /// Shows so many rows.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Deletes a dataset.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        #[command(flatten)]
        dataset: DatasetArgument,

        #[command(flatten)]
        confirm: ConfirmFlag,
    },
}

/// The dataset that is meant.
#[derive(Debug, Args)]
struct DatasetArgument {
    /// The dataset, by id or by name.
    dataset: String,
}

impl DatasetArgument {
    async fn id(&self, client: &Client) -> Result<DatasetId, CliError> {
        id_of(client, "dataset", "datasets", &self.dataset).await
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    /// Rows to train on.
    Train,
    /// Rows to evaluate on.
    Eval,
}

impl DatasetsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), CliError> {
        let json = self.remote.json;
        self.remote.run(async |client| match &self.action {
            Action::List(page) => list(&client, page, json).await,
            Action::Show { dataset, model } => show(&client, dataset.id(&client).await?, model.as_deref(), json).await,
            Action::Upload(upload) => upload.run(&client, json).await,
            Action::Rows { dataset, split, offset, limit } => {
                let id = dataset.id(&client).await?.to_string();
                let split = match split {
                    SplitName::Train => "train",
                    SplitName::Eval => "eval",
                };
                let query = [("split", split), ("offset", &offset.to_string()), ("limit", &limit.to_string())];
                let answer: Value = client.json(client.get(&["v1", "datasets", &id, "rows"]).query(&query)).await?;
                if json { output::print_json(&answer) } else { rows(&serde_json::from_value(answer)?) }
            }
            Action::Delete { dataset, confirm } => {
                let id = dataset.id(&client).await?.to_string();
                confirm.delete(&format!("dataset {id}"))?;
                client.delete(&["v1", "datasets", &id]).await?;
                deleted("dataset", &id, json)
            }
        })
    }
}

async fn list(client: &Client, page: &PageFlags, json: bool) -> Result<(), CliError> {
    let items = page.read(client, &["v1", "datasets"], &[]).await?;
    if json {
        return output::print_json(&items);
    }
    let mut table = Table::new(["ID", "~NAME", ">TRAIN", ">EVAL", ">SIZE", "CREATED"]);
    for dataset in items.typed::<Dataset>()? {
        table.row([
            dataset.id.to_string().into(),
            dataset.name.into(),
            count(dataset.train_rows).into(),
            count(dataset.eval_rows).into(),
            bytes(dataset.size_bytes).into(),
            moment(&dataset.created_at).into(),
        ]);
    }
    table.print("there are no datasets; `matryo datasets upload FILE` makes one")?;
    items.tell_of_more();
    Ok(())
}

/// A dataset, and what was asked about it.
#[derive(Debug, Deserialize)]
struct DatasetDetails {
    #[serde(flatten)]
    dataset: Dataset,
    token_lengths: Option<LengthHistogram>,
}

async fn show(client: &Client, id: DatasetId, model: Option<&str>, json: bool) -> Result<(), CliError> {
    let mut request = client.get(&["v1", "datasets", &id.to_string()]);
    if let Some(model) = model {
        request = request.query(&[("model", model)]);
    }
    let answer: Value = client.json(request).await?;
    if json {
        return output::print_json(&answer);
    }
    let DatasetDetails { dataset, token_lengths } = serde_json::from_value(answer)?;
    let mut facts = facts(&dataset);
    if let (Some(model), Some(lengths)) = (model, token_lengths) {
        facts.add("tokens of", model);
        for (name, ColumnLengths { mean, p95, max, truncated, .. }) in
            [("questions", lengths.anchor), ("passages", lengths.positive)]
        {
            facts.add(
                name,
                format!("{mean:.1} tokens on average, 95 % at most {p95}, the longest {max}; {truncated} cut"),
            );
        }
    }
    facts.print()
}

fn facts(dataset: &Dataset) -> Facts {
    let mut facts = Facts::default();
    facts.add("dataset", dataset.id.to_string());
    facts.add("name", dataset.name.as_str());
    facts.add("rows to train on", count(dataset.train_rows));
    let source = match &dataset.split {
        SplitSource::Fraction { test_size, seed } => format!("a share of {test_size}, drawn by seed {seed}"),
        SplitSource::File => "a file of their own".into(),
    };
    facts.add("rows to evaluate on", format!("{} ({source})", count(dataset.eval_rows)));
    facts.add("duplicate rows", count(dataset.duplicate_rows));
    facts.add("passages seen before", count(dataset.duplicate_positives));
    facts.add("rows with an empty text", count(dataset.empty_rows));
    let columns =
        [("question", &dataset.mapping.anchor), ("passage", &dataset.mapping.positive), ("id", &dataset.mapping.id)];
    let columns = columns.iter().filter_map(|(what, column)| Some(format!("{what} from `{}`", column.as_ref()?)));
    facts.add("columns", columns.collect::<Vec<_>>().join(", "));
    if !dataset.ignored_columns.is_empty() {
        facts.add("columns not read", dataset.ignored_columns.join(", "));
    }
    facts.add("size", bytes(dataset.size_bytes));
    facts.add("SHA-256", dataset.sha256.as_str());
    facts.add("created", moment(&dataset.created_at));
    facts
}

/// Some rows of a part of a dataset.
#[derive(Debug, Deserialize)]
struct Rows {
    offset: u64,
    total: u64,
    rows: Vec<Pair>,
}

fn rows(Rows { offset, total, rows }: &Rows) -> Result<(), CliError> {
    let mut table = Table::new(["~ID", "~QUESTION", "~PASSAGE"]);
    for Pair { id, anchor, positive } in rows {
        table.row([id.into(), anchor.into(), positive.into()]);
    }
    table.print(&format!("there are no rows from {offset} on; the part has {total}"))?;
    let end = offset + rows.len() as u64;
    if end < *total && !rows.is_empty() {
        say(&format!("rows {} to {end} of {total}; --offset {end} goes on", offset + 1));
    }
    Ok(())
}
