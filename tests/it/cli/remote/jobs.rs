//! `matryo jobs`, on a real server with a tiny model.

use serde_json::json;

use super::Remote;

const CREATE: [&str; 14] = [
    "jobs",
    "create",
    "--dataset",
    "pairs",
    "--base-model",
    "tiny",
    "--batch-size",
    "4",
    "--gradient-accumulation-steps",
    "1",
    "--matryoshka-dims",
    "32,16",
    "--logging-steps",
    "1",
];

fn create(more: &[&'static str]) -> Vec<&'static str> {
    [&CREATE[..], more].concat()
}

#[test]
fn a_job_is_submitted_followed_looked_at_and_downloaded() {
    let remote = Remote::with_inputs();
    let more = ["--name", "first-try", "--epochs", "2", "--metadata", "team=search", "--follow"];
    let ran = remote.run(&create(&more)).ended_with(0);
    let id = ran.stdout.trim().to_owned();
    assert_eq!(id.len(), 36, "the id alone is on standard output: {ran:?}");
    for words in ["running", "before training: ndcg@10", "step 1/4: loss", "checkpoint of epoch 2", "succeeded"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains(&format!("matryo jobs download {id}")), "{}", ran.stderr);

    let listed = remote.run(&["jobs", "list", "--status", "succeeded"]).ended_with(0);
    for cell in [&id, "first-try", "succeeded", "4/4", "tiny"] {
        assert!(listed.row(&id).contains(cell), "{cell}: {listed:?}");
    }
    remote.run(&["jobs", "list", "--status", "failed"]).ended_with(0).saying("there are no jobs");
    assert_eq!(remote.json(&["jobs", "list"])["data"][0]["id"], json!(id));

    let shown = remote.run(&["jobs", "show", "first-try"]).ended_with(0);
    for fact in ["4/4 (100 %)", "dim_32_cosine_ndcg@10", "team=search", "peak memory"] {
        assert!(shown.stdout.contains(fact), "{fact}: {shown:?}");
    }
    let job = remote.json(&["jobs", "show", &id]);
    assert_eq!((&job["status"], &job["metadata"]["team"]), (&json!("succeeded"), &json!("search")));
    assert_eq!(job["training"]["matryoshka_dims"], json!([32, 16]));

    let metrics = remote.run(&["jobs", "metrics", "first-try"]).ended_with(0);
    assert!(metrics.row("EPOCH").contains("ndcg@10 AT 32  ndcg@10 AT 16  BEST"), "{metrics:?}");
    assert_eq!(metrics.stdout.lines().count(), 1 + 3, "a head, and epochs 0 to 2: {metrics:?}");
    let other = remote.run(&["jobs", "metrics", &id, "--metric", "mrr@10"]).ended_with(0);
    assert!(other.row("EPOCH").contains("mrr@10 AT 16"), "{other:?}");
    let csv = remote.run(&["jobs", "metrics", &id, "--format", "csv"]).ended_with(0);
    assert!(csv.stdout.starts_with("Epoch,Training Loss,") && csv.stdout.lines().count() == 4, "{csv:?}");
    let markdown = remote.run(&["jobs", "metrics", &id, "--format", "markdown"]).ended_with(0);
    assert!(markdown.stdout.starts_with("| Epoch |"), "{markdown:?}");
    assert_eq!(remote.json(&["jobs", "metrics", &id])["rows"][2]["epoch"], 2);
    remote.run(&["jobs", "metrics", &id, "--metric", "loss"]).ended_with(2).saying("ndcg@10");

    let checkpoints = remote.run(&["jobs", "checkpoints", &id]).ended_with(0);
    assert!(checkpoints.row("epoch-1").contains(&format!("job:{id}@epoch-1")), "{checkpoints:?}");
    assert_eq!(checkpoints.stdout.matches("best").count(), 1, "{checkpoints:?}");
    assert_eq!(remote.json(&["jobs", "checkpoints", &id])["data"][1]["epoch"], 2);

    let downloaded = remote.run(&["jobs", "download", "first-try", "--to", "tuned"]).ended_with(0);
    assert_eq!(downloaded.stdout, "tuned\n");
    assert!(!remote.bench.path("tuned/trainer_state.json").exists(), "it is for the trainer alone");
    let embed = ["embed", "--model", "tuned", "--json"];
    let embedded = remote.bench.run_with_input(&embed, b"the cat").ended_with(0).lines();
    assert_eq!(embedded[0]["embedding"].as_array().map(Vec::len), Some(32));
    remote.run(&["jobs", "download", "first-try", "--to", "tuned"]).ended_with(1).saying("give another name");
    let names: Vec<_> =
        std::fs::read_dir(remote.bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{names:?}");

    remote.run(&["jobs", "delete", "first-try"]).ended_with(2).saying("--yes");
    assert_eq!(remote.json(&["jobs", "delete", &id, "--yes"]), json!({"deleted": id}));
    remote.run(&["jobs", "show", &id]).ended_with(3).saying("no job");
    remote.run(&["jobs", "show", "first-try"]).ended_with(3).saying("matryo jobs list");
}

#[test]
fn a_download_goes_on_where_it_stopped_and_is_checked() {
    let remote = Remote::with_inputs();
    let id = remote.run(&create(&["--epochs", "1", "--follow"])).ended_with(0).stdout.trim().to_owned();
    let sha256 = remote.json(&["jobs", "checkpoints", &id])["data"][0]["sha256"].as_str().expect("a hash").to_owned();
    let archived = remote.json(&["jobs", "download", &id, "epoch-1", "--archive", "a.tar.gz", "--include-state"]);
    assert_eq!((&archived["path"], &archived["sha256"]), (&json!("a.tar.gz"), &json!(sha256)));
    let list =
        std::process::Command::new("tar").args(["-tzf"]).arg(remote.bench.path("a.tar.gz")).output().expect("tar");
    assert!(String::from_utf8_lossy(&list.stdout).contains("epoch-1/optimizer.safetensors"), "{list:?}");
    remote.run(&["jobs", "download", &id, "--archive", "a.zip"]).ended_with(0);
    assert!(std::fs::read(remote.bench.path("a.zip")).unwrap().starts_with(b"PK"));

    // What an earlier try left: a beginning is completed, and what is no beginning does not pass.
    remote.run(&["jobs", "download", &id, "--to", "whole"]).ended_with(0);
    let weights = std::fs::read(remote.bench.path("whole/model.safetensors")).unwrap();
    let part = |target: &str| remote.bench.path(&format!("{target}.{}.part", &sha256[..12]));
    std::fs::create_dir(part("resumed")).unwrap();
    std::fs::write(part("resumed").join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    remote.run(&["jobs", "download", &id, "--to", "resumed"]).ended_with(0);
    assert_eq!(std::fs::read(remote.bench.path("resumed/model.safetensors")).unwrap(), weights);

    std::fs::create_dir(part("spoilt")).unwrap();
    std::fs::write(part("spoilt").join("model.safetensors"), vec![7; weights.len() / 2]).unwrap();
    remote.run(&["jobs", "download", &id, "--to", "spoilt"]).ended_with(1).saying("SHA-256");
    assert!(!remote.bench.path("spoilt").exists() && !part("spoilt").exists());
    remote.run(&["jobs", "download", &id, "--to", "spoilt"]).ended_with(0);

    remote.run(&["jobs", "download", &id, "epoch-7", "--to", "x"]).ended_with(3);
    remote.run(&["jobs", "download", &id, "last"]).ended_with(2).saying("epoch-3");
    remote.run(&["jobs", "download", &id, "--archive", "x.rar"]).ended_with(2).saying(".tar.gz");
}

#[test]
fn a_job_is_paused_resumed_and_cancelled() {
    let remote = Remote::with_inputs();
    // More epochs than a test has time for, and a port that nobody listens on.
    let told = ["--epochs", "900", "--webhook-url", "https://hooks.example:9/"];
    let job = remote.json(&create(&told));
    let id = job["id"].as_str().expect("it has an id").to_owned();
    assert_eq!(job["webhook_url"], "https://hooks.example:9/");
    let paused = remote.run(&["jobs", "pause", &id, "--wait"]).ended_with(0);
    assert!(paused.stdout.is_empty() && paused.stderr.contains("is paused"), "{paused:?}");
    assert_eq!(remote.json(&["jobs", "resume", &id])["status"], "queued");
    assert_eq!(remote.json(&["jobs", "cancel", &id, "--wait"])["status"], "cancelled");
    let log = remote.run(&["logs", &id]).ended_with(0);
    for words in ["queued", "matryo jobs resume", "cancelled"] {
        assert!(log.stdout.contains(words), "{words}: {log:?}");
    }
    remote.run(&["logs", "-f", &id]).ended_with(5).saying("the job was cancelled");
    remote.run(&["jobs", "pause", &id]).ended_with(1);
    remote.run(&["jobs", "delete", &id, "--yes"]).ended_with(0).saying("is deleted");
}

#[test]
fn lists_come_in_pages() {
    let remote = Remote::with_inputs();
    let ids: Vec<String> =
        (0..5).map(|_| remote.run(&create(&["--epochs", "900"])).ended_with(0).stdout.trim().to_owned()).collect();
    let page = remote.json(&["jobs", "list", "--limit", "2"]);
    let of = |page: &serde_json::Value| -> Vec<String> {
        page["data"].as_array().expect("a list").iter().map(|job| job["id"].as_str().expect("an id").into()).collect()
    };
    assert_eq!(of(&page), [&*ids[4], &ids[3]]);
    let cursor = page["next_cursor"].as_str().expect("there are more");
    assert_eq!(of(&remote.json(&["jobs", "list", "--limit", "2", "--cursor", cursor])), [&*ids[2], &ids[1]]);
    remote.run(&["jobs", "list", "--limit", "2"]).ended_with(0).saying("--cursor");
    let all = remote.json(&["jobs", "list", "--all"]);
    assert_eq!((of(&all).len(), &all["next_cursor"]), (5, &json!(null)));
    remote.run(&["jobs", "list", "--cursor", "nonsense"]).ended_with(2).saying("--cursor");
}

#[test]
fn what_is_wrong_with_a_job_is_told_by_its_flags() {
    let remote = Remote::with_inputs();
    let ran = remote.run(&create(&["--epochs", "0", "--learning-rate", "7", "--name", ""])).ended_with(2);
    assert!(ran.stdout.is_empty(), "{ran:?}");
    ran.saying("--epochs: 0").saying("--learning-rate: 7").saying("--name: ");
    let unknown = ["jobs", "create", "--dataset", "pairs", "--base-model", "nothing"];
    remote.run(&unknown).ended_with(2).saying("--base-model: there is no base model `nothing`");
    remote.run(&["jobs", "create", "--dataset", "nothing"]).ended_with(3).saying("matryo datasets list");
    remote.run(&create(&["--webhook-url", "http://10.0.0.1/"])).ended_with(2).saying("--webhook-url: ");
    let short = ["--webhook-url", "https://hooks.example/", "--webhook-secret", "whsec_short"];
    remote.run(&create(&short)).ended_with(2).saying("--webhook-secret: ");
    remote.run(&create(&["--webhook-secret", "whsec_short"])).ended_with(2).saying("--webhook-url");
    remote.run(&["datasets", "upload", "eval.jsonl", "--name", "pairs"]).ended_with(0);
    remote.run(&create(&[])).ended_with(1).saying("2 datasets are called `pairs`; give the id of one");
}
