//! `matryo demo`, on a tiny model in the place of the one that it fetches.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::Bench;
use crate::helpers::tiny_model::TinyModel;

fn bench() -> Bench {
    let bench = Bench::new();
    let model = TinyModel { hidden: 128, layers: 1, ..TinyModel::default() };
    model.write(&bench.path("cache/package/all-MiniLM-L6-v2"));
    bench
}

#[test]
fn it_does_the_job_and_shows_what_was_gained() {
    let bench = bench();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let listen = taken.local_addr().expect("it listens").to_string();
    let ran = bench.run(&["demo", "--exit", "--listen", &listen]).ended_with(0).saying("another port is used");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with('|')).count(), 2 + 5, "{}", ran.stdout);
    let gains: Vec<_> = ran.stdout.lines().skip_while(|line| !line.contains("before")).skip(1).take(2).collect();
    assert!(gains[0].trim_start().starts_with("128 ") && gains[1].trim_start().starts_with("64 "), "{gains:?}");
    let checkpoint = ran.stdout.lines().find_map(|line| line.strip_prefix("best checkpoint: "));
    let checkpoint = checkpoint.and_then(|line| line.split(" (").next()).expect("a folder is named");
    assert!(std::path::Path::new(checkpoint).join("model.safetensors").is_file(), "{checkpoint}");
}

#[test]
fn it_tells_programs_as_json() {
    let told = bench().run(&["demo", "--exit", "--listen", "127.0.0.1:0", "--json"]).ended_with(0).lines();
    assert_eq!(told.len(), 1, "one document");
    assert_eq!(told[0]["model"], format!("job:{}", told[0]["job_id"].as_str().expect("it has an id")));
    assert_eq!(told[0]["metrics"]["rows"].as_array().map(Vec::len), Some(5));
    let folder = std::path::Path::new(told[0]["best_checkpoint"].as_str().expect("a folder")).to_owned();
    assert!(folder.is_absolute() && folder.starts_with("/"), "{folder:?}");
}

#[cfg(unix)]
#[test]
fn the_printed_curl_command_works_as_pasted_until_ctrl_c() {
    let bench = bench();
    let mut command = bench.matryo(&["demo", "--listen", "127.0.0.1:0", "--data-dir", "elsewhere"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let curl = lines.find(|line| line.trim_start().starts_with("curl ")).expect("a command is printed");
    let pasted = Command::new("sh").args(["-c", &curl]).output().expect("a shell is there");
    let embeddings: Vec<Vec<f32>> = serde_json::from_slice(&pasted.stdout).expect("embeddings are answered");
    assert_eq!((embeddings.len(), embeddings[0].len()), (1, 128));

    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
