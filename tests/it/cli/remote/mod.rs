//! The commands that ask a server, against the real program or a service that a test holds.

mod aliases;
mod datasets;
mod failures;
mod follow;
mod jobs;
mod models;

use serde_json::Value;

use super::serve::Server;
use super::{Bench, Ran};

/// A real server on a bench, and commands that ask it.
pub(super) struct Remote {
    server: Server,
    bench: Bench,
}

impl Remote {
    /// Starts a server that may register the bench's folders.
    fn start() -> Self {
        let bench = Bench::new();
        let root = bench.path("").canonicalize().expect("it is there");
        let server = Server::start(&bench, &["--model-root", root.to_str().expect("it is UTF-8")]);
        Self { server, bench }
    }

    /// Starts one that has the tiny model as `tiny`, and the bench's pairs as `pairs`.
    fn with_inputs() -> Self {
        let remote = Self::start();
        let model = remote.bench.path("model").canonicalize().expect("it is there");
        remote.run(&["models", "register", model.to_str().expect("it is UTF-8"), "--name", "tiny"]).ended_with(0);
        remote
            .run(&["datasets", "upload", "train.jsonl", "--eval-file", "eval.jsonl", "--name", "pairs"])
            .ended_with(0);
        remote
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run_at(&self.bench, &self.server.base, arguments)
    }

    /// The one document that a command prints with `--json`.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).ended_with(0).document()
    }
}

/// Runs a command that asks the server at an address.
fn run_at(bench: &Bench, url: &str, arguments: &[&str]) -> Ran {
    let output = bench.matryo(arguments).env("MATRYO_URL", url).output();
    Ran::from(output.expect("the program starts"))
}

impl Ran {
    /// The one JSON document on standard output.
    #[track_caller]
    fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A row of the printed table, by what it holds.
    #[track_caller]
    fn row(&self, holds: &str) -> &str {
        self.stdout.lines().find(|line| line.contains(holds)).unwrap_or_else(|| panic!("no `{holds}`: {self:?}"))
    }
}
