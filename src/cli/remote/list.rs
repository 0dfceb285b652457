//! Lists, which come in pages, and what is found in them by name.

use std::fmt::Display;
use std::str::FromStr;

use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Client;
use super::refusal::ClientError;
use crate::cli::error::CliError;
use crate::cli::progress::say;

/// What the server gives at once.
const MAX_PAGE: u32 = 100;

/// How much of a list.
#[derive(Debug, Clone, Args)]
pub(super) struct PageFlags {
    /// Shows so many at most, the newest first.
    #[arg(long, value_name = "COUNT", default_value_t = 20, conflicts_with = "all",
        value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Shows all of them.
    #[arg(long)]
    all: bool,

    /// Goes on after an earlier list, which names its cursor.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// A part of a list, as the server gives it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Items {
    pub(super) data: Vec<Value>,
    pub(super) next_cursor: Option<String>,
}

impl PageFlags {
    /// The whole list.
    pub(super) const ALL: Self = Self { limit: MAX_PAGE, all: true, cursor: None };

    /// Reads the list below `path`, a page after the other.
    pub(super) async fn read(
        &self,
        client: &Client,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Items, ClientError> {
        let mut items = Items { data: Vec::new(), next_cursor: self.cursor.clone() };
        loop {
            let left = if self.all { MAX_PAGE } else { self.limit - items.data.len() as u32 };
            let mut request = client.get(path).query(query).query(&[("limit", left.min(MAX_PAGE))]);
            if let Some(cursor) = &items.next_cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Items = client.json(request).await?;
            items.data.extend(page.data);
            items.next_cursor = page.next_cursor;
            if items.next_cursor.is_none() || !self.all && items.data.len() >= self.limit as usize {
                return Ok(items);
            }
        }
    }
}

impl Items {
    /// The items as what they are.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> Result<Vec<T>, CliError> {
        self.data.iter().map(|item| Ok(T::deserialize(item)?)).collect()
    }

    /// Says how to see more, where there is more.
    pub(super) fn tell_of_more(&self) {
        if let Some(cursor) = &self.next_cursor {
            say(&format!("there are more: --cursor {cursor} goes on, --all shows all"));
        }
    }
}

/// The id that a text is, or the id of the only thing that is called so.
pub(super) async fn id_of<Id>(client: &Client, kind: &str, plural: &str, text: &str) -> Result<Id, CliError>
where
    Id: FromStr<Err: Display>,
{
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let items = PageFlags::ALL.read(client, &["v1", plural], &[]).await?;
    let called = items.data.iter().filter(|item| item["name"] == text);
    let ids: Vec<&str> = called.filter_map(|item| item["id"].as_str()).collect();
    match ids[..] {
        [id] => id.parse().map_err(CliError::failed),
        [] => {
            Err(CliError::NotFound(format!("there is no {kind} `{text}`; `matryo {plural} list` shows what there is")))
        }
        _ => Err(CliError::Failed(format!(
            "{} {plural} are called `{text}`; give the id of one: {}",
            ids.len(),
            ids.iter().take(10).copied().collect::<Vec<_>>().join(", ")
        ))),
    }
}
