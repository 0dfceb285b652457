//! The layers of `src/lib.rs` hold: no file uses a module that stands above its own.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name besides itself. `worker` alone sees both the store and the numeric column.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("kernels", &[]),
    ("data", &["domain"]),
    ("model", &["kernels", "data", "domain"]),
    ("evaluation", &["model", "kernels", "data", "domain"]),
    ("training", &["evaluation", "model", "kernels", "data", "domain"]),
    ("records", &["training", "evaluation", "domain"]),
    ("store", &["domain"]),
    ("hub", &["model", "data", "domain"]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("serving", &["store", "model", "data", "domain"]),
    ("webhooks", &["store", "domain"]),
    ("worker", &["store", "records", "training", "evaluation", "model", "data", "domain"]),
    ("http", &["worker", "serving", "hub", "webhooks", "store", "model", "data", "domain", "config", "telemetry"]),
    (
        "cli",
        &[
            "http",
            "worker",
            "serving",
            "hub",
            "webhooks",
            "store",
            "records",
            "training",
            "evaluation",
            "model",
            "data",
            "domain",
            "config",
            "telemetry",
        ],
    ),
];

/// Crates that only some modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "cli"]),
    ("sqlx", &["store"]),
    ("tokio", &["store", "hub", "webhooks", "serving", "worker", "telemetry", "http", "cli"]),
    ("candle_core", &["model"]),
    ("hf_hub", &["hub"]),
    ("clap", &["cli", "config"]),
    ("maud", &["http"]),
    ("prometheus_client", &["telemetry", "serving"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
];

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The first name after each occurrence of `prefix`, and the names of a group (`crate::{a, b}`).
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(prefix) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + prefix.len()..];
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let group = rest.strip_prefix('{').map_or(rest, |group| group.split('}').next().unwrap_or(group));
        let parts = if rest.starts_with('{') { group.split(',').collect() } else { vec![group] };
        for part in parts {
            let end = part.trim_start().find(|c: char| !c.is_alphanumeric() && c != '_');
            let name = part.trim_start();
            names.push(&name[..end.unwrap_or(name.len())]);
        }
    }
    names
}

#[test]
fn no_module_uses_one_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 20, "only {} files found below {}", files.len(), src.display());
    let mut errors = Vec::new();
    for file in &files {
        let relative = file.strip_prefix(&src).expect("the file lies in src");
        let module = relative.components().next().expect("it has a name").as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            errors.push(format!("{}: module `{module}` has no place among the layers", relative.display()));
            continue;
        };
        let text = fs::read_to_string(file).expect("source is UTF-8");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in names_after(line, "crate::") {
                if !used.is_empty() && used != module && !allowed.contains(&used) {
                    errors.push(format!("{}:{}: `{module}` uses `{used}`", relative.display(), number + 1));
                }
            }
            for (name, modules) in CRATES {
                if line.contains(&format!("{name}::")) && !modules.contains(&module) {
                    errors.push(format!("{}:{}: `{module}` uses crate `{name}`", relative.display(), number + 1));
                }
            }
        }
    }
    assert!(errors.is_empty(), "upward uses:\n{}", errors.join("\n"));
}

#[test]
fn the_check_sees_groups_and_paths() {
    assert_eq!(names_after("use crate::{store, training::run};", "crate::"), ["store", "training"]);
    assert_eq!(names_after("let x = crate::http::router();", "crate::"), ["http"]);
    assert!(names_after("pub(crate) fn f() {}", "crate::").is_empty());
}
