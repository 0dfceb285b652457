//! The program itself: its output, its files, its exit codes.

mod demo;
mod embed;
mod eval;
mod models;
mod packaging;
mod serve;
mod telemetry;
mod train;
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::helpers::tiny_model::TinyModel;

/// A folder with a tiny model, and files of pairs that it can learn.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        TinyModel::default().write(&bench.path("model"));
        let pair = |id: usize, (anchor, positive): &(&str, &str)| {
            format!("{}\n", serde_json::json!({"id": format!("p{id}"), "anchor": anchor, "positive": positive}))
        };
        let lines: Vec<String> = PAIRS.iter().enumerate().map(|(id, texts)| pair(id, texts)).collect();
        bench.write("train.jsonl", &lines[..8].concat());
        bench.write("eval.jsonl", &lines[8..].concat());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("it can be written");
    }

    /// The program, in the folder, away from the Hub and from whatever the developer has set.
    fn matryo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_matryo"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("MATRYO_") || name.starts_with("HF_") || name.starts_with("OTEL_") || name == "RUST_LOG"
            {
                command.env_remove(name);
            }
        }
        command.env("MATRYO_CACHE", self.path("cache")).env("HF_HUB_OFFLINE", "1").env("HF_HOME", self.path("hf"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.matryo(arguments).output().expect("the program starts"))
    }

    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.matryo(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A program that ends at a bad line reads no further.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("it writes");
        Ran::from(output)
    }

    fn json(&self, name: &str) -> serde_json::Value {
        read_json(&self.path(name))
    }
}

fn read_json(path: &Path) -> serde_json::Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// How a run of the program ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("it prints text"),
            stderr: String::from_utf8(output.stderr).expect("it prints text"),
        }
    }
}

impl Ran {
    #[track_caller]
    fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    fn saying(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "`{words}` is not said: {self:?}");
        self
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
    }
}

const PAIRS: [(&str, &str); 12] = [
    ("which animal is a cat", "the cat is an animal of the house"),
    ("what is the capital of the country", "the capital is a city by the river"),
    ("how did revenue change this year", "revenue and sales rose with the market"),
    ("what did the bank say of interest", "interest rate and debt were high"),
    ("which fruit is red", "the apple is a red fruit from the tree"),
    ("how far is the moon", "the moon and the sun are far from earth"),
    ("who made the music", "the man made music and a song"),
    ("what runs on an engine", "the car and the train have an engine"),
    ("what does the bird eat", "the bird and the fish eat bread and rice"),
    ("how is the weather at sea", "the sea is blue under the mountain"),
    ("what is a computer", "a computer is a machine with a language"),
    ("who wrote the letter", "the woman wrote a letter on paper"),
];
