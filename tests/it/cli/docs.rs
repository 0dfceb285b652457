//! docs/cli.md, run as it is written: by bash against the real program, with a tiny model where the page names a real one.

use std::process::{Command, Stdio};

use super::Bench;
use super::serve::Server;
use crate::helpers::page;
use crate::hub::fake_hub::{Behaviour, FakeHub};

const ADDRESS: &str = "http://127.0.0.1:8080";

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work_as_written() {
    let blocks = page::blocks(&page::read("docs/cli.md"));
    let client = page::of_kind(&blocks, "sh");
    assert!(client.len() >= 10 && client.len() + 1 == blocks.len(), "every block but the server's is run");

    let bench = Bench::new();
    let behaviour = Behaviour {
        repo: "sentence-transformers/all-MiniLM-L6-v2",
        files: bench.model_files(),
        ..Behaviour::default()
    };
    let hub = FakeHub::start(behaviour).await;
    let server = Server::start_with(&bench, &[], |command| {
        command.env("HF_ENDPOINT", hub.settings().endpoint).env_remove("HF_HUB_OFFLINE");
    });
    // A folder of its own: the bench has a `model` already. The samples' beginnings do, and leave time for other tests.
    std::fs::create_dir_all(bench.path("page/samples/annual-reports")).expect("it can be made");
    for (name, rows) in [("train", 24), ("eval", 8)] {
        let name = format!("samples/annual-reports/{name}.jsonl");
        let sample = page::read(&name).lines().take(rows).map(|line| format!("{line}\n")).collect::<String>();
        bench.write(&format!("page/{name}"), &sample);
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_matryo")).parent().expect("it lies in a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("there is one"));
    let script = format!("set -euo pipefail\n{}", client.join("\n").replace(ADDRESS, &server.base));
    let cwd = bench.path("page");
    let ran = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("timeout");
        bash.args(["300", "bash", "-c", &script]).current_dir(cwd).env("PATH", path).stdin(Stdio::null());
        super::Ran::from(bash.env_remove("MATRYO_API_KEY").output().expect("bash is there"))
    });
    let ran = ran.await.expect("it does not panic").ended_with(0);
    for words in ["annual-reports", "ndcg@10 AT 32", "cancelled", "{\"data\":[]"] {
        assert!(ran.stdout.contains(words), "{words}: {ran:?}");
    }
    assert!(ran.stderr.contains("production means job:"), "{ran:?}");
    for file in ["model/modules.json", "epoch-2.tar.gz", "metrics.csv", "man1/matryo-jobs.1"] {
        assert!(bench.path("page").join(file).is_file(), "{file}");
    }
}
