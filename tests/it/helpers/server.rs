//! The real program as a process of its own, for what must be able to die.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::form::{BOUNDARY, Form};
use super::tiny_model::TinyModel;

/// Something hangs where a test waits this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server works on, beyond its life: a data directory, and a folder with the tiny model.
pub(crate) struct Setup {
    folder: TempDir,
    /// Where given, the data directory is a disk of its own of this size, which lives as long as one server.
    disk_mib: Option<u32>,
}

impl Setup {
    pub(crate) fn new(model: &TinyModel) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        model.write(&folder.path().join("roots/tiny"));
        std::fs::create_dir(folder.path().join("data")).expect("a folder can be made");
        Self { folder, disk_mib: None }
    }

    /// Puts the data directory on a small disk; none, and a line on stderr, where this machine does not let us.
    pub(crate) fn with_small_disk(model: &TinyModel, disk_mib: u32) -> Option<Self> {
        let setup = Self { disk_mib: Some(disk_mib), ..Self::new(model) };
        let possible = setup.command("true").status().is_ok_and(|status| status.success());
        if !possible {
            eprintln!("skipped: a file system of its own cannot be mounted here (unshare -rm)");
        }
        possible.then_some(setup)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program, on the small disk where there is to be one.
    fn command(&self, program: &str) -> Command {
        let Some(size) = self.disk_mib else {
            return Command::new(program);
        };
        let script = format!("mount -t tmpfs -o size={size}m tmpfs \"$0\" && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).arg(self.path("data")).arg(program);
        command
    }
}

/// A running server; killed with the test.
pub(crate) struct Server {
    process: Child,
    address: String,
    client: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server and registers the tiny model as `tiny`, unless an earlier one did.
    pub(crate) async fn start(setup: &Setup) -> Self {
        let mut process = setup
            .command(env!("CARGO_BIN_EXE_matryo"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .arg("--data-dir")
            .arg(setup.path("data"))
            .arg("--model-root")
            .arg(setup.path("roots"))
            .env("RUST_LOG", "info")
            .env_remove("MATRYO_API_KEY")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line["address"].as_str().map(str::to_owned)
        });
        let address = address.expect("it tells where it listens");
        // A pipe that nobody empties would stop it.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        let server = Self { process, address, client: reqwest::Client::new() };
        let path = setup.path("roots/tiny").canonicalize().expect("it was written");
        let body = json!({"source": "folder", "path": path, "name": "tiny"});
        let registered = server.client.post(server.url("/v1/models")).json(&body).send().await.expect("it answers");
        assert!(matches!(registered.status().as_u16(), 201 | 409), "{:?}", registered.text().await);
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path)).send().await.expect("it answers");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.json().await.expect("it is JSON")
    }

    /// Posts what is to be created or done; the answer's JSON.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(self.url(path)).json(body).send().await.expect("it answers");
        let status = answer.status();
        let text = answer.text().await.expect("it is text");
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).expect("it is JSON")
    }

    /// Uploads a dataset; its id.
    pub(crate) async fn upload(&self, form: Form) -> String {
        let post = self.client.post(self.url("/v1/datasets"));
        let post = post.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        let answer = post.body(form.bytes()).send().await.expect("it answers");
        let dataset: Value = answer.json().await.expect("it is JSON");
        dataset["id"].as_str().unwrap_or_else(|| panic!("{dataset}")).to_owned()
    }

    /// Follows a job's events until `enough` of what was heard, or to the stream's end; the types that were heard.
    pub(crate) async fn hear(&self, job: &str, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let get = self.client.get(self.url(&format!("/v1/jobs/{job}/events"))).header("accept", "text/event-stream");
        let mut stream = get.send().await.expect("it answers").bytes_stream();
        let mut heard = Vec::new();
        let mut text = String::new();
        let listen = async {
            while let Some(piece) = stream.next().await {
                text += std::str::from_utf8(&piece.expect("the stream goes on")).expect("the events are ASCII");
                while let Some(end) = text.find('\n') {
                    heard.extend(text[..end].strip_prefix("event: ").map(str::to_owned));
                    text.drain(..=end);
                }
                if enough(&heard) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listen).await.expect("it comes in time");
        heard
    }

    /// Ends the process at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it is ours");
    }
}
