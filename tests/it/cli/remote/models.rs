//! `matryo models` with a server.

use serde_json::{Value, json};

use super::super::serve::Server;
use super::{Bench, Remote, run_at};
use crate::hub::fake_hub::{Behaviour, FakeHub, REPO};

#[test]
fn models_are_registered_loaded_unloaded_and_deleted() {
    let remote = Remote::start();
    remote.run(&["models", "list"]).ended_with(0).saying("there are no models");
    let folder = remote.bench.path("model").canonicalize().expect("it is there");
    let register = ["models", "register", folder.to_str().expect("it is UTF-8"), "--name", "org/tiny"];
    assert_eq!(remote.run(&register).ended_with(0).stdout, "org/tiny\n");
    remote.run(&register).ended_with(1).saying("org/tiny");
    remote.run(&["models", "register", "/etc"]).ended_with(2).saying("--path: ");

    remote.run(&["models", "load", "org/tiny"]).ended_with(0).saying("is in memory");
    let listed = remote.run(&["models", "list"]).ended_with(0);
    for cell in ["ready", "32", "loaded", "base"] {
        assert!(listed.row("org/tiny").contains(cell), "{cell}: {listed:?}");
    }
    assert_eq!(remote.json(&["models", "unload", "org/tiny"])["loaded"], false);
    let shown = remote.run(&["models", "show", "org/tiny"]).ended_with(0);
    assert!(shown.row("network").contains("bert, 2 layers"), "{shown:?}");
    assert!(shown.row("in memory").ends_with("no"), "{shown:?}");
    assert_eq!(remote.json(&["models", "show", "org/tiny"])["dimension"], 32);
    assert_eq!(remote.json(&["models", "list"])["data"][0]["id"], "org/tiny");

    remote.run(&["models", "delete", "org/tiny"]).ended_with(2).saying("--yes");
    remote.run(&["models", "delete", "org/tiny", "--yes"]).ended_with(0);
    for command in ["show", "load", "unload"] {
        remote.run(&["models", command, "org/tiny"]).ended_with(3).saying("org/tiny");
    }
}

#[test]
fn an_archive_of_a_folder_becomes_a_model() {
    let remote = Remote::start();
    let pack = |archive: &str, folder: &str| {
        let tar = std::process::Command::new("tar")
            .args(["-czf", archive, "-C", folder, "."])
            .current_dir(remote.bench.path(""))
            .status();
        assert!(tar.expect("tar is there").success());
    };
    pack("sent.tar.gz", "model");
    assert_eq!(remote.run(&["models", "upload", "sent.tar.gz"]).ended_with(0).stdout, "sent\n");
    assert_eq!(remote.json(&["models", "show", "sent"])["source"]["file_name"], "sent.tar.gz");
    let named = remote.json(&["models", "upload", "sent.tar.gz", "--name", "org/sent"]);
    assert_eq!((&named["id"], &named["status"]), (&json!("org/sent"), &json!("ready")));
    remote.run(&["models", "load", "org/sent"]).ended_with(0).saying("is in memory");

    remote.run(&["models", "upload", "sent.tar.gz"]).ended_with(1).saying("sent");
    remote.run(&["models", "upload", "nothing.zip"]).ended_with(2).saying("there is no such file");
    remote.run(&["models", "upload", "sent.tar.gz", "--name", "job:x"]).ended_with(2).saying("--name: ");
    std::fs::create_dir(remote.bench.path("empty")).unwrap();
    pack("empty.tar.gz", "empty");
    remote.run(&["models", "upload", "empty.tar.gz"]).ended_with(2).saying("FILE: ");
    assert_eq!(remote.json(&["models", "list"])["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_pulls_where_one_is_named_and_this_machine_where_none_is() {
    let bench = Bench::new();
    let hub = FakeHub::start(Behaviour { files: bench.model_files(), ..Behaviour::default() }).await;
    let server = Server::start_with(&bench, &[], |command| {
        command.env("HF_ENDPOINT", hub.settings().endpoint).env_remove("HF_HUB_OFFLINE");
    });
    let run = |arguments: &[&str]| run_at(&bench, &server.base, arguments);
    assert_eq!(run(&["models", "pull", REPO]).ended_with(0).stdout, format!("{REPO}\n"));
    let again: Value = run(&["models", "pull", REPO, "--json"]).ended_with(0).document();
    assert_eq!((&again["status"], &again["dimension"]), (&json!("ready"), &json!(32)));
    run(&["models", "pull", "org/other"]).ended_with(1);
    // Another try of what failed, which the server has kept, fails with the same reason.
    run(&["models", "pull", "org/other"]).ended_with(1).saying("org/other");

    let listed = bench.run(&["models", "list", "--json"]).ended_with(0).document();
    assert_eq!(listed, json!({"data": []}), "nothing came to this machine");
    let local = |arguments: &[&str]| {
        let mut command = bench.matryo(arguments);
        command.env("HF_ENDPOINT", hub.settings().endpoint).env_remove("HF_HUB_OFFLINE");
        super::Ran::from(command.output().expect("the program starts"))
    };
    let pulled = local(&["models", "pull", REPO, "--json"]).ended_with(0).document();
    assert_eq!(bench.run(&["models", "list", "--json"]).ended_with(0).document()["data"][0], pulled);
    let to = ["models", "pull", REPO, "--to", "here", "--url", &server.base];
    assert_eq!(local(&to).ended_with(0).stdout, "here\n", "a folder to make is one of this machine");
}
