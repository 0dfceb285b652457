//! A job that fails is data: the worker lives on, and the job says what happened.

use std::fs;

use matryo::domain::{JobError, JobStatus, TrainEvent};
use matryo::store::StoreOptions;
use matryo::training::TrainError;

use super::Fixture;
use crate::helpers::fake_trainer::{FakeTrainer, run_epochs};
use crate::helpers::rows;

/// Fails the first job by `script`, and ends the others well.
fn fails_once(
    mut script: impl FnMut(&mut dyn matryo::training::TrainSink) -> Result<(), TrainError> + Send + 'static,
) -> FakeTrainer {
    let mut first = true;
    FakeTrainer::new(move |request, sink| {
        let fails = std::mem::take(&mut first);
        run_epochs(request, sink, |step, sink| if fails && step == 1 { script(sink) } else { Ok(()) })
    })
}

/// The error of a job, after which the worker still ends another one well.
async fn error_of_first(fixture: &Fixture) -> JobError {
    let id = fixture.submit().await.id;
    let job = fixture.end(id).await;
    assert_eq!(job.status, JobStatus::Failed);
    let next = fixture.submit().await.id;
    assert_eq!(fixture.end(next).await.status, JobStatus::Succeeded);
    job.error.expect("a failed job says why")
}

#[tokio::test]
async fn an_error_of_the_trainer_is_the_jobs() {
    let fixture = Fixture::start(fails_once(|_| Err(TrainError::NonFiniteLoss { step: 3 }))).await;
    let error = error_of_first(&fixture).await;
    assert_eq!(error.code, "non_finite_loss");
    assert!(error.message.contains("step 3"), "{}", error.message);
}

#[tokio::test]
async fn a_panic_of_the_trainer_is_a_failed_job() {
    let fixture = Fixture::start(fails_once(|_| panic!("index out of bounds"))).await;
    let error = error_of_first(&fixture).await;
    assert_eq!(error.code, "panic");
    assert!(error.message.contains("index out of bounds"), "{}", error.message);
}

#[tokio::test]
async fn a_full_disk_under_a_checkpoint_is_told_as_such() {
    let fixture = Fixture::start(fails_once(|_| {
        let message = std::io::Error::from_raw_os_error(libc::ENOSPC).to_string();
        Err(TrainError::Checkpoint { path: "epoch-1".into(), message })
    }))
    .await;
    assert_eq!(error_of_first(&fixture).await.code, "disk_full");
}

#[tokio::test]
async fn rows_that_are_gone_fail_the_job() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    fs::remove_dir_all(fixture.data_dir.dataset(fixture.dataset.id)).expect("it is deleted");
    let id = fixture.submit().await.id;
    let job = fixture.end(id).await;
    let error = job.error.expect("it failed");
    assert_eq!(error.code, "invalid_data");
    assert!(error.message.contains("train.jsonl"), "{}", error.message);

    rows::write_rows(&fixture.data_dir, &fixture.dataset);
    fixture.worker.resume(id).await.expect("it is queued again");
    let job = fixture.end(id).await;
    assert_eq!((job.status, job.error), (JobStatus::Succeeded, None));
}

#[tokio::test]
async fn a_full_database_stops_the_run_and_says_what_to_do() {
    let mut first = true;
    let flood = FakeTrainer::new(move |request, sink| {
        let floods = std::mem::take(&mut first);
        run_epochs(request, sink, |_, sink| {
            for number in 0..100_000 {
                if !floods || sink.should_stop() {
                    break;
                }
                let message = format!("{number}: {}", "no space for this ".repeat(20));
                // Of a kind that is not kept with the job, so that the job's own row does not grow.
                let metrics = matryo::domain::EvaluationMetrics { epoch: 1, step: 1, values: [(message, 0.5)].into() };
                sink.on_event(TrainEvent::Evaluation { metrics });
            }
            if sink.should_stop() { Err(TrainError::Cancelled) } else { Ok(()) }
        })
    });
    let fixture =
        Fixture::start_with(flood, &StoreOptions { max_size_bytes: Some(512 << 10), ..StoreOptions::default() }).await;
    let id = fixture.submit().await.id;
    let job = fixture.end(id).await;
    let error = job.error.expect("it failed");
    assert_eq!((job.status, error.code.as_str()), (JobStatus::Failed, "disk_full"));
    assert!(error.message.contains("free some space and resume"), "{}", error.message);
}
