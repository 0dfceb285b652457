//! `matryo eval`; that its numbers are the run's is tested with `train`.

use super::Bench;

#[test]
fn the_table_has_a_row_a_metric_and_a_column_a_dimension() {
    let bench = Bench::new();
    let ran = bench.run(&["eval", "--model", "model", "--eval", "eval.jsonl", "--dims", "32,16"]).ended_with(0);
    let lines: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["metric", "32", "16"]);
    assert_eq!(lines.len(), 1 + 15);
    assert!(lines.iter().any(|line| line[0] == "ndcg@10" && line.len() == 3), "{}", ran.stdout);
}

#[test]
fn identical_passages_are_told_of_and_can_be_one() {
    let bench = Bench::new();
    bench.write("same.csv", "id,question,answer\n1,the cat,an animal\n2,the dog,an animal\n3,the sun,a star\n");
    let eval = ["eval", "--model", "model", "--eval", "same.csv", "--json", "--dims=32"];
    let ran = bench.run(&eval).ended_with(0).saying("2 of 3 questions");
    assert_eq!(ran.lines()[0]["corpus"], 3);
    let ran = bench.run(&[&eval[..], &["--deduplicate-corpus"]].concat()).ended_with(0);
    assert_eq!(ran.lines()[0]["corpus"], 2);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn wrong_dimensions_and_columns_are_told() {
    let bench = Bench::new();
    let eval = |more: &[&str]| bench.run(&[&["eval", "--model", "model", "--eval", "eval.jsonl"], more].concat());
    eval(&["--dims", "64"]).ended_with(2).saying("--dims: 64");
    eval(&["--precision", "fp16"]).ended_with(2).saying("expected one of auto, float32, bf16");
    eval(&["--anchor-column", "frage"]).ended_with(1).saying("frage").saying("columns found");
}
