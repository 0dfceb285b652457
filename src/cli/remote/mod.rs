//! Commands that ask a running server. All of them speak to it through one [`client`].

pub(super) mod aliases;
pub(super) mod client;
pub(super) mod datasets;
pub(super) mod follow;
pub(super) mod jobs;
mod list;
pub(super) mod logs;
pub(super) mod models;
pub(super) mod refusal;
mod sse;
pub(super) mod upload;

use std::future::Future;

use clap::Args;
use reqwest::Url;

use crate::config;
use crate::domain::Secret;

use super::error::CliError;
use super::serve;
use client::Client;

/// Where `matryo serve` listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Which server, and how to print what it says.
#[derive(Debug, Args)]
pub(super) struct RemoteFlags {
    /// Prints JSON on standard output, and everything else on standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
struct ServerFlags {
    /// The server's address; `http://127.0.0.1:8080` where none is given.
    #[arg(long, global = true, env = "MATRYO_URL", hide_env_values = true, value_name = "URL", value_parser = server_url)]
    url: Option<Url>,

    /// The server's API key, where it wants one.
    #[arg(long, global = true, env = "MATRYO_API_KEY", hide_env_values = true, value_name = "KEY",
        value_parser = config::secret)]
    api_key: Option<Secret>,
}

impl RemoteFlags {
    /// True where a server was named, by flag or by variable.
    pub(super) fn names_server(&self) -> bool {
        self.server.url.is_some()
    }

    /// Does something with a client of the server.
    pub(super) fn run<F>(&self, ask: impl FnOnce(Client) -> F) -> Result<(), CliError>
    where
        F: Future<Output = Result<(), CliError>>,
    {
        let base = self.server.url.clone().unwrap_or_else(|| DEFAULT_URL.parse().expect("it is a URL"));
        let client = Client::new(base, self.server.api_key.as_ref())?;
        serve::runtime()?.block_on(ask(client))
    }
}

fn server_url(text: &str) -> Result<Url, String> {
    let expected = || format!("a server's address such as {DEFAULT_URL} is expected");
    let url: Url = text.trim().parse().map_err(|_| expected())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(expected());
    }
    // What stands in an address is shown in messages.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address without a user is expected; give a key by --api-key or MATRYO_API_KEY".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::server_url;

    #[test]
    fn an_address_is_one_of_http_without_a_secret() {
        for good in ["http://127.0.0.1:8080", "https://matryo.example/behind/a/proxy/", " http://[::1]:80 "] {
            assert!(server_url(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8080", "localhost:8080", "ftp://host", "http://", "http://host?x=1"] {
            assert!(server_url(bad).unwrap_err().contains("http://127.0.0.1:8080"), "{bad}");
        }
        assert!(server_url("http://user:pass@host").unwrap_err().contains("--api-key"));
    }
}
