//! Cancel, resume, delete, shut down.

use matryo::domain::{JobId, JobStatus};
use matryo::store::StoreError;
use matryo::worker::WorkerError;

use super::{Fixture, types};
use crate::helpers::fake_trainer::{FakeTrainer, STEPS, run_epochs};

#[tokio::test]
async fn a_queued_job_is_cancelled_without_ever_running() {
    let (trainer, gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let running = fixture.submit().await.id;
    let queued = fixture.submit().await.id;
    fixture.told(running, "step").await;
    assert_eq!(fixture.worker.cancel(queued).await.expect("it is cancelled").status, JobStatus::Cancelled);
    gate.open();
    fixture.end(running).await;
    assert_eq!(types(&fixture.follow(queued).await), ["queued", "cancelled"]);
}

#[tokio::test]
async fn a_running_job_stops_and_keeps_its_checkpoints() {
    let fixture = Fixture::start(FakeTrainer::new(|request, sink| {
        run_epochs(request, sink, |step, sink| {
            // In the second epoch, waits to be stopped.
            while step == STEPS + 1 && !sink.should_stop() {
                std::thread::yield_now();
            }
            Ok(())
        })
    }))
    .await;
    let id = fixture.submit().await.id;
    fixture.told(id, "checkpoint").await;
    let asked = fixture.worker.cancel(id).await.expect("it is asked");
    assert_eq!((asked.status, asked.cancel_requested), (JobStatus::Running, true));
    let job = fixture.end(id).await;
    assert_eq!((job.status, job.cancel_requested), (JobStatus::Cancelled, false));
    let kept = fixture.store.list_checkpoints(id).await.expect("a list");
    assert_eq!(kept.iter().map(|checkpoint| checkpoint.epoch).collect::<Vec<_>>(), [1]);
    assert!(fixture.data_dir.checkpoint(&kept[0]).join("model.safetensors").is_file());
    assert!(matches!(fixture.worker.cancel(id).await, Err(StoreError::Conflict { .. })));
}

#[tokio::test]
async fn a_cancelled_job_goes_on_from_its_last_checkpoint_when_resumed() {
    let mut attempts = 0;
    let fixture = Fixture::start(FakeTrainer::new(move |request, sink| {
        attempts += 1;
        let stops = attempts == 1;
        run_epochs(request, sink, |step, sink| {
            while stops && step == STEPS + 1 && !sink.should_stop() {
                std::thread::yield_now();
            }
            Ok(())
        })
    }))
    .await;
    let id = fixture.submit().await.id;
    fixture.told(id, "checkpoint").await;
    fixture.worker.cancel(id).await.expect("it is asked");
    fixture.end(id).await;
    assert_eq!(fixture.worker.resume(id).await.expect("it is queued").status, JobStatus::Queued);
    assert_eq!(fixture.end(id).await.status, JobStatus::Succeeded);
    // Replayed, it reads as if the lost step had never been told.
    let expected = [
        "queued",
        "running",
        "phase",
        "phase",
        "evaluation",
        "phase",
        "step",
        "step",
        "evaluation",
        "checkpoint",
        "cancelled",
        "queued",
        "running",
        "phase",
        "phase",
        "step",
        "step",
        "evaluation",
        "checkpoint",
        "succeeded",
    ];
    assert_eq!(types(&fixture.follow(id).await), expected);
    let steps = fixture.store.training_losses(id).await.expect("they are read");
    assert_eq!(steps.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_deleted_job_takes_its_files_along() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let id = fixture.submit().await.id;
    fixture.end(id).await;
    assert!(fixture.data_dir.job(id).is_dir());
    fixture.worker.delete(id).await.expect("it is deleted");
    assert!(!fixture.data_dir.job(id).exists());
    for unknown in [id, JobId::generate()] {
        let deleted = fixture.worker.delete(unknown).await;
        assert!(matches!(deleted, Err(WorkerError::Store(StoreError::NotFound { .. }))));
    }
}

#[tokio::test]
async fn a_job_that_has_not_ended_is_not_deleted() {
    let (trainer, gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    fixture.told(id, "step").await;
    let deleted = fixture.worker.delete(id).await;
    assert!(matches!(deleted, Err(WorkerError::Store(StoreError::Conflict { .. }))));
    gate.open();
    assert_eq!(fixture.end(id).await.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_shutdown_puts_the_running_job_back_and_the_next_start_ends_it() {
    let (trainer, _gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    fixture.told(id, "step").await;
    fixture.worker.shutdown().await.expect("it ends");
    let job = fixture.job(id).await;
    assert_eq!((job.status, job.finished_at), (JobStatus::Queued, None));
    // Asked again, it has ended already.
    fixture.worker.shutdown().await.expect("it has ended");
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    assert_eq!(fixture.end(id).await.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_cancel_outweighs_a_shutdown() {
    let (trainer, _gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    fixture.told(id, "step").await;
    fixture.worker.cancel(id).await.expect("it is asked");
    fixture.worker.shutdown().await.expect("it ends");
    assert_eq!(fixture.job(id).await.status, JobStatus::Cancelled);
}
