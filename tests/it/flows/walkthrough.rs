//! The README's walk-through, run as it is written: by bash and curl against the real program, with real weights from a
//! server that speaks the Hub's protocol. Only the address differs, since a port may be taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::helpers::code_blocks::code_blocks;
use crate::helpers::reference::minilm;
use crate::hub::fake_hub::{Behaviour, FakeHub};

const ADDRESS: &str = "http://127.0.0.1:8080";
const SECTION: &str = "## Walk-through with curl";

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

/// How many numbers a JSON array holds, and their norm.
fn length(vector: &Value) -> (usize, f64) {
    let values: Vec<f64> = vector.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect();
    (values.len(), values.iter().map(|x| x * x).sum::<f64>().sqrt())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_s_walk_through_works_as_written() {
    let Some(model) = minilm() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("it can be read");
    let section = readme.split_once(SECTION).expect("the README has a walk-through").1;
    let blocks = code_blocks(section.split("\n## ").next().expect("there is a first part"));
    let server = blocks.iter().find(|(kind, _)| kind == "sh server").expect("one block starts the service");
    assert!(server.1.contains("target/release/matryo serve --data-dir matryo-data"), "{}", server.1);
    let client: Vec<&str> = blocks.iter().filter(|(kind, _)| kind == "sh").map(|(_, text)| text.as_str()).collect();
    assert!(client.len() >= 5 && client.len() + 1 == blocks.len(), "every block is run");

    let hub = FakeHub::start(Behaviour {
        repo: "sentence-transformers/all-MiniLM-L6-v2",
        files: files(&model),
        ..Behaviour::default()
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::os::unix::fs::symlink(root.join("samples"), folder.path().join("samples")).expect("a link can be made");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it listens");
    let address = format!("http://{port}");

    // The README's own line but for the build, which cargo has done for this test.
    let mut process = Command::new(env!("CARGO_BIN_EXE_matryo"))
        .args(["serve", "--data-dir", "matryo-data"])
        .env("MATRYO_LISTEN", port.to_string())
        .env("HF_ENDPOINT", hub.settings().endpoint)
        .env("HF_HOME", folder.path().join("hf"))
        .env_remove("HF_TOKEN")
        .env_remove("MATRYO_API_KEY")
        .env("RUST_LOG", "warn")
        .current_dir(folder.path())
        .spawn()
        .expect("the program starts");
    let client_script = format!(
        "set -euo pipefail\nuntil curl -fs {address}/health >/dev/null; do read -rt 0.2 <> <(:) || :; done\n{}",
        client.join("\necho\necho =====\n").replace(ADDRESS, &address)
    );
    let cwd = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("timeout")
            .args(["900", "bash", "-c", &client_script])
            .current_dir(cwd)
            .stdin(Stdio::null())
            .output()
            .expect("bash is there")
    })
    .await
    .expect("it does not panic");
    process.kill().expect("it still runs");
    process.wait().expect("it ends");
    let stdout = String::from_utf8(output.stdout).expect("answers are UTF-8");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);

    let answers: Vec<&str> = stdout.split("\n=====\n").collect();
    assert!(answers[0].contains("ready"), "{}", answers[0]);
    assert!(answers[1].contains("\"train_rows\":272"), "{}", answers[1]);
    let table: Vec<&str> = answers[2].lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 2 + 3, "a head, and epochs 0 to 2: {table:?}");
    assert!(answers[2].contains("succeeded") && answers[3].contains("\"is_best\":true"));
    let archive = Command::new("tar").args(["-tzf", "best.tar.gz"]).current_dir(folder.path()).output().expect("tar");
    let names = String::from_utf8_lossy(&archive.stdout).into_owned();
    for name in ["model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json", "README.md"] {
        assert!(names.contains(name), "{name} is missing from {names}");
    }
    let vectors: Vec<Value> = serde_json::Deserializer::from_str(answers[4])
        .into_iter::<Value>()
        .map(|value| value.expect("it is JSON"))
        .collect();
    let (tei, openai) = (&vectors[0][0], &vectors[1]["data"][0]["embedding"]);
    for vector in [tei, openai] {
        let (dimension, norm) = length(vector);
        assert!(dimension == 128 && (norm - 1.0).abs() < 1e-5, "{dimension} numbers of norm {norm}");
    }
    assert_eq!(tei, openai, "both shapes hold the same embedding");
}
