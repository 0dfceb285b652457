//! `matryo aliases`.

use serde_json::json;

use super::Remote;

#[test]
fn an_alias_is_moved_and_moved_back() {
    let remote = Remote::with_inputs();
    let folder = remote.bench.path("model").canonicalize().expect("it is there");
    remote.run(&["models", "register", folder.to_str().expect("it is UTF-8"), "--name", "other"]).ended_with(0);
    remote.run(&["aliases", "list"]).ended_with(0).saying("there are no aliases");
    remote.run(&["aliases", "set", "production", "tiny"]).ended_with(0).saying("production means tiny");
    let moved = remote.json(&["aliases", "set", "production", "other", "--by", "anna", "--if-model", "tiny"]);
    assert_eq!((&moved["model"], &moved["moved_by"]), (&json!("other"), &json!("anna")));
    remote.run(&["aliases", "set", "production", "tiny", "--if-model", "tiny"]).ended_with(1);
    remote.run(&["aliases", "set", "production", "nothing"]).ended_with(2).saying("--model: there is no model");

    let listed = remote.run(&["aliases", "list"]).ended_with(0);
    assert!(listed.row("production").contains("other") && listed.row("production").contains("anna"), "{listed:?}");
    assert_eq!(remote.json(&["aliases", "list"])["data"][0]["name"], "production");
    let shown = remote.run(&["aliases", "show", "production"]).ended_with(0);
    assert!(shown.row("other by anna").contains("moved to"), "{shown:?}");
    let models = remote.run(&["models", "list"]).ended_with(0);
    assert!(models.row("production").contains("alias of other"), "{models:?}");

    remote.run(&["aliases", "rollback", "production", "--by", "ben"]).ended_with(0).saying("production means tiny");
    let shown = remote.json(&["aliases", "show", "production"]);
    assert_eq!((&shown["history"][0]["action"], &shown["history"][0]["moved_by"]), (&json!("rollback"), &json!("ben")));
    remote.run(&["aliases", "delete", "production"]).ended_with(2).saying("--yes");
    remote.run(&["aliases", "delete", "production", "--yes"]).ended_with(0);
    for command in ["show", "rollback"] {
        remote.run(&["aliases", command, "production"]).ended_with(3);
    }
}
