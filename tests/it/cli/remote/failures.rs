//! How a command ends that a server does not help: the exit code, and what to do next.

use axum::Router;
use axum::response::Redirect;
use axum::routing::any;

use super::super::serve::Server;
use super::{Bench, run_at};

/// A command of each kind, all of which ask for something.
const COMMANDS: [&[&str]; 5] = [
    &["jobs", "list"],
    &["datasets", "list", "--json"],
    &["models", "list"],
    &["aliases", "list", "--json"],
    &["logs", "-f", "019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11"],
];

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let bench = Bench::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it listens");
    for command in COMMANDS {
        let ran = run_at(&bench, &format!("http://{free}"), command).ended_with(4);
        assert!(ran.stdout.is_empty(), "{ran:?}");
        ran.saying(&format!("no server answers at http://{free} (")).saying("matryo serve").saying("--url");
    }
}

#[test]
fn a_wrong_key_is_told_and_never_shown() {
    let bench = Bench::new();
    let server = Server::start(&bench, &["--api-key", "right-key"]);
    for command in COMMANDS {
        let wrong = [command, &["--api-key", "wrong-key"]].concat();
        let ran = run_at(&bench, &server.base, &wrong).ended_with(1).saying("MATRYO_API_KEY");
        assert!(!ran.stderr.contains("wrong-key") && ran.stdout.is_empty(), "{ran:?}");
        run_at(&bench, &server.base, command).ended_with(1).saying("--api-key");
    }
    run_at(&bench, &server.base, &["jobs", "list", "--api-key", "right-key"]).ended_with(0);
    // Before the subcommand, or from the environment, which no help shows.
    run_at(&bench, &server.base, &["jobs", "--api-key", "right-key", "list"]).ended_with(0);
    let mut command = bench.matryo(&["jobs", "list", "--url", &server.base]);
    let listed =
        super::Ran::from(command.env("MATRYO_API_KEY", "right-key").env("RUST_LOG", "trace").output().unwrap());
    let listed = listed.ended_with(0);
    assert!(!listed.stderr.contains("right-key"), "no log shows it: {listed:?}");
    let mut command = bench.matryo(&["jobs", "list", "--help"]);
    let help = super::Ran::from(command.env("MATRYO_API_KEY", "right-key").output().unwrap()).ended_with(0);
    assert!(!help.stdout.contains("right-key"), "{help:?}");
}

#[test]
fn what_is_not_there_ends_with_3() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[]);
    let id = "019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11";
    for arguments in [
        &["jobs", "show", id][..],
        &["jobs", "cancel", id],
        &["jobs", "pause", "nameless"],
        &["jobs", "resume", id, "--json"],
        &["jobs", "delete", id, "--yes"],
        &["jobs", "metrics", id],
        &["jobs", "checkpoints", id],
        &["jobs", "download", id],
        &["datasets", "show", id],
        &["datasets", "rows", "nameless"],
        &["datasets", "delete", id, "--yes"],
        &["models", "show", "nothing/here"],
        &["models", "delete", "nothing/here", "--yes"],
        &["models", "load", "job:x"],
        &["aliases", "show", "nothing"],
        &["aliases", "delete", "nothing", "--yes"],
        &["logs", id],
        &["logs", "-f", id],
    ] {
        let ran = run_at(&bench, &server.base, arguments).ended_with(3);
        assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn an_address_that_is_none_ends_with_2() {
    let bench = Bench::new();
    for url in ["127.0.0.1:8080", "ftp://host", "http://user:secret@host"] {
        run_at(&bench, url, &["jobs", "list"]).ended_with(2);
        bench.run(&["jobs", "list", "--url", url]).ended_with(2).saying("--url");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_of_ours_is_told() {
    let bench = Bench::new();
    let router = Router::new()
        .route("/moved/{*rest}", any(async || Redirect::permanent("https://elsewhere.example/")))
        .fallback(async || "<html>welcome</html>");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let base = format!("http://{}", listener.local_addr().expect("it listens"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    run_at(&bench, &base, &["jobs", "list"]).ended_with(1).saying("is it a Matryo server's address?");
    run_at(&bench, &format!("{base}/moved"), &["jobs", "list"]).ended_with(1).saying("https://elsewhere.example/");
}
