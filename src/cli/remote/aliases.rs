//! `matryo aliases`: names that are moved from model to model, and back.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::RemoteFlags;
use super::client::Client;
use super::jobs::deleted;
use super::list::Items;
use crate::cli::confirm::ConfirmFlag;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::progress::say;
use crate::cli::table::{Facts, Table};
use crate::cli::units::moment;
use crate::domain::{Alias, AliasAction, AliasMove};

const LIST_EXAMPLE: &str = "Example:\n  matryo aliases list";
const SHOW_EXAMPLE: &str = "Example:\n  matryo aliases show production";
const SET_EXAMPLE: &str = "Examples:\n  \
    matryo aliases set production job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11\n  \
    matryo aliases set production BAAI/bge-base-en-v1.5 --by anna --if-model sentence-transformers/all-MiniLM-L6-v2\n\n\
    `job:ID` means the checkpoint that is the job's best now, whatever the job does later.";
const ROLLBACK_EXAMPLE: &str = "Example:\n  matryo aliases rollback production\n\n\
    Several in a row walk further back.";
const DELETE_EXAMPLE: &str = "Example:\n  matryo aliases delete production --yes\n\nThe model that it means stays.";

#[derive(Debug, Args)]
pub(in crate::cli) struct AliasesCommand {
    #[command(flatten)]
    remote: RemoteFlags,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists aliases by name.
    #[command(after_help = LIST_EXAMPLE)]
    List,
    /// Shows an alias and how it was moved.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(AliasArgument),
    /// Moves an alias to a model, and makes it where there is none.
    #[command(after_help = SET_EXAMPLE)]
    Set {
        #[command(flatten)]
        alias: AliasArgument,

        /// The model: a base model's name, `job:ID`, or `job:ID@epoch-N`.
        model: String,

        #[command(flatten)]
        how: MoveFlags,
    },
    /// Moves an alias back to what it meant before its last move.
    #[command(after_help = ROLLBACK_EXAMPLE)]
    Rollback {
        #[command(flatten)]
        alias: AliasArgument,

        #[command(flatten)]
        how: MoveFlags,
    },
    /// Deletes an alias and its history.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        #[command(flatten)]
        alias: AliasArgument,

        #[command(flatten)]
        confirm: ConfirmFlag,
    },
}

/// The alias that is meant.
#[derive(Debug, Args)]
struct AliasArgument {
    /// The alias.
    alias: String,
}

/// How to move one.
#[derive(Debug, Args)]
struct MoveFlags {
    /// Moves it only if it means this now.
    #[arg(long, alias = "if_model", value_name = "MODEL")]
    if_model: Option<String>,

    /// Who moves it, for the history.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl MoveFlags {
    fn body(&self) -> Map<String, Value> {
        let fields = [("if_model", &self.if_model), ("by", &self.by)];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))).collect()
    }
}

/// An alias and how it was moved.
#[derive(Debug, Deserialize)]
struct AliasDetails {
    #[serde(flatten)]
    alias: Alias,
    history: Vec<AliasMove>,
}

impl AliasesCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), CliError> {
        let json = self.remote.json;
        self.remote.run(async |client| match &self.action {
            Action::List => list(&client, json).await,
            Action::Show(AliasArgument { alias }) => show(&client, alias, json).await,
            Action::Set { alias: AliasArgument { alias }, model, how } => {
                let mut body = how.body();
                body.insert("model".into(), model.as_str().into());
                moved(client.json(client.request(Method::PUT, &["v1", "aliases", alias]).json(&body)).await?, json)
            }
            Action::Rollback { alias: AliasArgument { alias }, how } => {
                let request = client.request(Method::POST, &["v1", "aliases", alias, "rollback"]);
                moved(client.json(request.json(&how.body())).await?, json)
            }
            Action::Delete { alias: AliasArgument { alias }, confirm } => {
                confirm.delete(&format!("alias {alias}"))?;
                client.delete(&["v1", "aliases", alias]).await?;
                deleted("alias", alias, json)
            }
        })
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let answer = client.read(&["v1", "aliases"]).await?;
    if json {
        return output::print_json(&answer);
    }
    let items: Items = serde_json::from_value(answer)?;
    let mut table = Table::new(["ALIAS", "MODEL", "MOVED", "~BY"]);
    for Alias { name, model, moved_at, moved_by, .. } in items.typed()? {
        table.row([name.into(), model.into(), moment(&moved_at).into(), moved_by.unwrap_or_default().into()]);
    }
    table.print("there are no aliases; `matryo aliases set NAME MODEL` makes one")
}

async fn show(client: &Client, alias: &str, json: bool) -> Result<(), CliError> {
    let answer = client.read(&["v1", "aliases", alias]).await?;
    if json {
        return output::print_json(&answer);
    }
    let AliasDetails { alias, history } = serde_json::from_value(answer)?;
    let mut facts = Facts::default();
    facts.add("alias", alias.name);
    facts.add("model", alias.model);
    facts.add("made", moment(&alias.created_at));
    for AliasMove { model, action, moved_at, moved_by } in history {
        let action = match action {
            AliasAction::Set => "moved to",
            AliasAction::Rollback => "moved back to",
        };
        let by = moved_by.map(|by| format!(" by {by}")).unwrap_or_default();
        facts.add("history", format!("{} {action} {model}{by}", moment(&moved_at)));
    }
    facts.print()
}

fn moved(answer: Value, json: bool) -> Result<(), CliError> {
    if json {
        return output::print_json(&answer);
    }
    let Alias { name, model, .. } = serde_json::from_value(answer)?;
    say(&format!("{name} means {model}"));
    Ok(())
}
