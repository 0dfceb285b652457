//! Pages whose commands are run as they are written: by bash and curl against the real program, with a base model from a
//! server that speaks the Hub's protocol. Only the address differs, since a port may be taken, and cargo has built the
//! program already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::hub::fake_hub::{Behaviour, FakeHub};

const ADDRESS: &str = "http://127.0.0.1:8080";
const BUILD: &str = "cargo build --release\n";
/// What stands between the answers of two blocks.
const BETWEEN: &str = "\n=====\n";

/// A page's code blocks as (what stands behind the fence, text).
pub(crate) fn blocks(page: &str) -> Vec<(String, String)> {
    let mut parts = page.split("\n```").skip(1);
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (kind, text) = block.split_once('\n').expect("a fence ends its line");
        blocks.push((kind.to_owned(), text.to_owned() + "\n"));
    }
    blocks
}

/// The blocks of one kind.
pub(crate) fn of_kind<'a>(blocks: &'a [(String, String)], kind: &str) -> Vec<&'a str> {
    blocks.iter().filter(|(of, _)| of == kind).map(|(_, text)| text.as_str()).collect()
}

/// A file of the repository.
pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it can be read")
}

/// What a page's commands did.
pub(crate) struct Ran {
    /// Where they ran.
    pub(crate) folder: TempDir,
    /// What each block printed.
    pub(crate) answers: Vec<String>,
}

/// Runs a block that starts the service, and beside it blocks of commands, one after another in one shell, in a folder that
/// has the samples. `model` is all-MiniLM-L6-v2 to the Hub.
pub(crate) async fn run(server: &str, client: &[&str], model: &Path) -> Ran {
    let behaviour =
        Behaviour { repo: "sentence-transformers/all-MiniLM-L6-v2", files: files(model), ..Behaviour::default() };
    let hub = FakeHub::start(behaviour).await;
    let folder = prepare();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it listens");
    let server = server.replace(BUILD, "");
    let mut process = Command::new("bash")
        .args(["-c", &format!("exec {}", server.trim())])
        .env("MATRYO_LISTEN", port.to_string())
        .env("HF_ENDPOINT", hub.settings().endpoint)
        .env("HF_HOME", folder.path().join("hf"))
        .env_remove("HF_TOKEN")
        .env_remove("MATRYO_API_KEY")
        .env("RUST_LOG", "warn")
        .current_dir(folder.path())
        .spawn()
        .expect("the program starts");
    let address = format!("http://{port}");
    let script = format!(
        "set -euo pipefail\nuntil curl -fs {address}/health >/dev/null; do read -rt 0.2 <> <(:) || :; done\n{}",
        client.join("\necho\necho =====\n").replace(ADDRESS, &address)
    );
    let cwd = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("timeout");
        command
            .args(["900", "bash", "-c", &script])
            .current_dir(cwd)
            .stdin(Stdio::null())
            .output()
            .expect("bash is there")
    });
    let output = output.await.expect("it does not panic");
    process.kill().expect("it still runs");
    process.wait().expect("it ends");
    let stdout = String::from_utf8(output.stdout).expect("answers are UTF-8");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    Ran { folder, answers: stdout.split(BETWEEN).map(str::to_owned).collect() }
}

/// A folder with what a checkout has after `cargo build --release`.
fn prepare() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let link = |to: PathBuf, name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
        std::os::unix::fs::symlink(to, path).expect("a link can be made");
    };
    link(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples"), "samples");
    link(env!("CARGO_BIN_EXE_matryo").into(), "target/release/matryo");
    folder
}

/// The model's files by path, as the Hub would list them.
fn files(folder: &Path) -> BTreeMap<String, axum::body::Bytes> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it lies in the folder").to_str().expect("it is UTF-8");
                files.insert(name.to_owned(), std::fs::read(&path).expect("it can be read").into());
            }
        }
    }
    files
}
