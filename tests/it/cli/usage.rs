//! Exit codes and help.

use super::Bench;

#[test]
fn what_is_wrong_with_the_arguments_ends_with_2() {
    let bench = Bench::new();
    for arguments in [&[][..], &["nonsense"], &["train"], &["serve", "--listen", "here"], &["serve", "--device", "gpu"]]
    {
        bench.run(arguments).ended_with(2);
    }
    let ran = Bench::new();
    let output = ran.matryo(&["openapi"]).env("RUST_LOG", "=,").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("RUST_LOG"), "{output:?}");
}

#[test]
fn help_and_version_end_with_0() {
    let bench = Bench::new();
    let help = bench.run(&["--help"]).ended_with(0);
    for command in ["serve", "demo", "train", "eval", "embed", "jobs", "datasets", "models", "aliases", "logs"] {
        assert!(help.stdout.contains(command), "{command} is missing from {}", help.stdout);
    }
    assert!(help.stdout.contains("Exit codes:"), "{}", help.stdout);
    assert!(bench.run(&["--version"]).ended_with(0).stdout.contains(env!("CARGO_PKG_VERSION")));
    assert!(bench.run(&["train", "--help"]).ended_with(0).stdout.contains("matryo train --train"));
}

#[test]
fn the_openapi_document_is_printed_as_yaml_and_as_json() {
    let printed = Bench::new().run(&["openapi"]).ended_with(0).stdout;
    assert!(printed.starts_with("openapi: 3"), "{}", printed.chars().take(100).collect::<String>());
    assert!(printed.contains("/health:"));
    let json = Bench::new().run(&["openapi", "--json"]).ended_with(0).lines();
    assert!(json.len() == 1 && json[0]["paths"]["/health"].is_object());
}
