//! A run's records, as other tools read them: beside the checkpoints, whole at every moment, and the same after a crash.

use std::collections::BTreeMap;

use matryo::domain::{EvaluationMetrics, RunFolder, TrainEvent};
use matryo::evaluation::Rankings;
use matryo::evaluation::information_retrieval::RetrievalTask;
use matryo::records::RecordingSink;
use matryo::training::{RunStart, StepLog, TrainSink};
use serde_json::json;

use crate::flows::{register, submit, upload};
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::rows;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// Keeps what it hears.
#[derive(Default)]
struct Listener(Vec<TrainEvent>);

impl TrainSink for Listener {
    fn on_event(&mut self, event: TrainEvent) {
        self.0.push(event);
    }

    fn should_stop(&self) -> bool {
        false
    }
}

fn step(step: u64) -> TrainEvent {
    TrainEvent::Step {
        step,
        total_steps: 4,
        epoch: 0.5,
        loss: 1.0 / step as f64,
        grad_norm: 1.0,
        learning_rate: 2e-5,
        pairs_per_second: 1.0,
        eta_seconds: 1.0,
    }
}

fn evaluation(epoch: u32) -> EvaluationMetrics {
    rows::evaluation(epoch, u64::from(epoch) * 2, 0.5)
}

fn start<'a>(log: &'a [StepLog], evaluations: &'a [EvaluationMetrics]) -> RunStart<'a> {
    let epoch = evaluations.last().map_or(0, |last| last.epoch);
    RunStart { epoch, step: u64::from(epoch) * 2, log, evaluations, dims: &[32] }
}

fn task(queries: usize) -> RetrievalTask {
    let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    RetrievalTask {
        queries: names(queries),
        corpus: names(1),
        relevant: vec![vec![0]; queries],
        query_ids: names(queries),
        document_ids: names(1),
        capped_queries: 0,
    }
}

#[test]
fn a_run_that_goes_on_has_the_table_of_one_that_was_never_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunFolder::new(folder.path().join("run"));
    let table = || std::fs::read_to_string(run.metrics_csv()).expect("it is there");
    let mut listener = Listener::default();
    {
        let mut sink = RecordingSink::new(&mut listener, run.clone());
        sink.on_start(&start(&[], &[]));
        assert!(!run.metrics_csv().exists(), "there is nothing to tell yet");
        sink.on_event(TrainEvent::Evaluation { metrics: evaluation(0) });
        sink.on_event(step(1));
        sink.on_event(step(2));
        sink.on_event(TrainEvent::Evaluation { metrics: evaluation(1) });
        // Of an epoch that is never saved.
        sink.on_event(step(3));
        sink.on_event(step(4));
        sink.on_event(TrainEvent::Evaluation { metrics: evaluation(2) });
    }
    let whole = table();
    assert_eq!(whole.lines().count(), 4);

    let logged = |step| StepLog { step, epoch: 0.5, loss: 1.0 / step as f64, grad_norm: 1.0, learning_rate: 2e-5 };
    let mut sink = RecordingSink::new(&mut listener, run.clone());
    sink.on_start(&start(&[logged(1), logged(2)], &[evaluation(0), evaluation(1)]));
    assert_eq!(table().lines().count(), 3, "what comes again is taken back");
    sink.on_event(step(3));
    sink.on_event(step(4));
    sink.on_event(TrainEvent::Evaluation { metrics: evaluation(2) });
    assert_eq!(table(), whole);
    assert_eq!(std::fs::read_dir(run.tensorboard()).expect("it is there").count(), 2, "a file for each part");
    assert_eq!(listener.0.len(), 10, "everything is passed on");
}

#[test]
fn runs_of_removed_checkpoints_and_of_epochs_that_come_again_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = RunFolder::new(folder.path());
    let mut listener = Listener::default();
    let mut sink = RecordingSink::new(&mut listener, run.clone());
    sink.on_start(&start(&[], &[]));
    assert!(sink.on_task(&task(2)), "it wants to hear what is found");
    let rankings = Rankings { by_dim: vec![(32, vec![Vec::new(); 2])] };
    (0..4).for_each(|epoch| sink.on_rankings(epoch, &rankings));
    assert!(sink.on_removal(1));
    let left = |run: &RunFolder| (0..4).filter(|epoch| run.trec_run(*epoch, 32).exists()).collect::<Vec<_>>();
    assert_eq!(left(&run), [0, 2, 3]);
    sink.on_start(&start(&[], &[evaluation(0), evaluation(2)]));
    assert_eq!(left(&run), [0, 2]);
    assert!(run.qrels().exists());
}

#[test]
fn what_cannot_be_written_is_warned_of_once_and_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tensorboard"), "a file where a folder should be").expect("it is written");
    let mut listener = Listener::default();
    let mut sink = RecordingSink::new(&mut listener, RunFolder::new(folder.path()));
    sink.on_start(&start(&[], &[]));
    assert!(!sink.on_task(&task(50_001)), "too many lists");
    sink.on_event(step(1));
    sink.on_event(step(2));
    let warnings: Vec<&String> = listener
        .0
        .iter()
        .filter_map(|event| if let TrainEvent::Warning { message } = event { Some(message) } else { None })
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("50001 lists of documents"), "{warnings:?}");
    assert!(warnings[1].starts_with("TensorBoard's events cannot be written"), "{warnings:?}");
    assert_eq!(listener.0.len(), 4);
}

/// trec_eval's own reading: by score, and equal ones by the document's name backwards.
fn ndcg_at_10(qrels: &str, run: &str) -> f64 {
    let mut relevant: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in qrels.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        relevant.entry(columns[0]).or_default().push(columns[2]);
    }
    let mut found: BTreeMap<&str, Vec<(f32, &str)>> = BTreeMap::new();
    for line in run.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        found.entry(columns[0]).or_default().push((columns[4].parse().expect("a number"), columns[2]));
    }
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let of = |(query, answers): (&&str, &Vec<&str>)| {
        let mut hits = found[query].clone();
        hits.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(a.1)));
        let hits = hits.iter().take(10).enumerate().filter(|(_, (_, document))| answers.contains(document));
        hits.map(|(place, _)| gain(place)).sum::<f64>() / (0..answers.len().min(10)).map(gain).sum::<f64>()
    };
    relevant.iter().map(of).sum::<f64>() / relevant.len() as f64
}

#[tokio::test]
async fn a_job_s_records_are_downloaded_and_say_what_its_metrics_say() {
    let app = TestApp::start().await;
    register(&app, &TinyModel::default()).await;
    let dataset = upload(&app).await;
    let training = json!({"epochs": 3, "save_total_limit": 1, "matryoshka_dims": [32, 8], "logging_steps": 1});
    let id = submit(&app, &dataset, training).await;
    assert_eq!(app.ended(id).await["status"], "succeeded");
    let path = format!("/v1/jobs/{id}");

    let csv = std::fs::read_to_string(app.state.data_dir.run_folder(id).metrics_csv()).expect("it is there");
    let asked = crate::helpers::test_app::request(axum::http::Method::GET, &format!("{path}/metrics"));
    let asked = asked.header("accept", "text/csv").body(axum::body::Body::empty()).expect("it is a request");
    assert_eq!(app.send(asked).await.text(), csv);

    let archive = app.get(&format!("{path}/tensorboard")).await;
    assert_eq!((archive.status.as_u16(), archive.headers["content-type"].to_str().unwrap()), (200, "application/gzip"));
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive.body[..]));
    let names: Vec<String> =
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].starts_with(&format!("job-{id}-tensorboard/events.out.tfevents.")), "{names:?}");

    let qrels = app.get(&format!("{path}/trec/qrels")).await;
    assert_eq!(qrels.headers["content-type"], "text/plain");
    let metrics = app.get(&format!("{path}/metrics")).await.expect(200);
    let best = metrics["best_epoch"].as_u64().expect("there is one");
    for dim in [32, 8] {
        for (name, epoch) in [("baseline", 0), ("0", 0), ("best", best), (&format!("epoch-{best}"), best)] {
            let run = app.get(&format!("{path}/trec/run?checkpoint={name}&dim={dim}")).await;
            assert_eq!(run.status.as_u16(), 200, "{name} {dim}: {}", run.text());
            let expected = metrics["rows"][epoch as usize]["values"][format!("dim_{dim}_cosine_ndcg@10")].as_f64();
            let (found, expected) = (ndcg_at_10(qrels.text(), run.text()), expected.expect("a number"));
            assert!((found - expected).abs() < 1e-12, "{name} {dim}: {found}, not {expected}");
        }
    }
    // The first dimension and the best checkpoint where nothing is said.
    let run = app.get(&format!("{path}/trec/run")).await;
    assert_eq!(run.body, app.get(&format!("{path}/trec/run?checkpoint=best&dim=32")).await.body);
    app.get(&format!("{path}/trec/run?dim=7")).await.expect_error(422, "invalid");
    app.get(&format!("{path}/trec/run?checkpoint=worst")).await.expect_error(422, "invalid");
    // Of the epochs that ended and were not the best, no checkpoint is left, and no run.
    let gone = (1..=2).find(|epoch| *epoch != best).expect("one of the two");
    app.get(&format!("{path}/trec/run?checkpoint={gone}")).await.expect_error(404, "not_found");
    assert!(!app.state.data_dir.run_folder(id).trec_epoch(gone as u32).exists());
}

#[tokio::test]
async fn records_that_are_not_there_say_so() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let running = app.submit(&dataset).await;
    app.told(running, "step").await;
    let queued = app.submit(&dataset).await;
    let message = app.get(&format!("/v1/jobs/{queued}/tensorboard")).await.expect_error(404, "not_found");
    assert!(message.contains("no events yet; it is queued"), "{message}");
    let message = app.get(&format!("/v1/jobs/{running}/trec/qrels")).await.expect_error(404, "not_found");
    assert!(message.contains("no qrels yet; it is running"), "{message}");
    // Half-way, what is written can be had.
    assert_eq!(app.get(&format!("/v1/jobs/{running}/tensorboard?format=zip")).await.status.as_u16(), 200);
    gate.open();
    gate.open();
    app.ended(running).await;
    app.ended(queued).await;
    let message = app.get(&format!("/v1/jobs/{queued}/trec/run")).await.expect_error(404, "not_found");
    assert!(message.contains("the job wrote no run"), "{message}");
    for record in ["tensorboard", "trec/qrels", "trec/run"] {
        app.get(&format!("/v1/jobs/00000000-0000-7000-8000-000000000000/{record}"))
            .await
            .expect_error(404, "not_found");
    }
}
