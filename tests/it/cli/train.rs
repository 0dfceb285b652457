//! `matryo train`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{Bench, Ran};

const TRAIN: [&str; 14] = [
    "train",
    "--train",
    "train.jsonl",
    "--eval",
    "eval.jsonl",
    "--base-model",
    "model",
    "--out",
    "run",
    "--report",
    "reports/report.json",
    "--matryoshka-dims",
    "32,16",
    "--per_device_train_batch_size=4",
];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&TRAIN, more].concat()
}

#[test]
fn a_run_writes_checkpoints_and_a_report_whose_numbers_eval_finds_again() {
    let bench = Bench::new();
    let more =
        ["--epochs", "3", "--gradient-accumulation-steps", "1", "--learning-rate", "1e-3", "--logging-steps", "1"];
    let ran = bench.run(&with(&more)).ended_with(0).saying("best checkpoint: run/epoch-");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with('|')).count(), 2 + 4, "{}", ran.stdout);

    let report = bench.json("reports/report.json");
    assert_eq!((&report["model"], &report["peak_gpu_memory_bytes"]), (&"model".into(), &serde_json::Value::Null));
    assert_eq!((&report["train_rows"], &report["eval_rows"]), (&8.into(), &4.into()));
    assert_eq!(report["config"]["learning_rate"], 1e-3);
    assert_eq!(report["config"]["metric_for_best_model"], "dim_32_cosine_ndcg@10");
    let epochs: Vec<_> = report["metrics"].as_array().unwrap().iter().map(|row| row["epoch"].clone()).collect();
    assert_eq!(epochs, [0, 1, 2, 3]);
    assert!(report["metrics"][0]["dim_16_cosine_ndcg@10"].is_f64());
    let losses = report["losses"].as_array().unwrap();
    assert_eq!(losses.len(), 6, "two steps an epoch are logged");
    for phase in ["tokenize", "baseline", "train", "evaluate", "save"] {
        assert!(report["timings"][phase].as_f64().unwrap() >= 0.0, "{phase}");
    }
    let profile = &report["profile"];
    for phase in ["tokenize", "pack", "forward", "loss", "backward", "optimizer", "evaluate", "save"] {
        assert!(profile["seconds"][phase].as_f64().unwrap() > 0.0, "{phase}");
    }
    let of_train = ["pack", "forward", "loss", "backward", "optimizer"].map(|phase| profile["seconds"][phase].as_f64());
    let of_train: f64 = of_train.into_iter().flatten().sum();
    assert!(of_train <= report["timings"]["train"].as_f64().unwrap(), "{profile}");
    let tokens = profile["tokens"].as_u64().unwrap();
    // Eight pairs, three times, of two special tokens and a word at the least.
    assert!(tokens >= 3 * 8 * 2 * 3, "{tokens}");
    let rate = profile["tokens_per_second"].as_f64().unwrap();
    assert!((rate * of_train / tokens as f64 - 1.0).abs() < 1e-9, "{profile}");
    assert!(profile["gflops"].as_f64().unwrap() > 0.0);
    assert!(report["wall_seconds"].as_f64().unwrap() > 0.0);
    #[cfg(target_os = "linux")]
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 1 << 20);

    let best = report["best_epoch"].as_u64().unwrap() as usize;
    assert_eq!(report["best_checkpoint"], format!("run/epoch-{best}"));
    let eval =
        ["eval", "--model", "run", "--train", "train.jsonl", "--eval", "eval.jsonl", "--dims", "32,16", "--json"];
    // In the numbers that the run computed in; eval's own default is float32.
    let measured = &bench.run(&[&eval[..], &["--precision", "auto"]].concat()).ended_with(0).lines()[0];
    for (key, value) in measured["metrics"].as_object().unwrap() {
        assert_eq!(&report["metrics"][best][key], value, "{key}");
    }
}

#[test]
fn without_an_evaluation_file_the_training_file_is_split_by_the_seed() {
    let bench = Bench::new();
    let run = |out: &str, seed: &str| {
        let report = format!("{out}.json");
        let arguments =
            ["train", "--train", "train.jsonl", "--test_size", "0.25", "--base-model", "model", "--epochs=1"];
        let more = ["--out", out, "--report", &report, "--seed", seed, "--dims=32"];
        bench.run(&[&arguments[..], &more].concat()).ended_with(0);
        bench.json(&report)
    };
    let (first, other) = (run("a", "1"), run("b", "2"));
    assert_eq!((&first["train_rows"], &first["eval_rows"]), (&6.into(), &2.into()));
    assert_ne!(first["metrics"][0], other["metrics"][0], "another seed evaluates other rows");
}

#[test]
fn wrong_arguments_are_told_at_once_by_their_flags() {
    let bench = Bench::new();
    let more = ["--epochs", "0", "--learning-rate", "7", "--metric-for-best-model", "loss"];
    let ran = bench.run(&with(&more)).ended_with(2).saying("--epochs: 0").saying("--learning-rate: 7");
    ran.saying("--metric-for-best-model: `loss` is not a metric");
    bench.run(&with(&["--epochs", "many"])).ended_with(2).saying("--epochs");
    bench.run(&["train", "--train", "nothing.jsonl"]).ended_with(2).saying("there is no such file");
    assert!(!bench.path("run/epoch-1").exists());
}

#[test]
fn bad_rows_are_told_by_line() {
    let bench = Bench::new();
    bench.write("train.jsonl", "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": 5, \"positive\": \"b\"}\n");
    bench.run(&with(&[])).ended_with(1).saying("train.jsonl").saying("line 2: anchor");
}

#[test]
fn a_folder_that_holds_another_run_is_refused() {
    let bench = Bench::new();
    bench.run(&with(&["--epochs", "1"])).ended_with(0);
    let ran = bench.run(&with(&["--epochs", "1", "--learning-rate", "1e-3"])).ended_with(1);
    ran.saying("learning_rate").saying("--out");
}

#[test]
fn a_model_that_is_not_here_says_how_to_get_it() {
    let bench = Bench::new();
    let mut arguments = with(&[]);
    arguments[6] = "org/name";
    bench.run(&arguments).ended_with(1).saying("HF_HUB_OFFLINE");
    arguments[6] = "./nothing";
    bench.run(&arguments).ended_with(1).saying("there is no folder ./nothing");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_run_that_the_same_command_goes_on_with() {
    let bench = Bench::new();
    // More epochs than a test has time for.
    let arguments = with(&["--epochs", "900", "--gradient-accumulation-steps", "1"]);
    let mut child = bench.matryo(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("checkpoint of epoch 2")), "no second checkpoint");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("the same command again")), "{rest:?}");

    let mut child = bench.matryo(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first =
        lines.find_map(|line| line.unwrap().strip_prefix("checkpoint of epoch ")?.split(':').next()?.parse().ok());
    let first: u32 = first.expect("another checkpoint is written");
    assert!(first > 2, "it began anew");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_has_ended_gives_its_report_again() {
    let bench = Bench::new();
    let first: Ran = bench.run(&with(&["--epochs", "1"])).ended_with(0);
    std::fs::remove_file(bench.path("reports/report.json")).unwrap();
    let second = bench.run(&with(&["--epochs", "1"])).ended_with(0);
    assert_eq!(first.stdout, second.stdout);
    let third = bench.run(&with(&["--epochs", "1", "--json"])).ended_with(0).lines();
    assert_eq!(third, [bench.json("reports/report.json")], "the report is the one document");
    assert_eq!(bench.json("reports/report.json")["metrics"].as_array().unwrap().len(), 2);
}
