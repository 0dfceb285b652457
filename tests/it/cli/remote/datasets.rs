//! `matryo datasets`.

use serde_json::json;

use super::Remote;

#[test]
fn a_dataset_is_uploaded_looked_into_and_deleted() {
    let remote = Remote::start();
    remote.run(&["datasets", "list"]).ended_with(0).saying("there are no datasets");
    let upload = ["datasets", "upload", "train.jsonl", "--test-size", "0.25", "--seed", "7", "--name", "pairs"];
    let ran = remote.run(&upload).ended_with(0).saying("6 pairs to train on, 2 to evaluate on").saying("train.jsonl: ");
    let id = ran.stdout.trim().to_owned();
    assert_eq!(id.len(), 36, "the id alone is on standard output: {ran:?}");

    let listed = remote.run(&["datasets", "list"]).ended_with(0);
    assert!(listed.row(&id).contains("pairs"), "{listed:?}");
    assert_eq!(remote.json(&["datasets", "list", "--all"])["data"][0]["id"], json!(id));
    let shown = remote.run(&["datasets", "show", "pairs"]).ended_with(0);
    for fact in ["a share of 0.25, drawn by seed 7", "question from `anchor`, passage from `positive`"] {
        assert!(shown.stdout.contains(fact), "{fact}: {shown:?}");
    }
    assert_eq!(remote.json(&["datasets", "show", &id])["eval_rows"], 2);

    let model = remote.bench.path("model").canonicalize().expect("it is there");
    remote.run(&["models", "register", model.to_str().expect("it is UTF-8")]).ended_with(0);
    let shown = remote.run(&["datasets", "show", "pairs", "--model", "model"]).ended_with(0);
    assert!(shown.row("passages  ").contains("tokens on average"), "{shown:?}");

    let rows = remote.run(&["datasets", "rows", "pairs", "--limit", "2"]).ended_with(0).saying("--offset 2 goes on");
    assert_eq!(rows.stdout.lines().count(), 1 + 2, "{rows:?}");
    let rows = remote.json(&["datasets", "rows", &id, "--split", "eval", "--offset", "1"]);
    assert_eq!((&rows["offset"], &rows["total"]), (&json!(1), &json!(2)));
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(1));

    remote.run(&["datasets", "delete", "pairs"]).ended_with(2).saying("needs --yes");
    remote.run(&["datasets", "delete", "pairs", "--yes"]).ended_with(0).saying("is deleted");
    remote.run(&["datasets", "show", &id]).ended_with(3);
}

#[test]
fn columns_are_named_and_bad_files_told_by_flag_and_line() {
    let remote = Remote::start();
    remote.bench.write("faq.data", "ask\treply\nwhat is it?\tit is that\nand this?\tit is this\n");
    let upload = ["datasets", "upload", "faq.data", "--test-size", "0", "--format", "tsv"];
    let columns = ["--anchor-column", "ask", "--positive-column", "reply"];
    let dataset = remote.json(&[&upload[..], &columns].concat());
    assert_eq!(dataset["mapping"], json!({"anchor": "ask", "positive": "reply", "id": null}));
    assert_eq!(dataset["name"], "faq.data");
    let wrong = ["--anchor-column", "question", "--positive-column", "reply"];
    remote.run(&[&upload[..], &wrong].concat()).ended_with(2).saying("--anchor-column: ");
    remote.run(&["datasets", "upload", "faq.data", "--test-size", "2"]).ended_with(2).saying("--test-size: ");

    remote.bench.write("bad.jsonl", "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": 5, \"positive\": \"b\"}\n");
    remote.run(&["datasets", "upload", "bad.jsonl"]).ended_with(1).saying("\n  line 2: anchor: ");
    remote.run(&["datasets", "upload", "nothing.jsonl"]).ended_with(2).saying("there is no such file");
    let both = ["datasets", "upload", "train.jsonl", "--eval-file", "eval.jsonl", "--test-size", "0.5"];
    remote.run(&both).ended_with(2);
}

#[test]
fn what_texts_hold_does_not_steer_the_terminal() {
    let remote = Remote::start();
    remote.bench.write("evil.jsonl", "{\"anchor\": \"a\\u001b[2Jb\\nc\", \"positive\": \"d\\u0007\"}\n");
    let id =
        remote.run(&["datasets", "upload", "evil.jsonl", "--test-size", "0"]).ended_with(0).stdout.trim().to_owned();
    let rows = remote.run(&["datasets", "rows", &id]).ended_with(0);
    assert!(!rows.stdout.contains('\u{1b}') && !rows.stdout.contains('\u{7}'), "{rows:?}");
    assert_eq!(rows.stdout.lines().count(), 2, "{rows:?}");
}
