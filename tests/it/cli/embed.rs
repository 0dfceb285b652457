//! `matryo embed`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::Bench;
use crate::helpers::tiny_model::TinyModel;

const EMBED: [&str; 4] = ["embed", "--model", "model", "--json"];

fn embedding(line: &Value) -> Vec<f64> {
    let values = line["embedding"].as_array().expect("an embedding").iter();
    values.map(|value| value.as_f64().expect("a number")).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn each_line_gets_its_embedding_in_order_however_many_there_are() {
    let bench = Bench::new();
    // More than a batch, of lengths that are sorted within one.
    let texts: Vec<String> = (0..1200).map(|n| format!("text {n} {}", "of the company ".repeat(n % 7))).collect();
    let input: String = texts.iter().map(|text| format!("{}\n", json!({"text": text, "id": 1}))).collect();
    let all = bench.run_with_input(&EMBED, input.as_bytes()).ended_with(0).lines();
    assert_eq!(all.len(), texts.len());
    for index in [0, 511, 512, 1199] {
        let alone = bench.run_with_input(&EMBED, format!("{}\n", json!({"text": texts[index]})).as_bytes());
        let alone = embedding(&alone.ended_with(0).lines()[0]);
        assert_eq!(alone.len(), 32);
        assert!(cosine(&embedding(&all[index]), &alone) > 0.999_999, "line {index}");
        assert!((alone.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-5, "it is normalised");
    }
}

#[test]
fn plain_lines_are_texts_as_they_are() {
    let bench = Bench::new();
    let plain = bench.run_with_input(&["embed", "--model", "model"], b"the cat\r\n\n{the dog").ended_with(0);
    let plain: Vec<Value> = plain.lines();
    let json = b"{\"text\": \"the cat\"}\n{\"text\": \"\"}\n\n{\"text\": \"{the dog\"}\n";
    let json = bench.run_with_input(&EMBED, json).ended_with(0).lines();
    assert_eq!(plain.len(), 3);
    for (plain, json) in plain.iter().zip(&json) {
        let plain: Vec<f64> = serde_json::from_value(plain.clone()).expect("an array of numbers");
        assert!(cosine(&plain, &embedding(json)) > 0.999_999);
    }
}

#[test]
fn dimensions_and_prompts_are_heeded() {
    let bench = Bench::new();
    let prompts = [("query".to_owned(), "what is ".to_owned())].into();
    TinyModel { prompts, ..TinyModel::default() }.write(&bench.path("prompted"));
    let embed = |more: &[&str], text: &str| {
        bench.run_with_input(&[&["embed", "--model", "prompted", "--json"], more].concat(), text.as_bytes())
    };
    let prompted = embed(&["--prompt-name", "query"], "the sun").ended_with(0);
    let spelled = embed(&[], "what is the sun").ended_with(0);
    assert_eq!(prompted.stdout, spelled.stdout);
    let short = embedding(&embed(&["--dimensions", "8"], "the sun").ended_with(0).lines()[0]);
    let full = embedding(&embed(&[], "the sun").ended_with(0).lines()[0]);
    assert_eq!(short.len(), 8);
    assert!(cosine(&short, &full[..8]) > 0.999_999);
    embed(&["--dimensions", "33"], "x").ended_with(2).saying("from 1 to the model's dimension of 32");
    embed(&["--prompt-name", "passage"], "x").ended_with(2).saying("no prompt `passage`; it has query");
}

#[test]
fn a_bad_line_is_told_by_its_number_after_the_good_ones_are_answered() {
    let bench = Bench::new();
    for (bad, problem) in
        [("{\"text\": 5}", "expected a string"), ("{\"txt\": \"a\"}", "`text`"), ("the cat", "line 3")]
    {
        let input = format!("{{\"text\": \"a\"}}\n{{\"text\": \"b\"}}\n{bad}\n{{\"text\": \"c\"}}\n");
        let ran = bench.run_with_input(&EMBED, input.as_bytes()).ended_with(1).saying("line 3").saying(problem);
        assert_eq!(ran.lines().len(), 2);
    }
    bench.run_with_input(&EMBED, b"good\n\xff\xfe\n").ended_with(1).saying("line 2").saying("UTF-8");
    assert_eq!(bench.run_with_input(&EMBED, b"").ended_with(0).stdout, "");
}

#[test]
fn whoever_writes_a_line_gets_its_answer_before_writing_the_next() {
    let bench = Bench::new();
    let mut child = bench.matryo(&EMBED).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["the cat", "the dog"] {
        writeln!(stdin, "{text}").unwrap();
        assert!(answers.next().expect("an answer comes").unwrap().starts_with("{\"embedding\":["));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let bench = Bench::new();
    let mut command = bench.matryo(&EMBED);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // Ends when the program does, which no longer reads.
        while stdin.write_all(b"the cat and the dog\n").is_ok() {}
    });
    answers.read_line(&mut String::new()).unwrap();
    drop(answers);
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
