//! What installs Matryo elsewhere: a unit of systemd, and a compose file.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use yaml_serde::Value;

use super::Bench;
use crate::helpers::page::read;

const PROGRAM: &str = "/usr/local/bin/matryo";

/// A unit's values of one key.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// Words that are settings' variables.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("MATRYO_")).map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn the_unit_s_command_starts_the_service_and_ends_when_systemd_says_so() {
    let bench = Bench::new();
    let unit = read("packaging/matryo.service");
    let start: Vec<&str> = values(&unit, "ExecStart")[0].split(' ').collect();
    assert_eq!(start[0], PROGRAM);
    let mut command = bench.matryo(&start[1..]);
    for (name, value) in values(&unit, "Environment")[0].split(' ').filter_map(|pair| pair.split_once('=')) {
        command.env(name, value);
    }
    // Of its own port and folder, since the test is not root and not alone.
    command.env("MATRYO_DATA_DIR", bench.path("state")).env("MATRYO_LISTEN", "127.0.0.1:0");
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    // Held to the end: a service whose log nobody takes ends badly.
    let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let listens = log.find(|line| line.contains("listening on"));
    assert!(listens.expect("it listens").starts_with('{'), "it logs JSON, as the unit says");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill is there").success());
    assert!(child.wait().expect("it ends").success());
    assert!(bench.path("state/matryo.db").exists());
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    };
    assert!(version.status.success());
    let bench = Bench::new();
    let unit = read("packaging/matryo.service").replace(PROGRAM, env!("CARGO_BIN_EXE_matryo"));
    bench.write("matryo.service", &unit);
    let verified =
        Command::new("systemd-analyze").arg("verify").arg(bench.path("matryo.service")).output().expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_compose_file_is_one_and_names_what_is_there() {
    let compose: Value = yaml_serde::from_str(&read("docker/compose.yaml")).expect("it is YAML");
    let service = &compose["services"]["matryo"];
    let dockerfile = service["build"]["dockerfile"].as_str().expect("it is built");
    let dockerfile = read(dockerfile);
    let port = "8080";
    assert!(dockerfile.contains(&format!("EXPOSE {port}")));
    assert!(service["ports"][0].as_str().expect("a port").ends_with(&format!(":{port}")));
    let volume = service["volumes"][0].as_str().expect("a volume");
    let (name, folder) = volume.split_once(':').expect("a name and a place");
    assert!(compose["volumes"].as_mapping().expect("volumes").contains_key(name));
    assert!(
        dockerfile.contains(&format!("MATRYO_DATA_DIR={folder}")) && dockerfile.contains(&format!("VOLUME {folder}"))
    );
}

#[test]
fn every_setting_is_described_and_no_other_is_named() {
    let bench = Bench::new();
    let help = bench.matryo(&["serve", "--help"]).output().expect("it runs");
    let known = variables(&String::from_utf8_lossy(&help.stdout));
    assert!(known.len() > 10, "{known:?}");
    assert_eq!(variables(&read("docs/operating.md")), known, "the table of docs/operating.md");
    for file in ["packaging/matryo.service", "docker/Dockerfile", "docker/Dockerfile.cuda"] {
        let named = variables(&read(file));
        assert!(named.is_subset(&known), "{file}: {named:?}");
    }
    // Its port's variable is compose's own.
    let named = variables(&read("docker/compose.yaml"));
    assert!(named.iter().all(|name| known.contains(name) || name == "MATRYO_PORT"), "{named:?}");
}
