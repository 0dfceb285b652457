//! After a crash.

use matryo::domain::{EventRecord, JobEvent, JobStatus, TrainEvent};
use matryo::store::MAX_CRASHES;

use super::Fixture;
use crate::helpers::rows;

fn step(step: u64) -> TrainEvent {
    TrainEvent::Step {
        step,
        total_steps: 9,
        epoch: 0.5,
        loss: 1.0,
        grad_norm: 1.0,
        learning_rate: 2e-5,
        pairs_per_second: 100.0,
        eta_seconds: 1.0,
    }
}

fn checkpoint(epoch: u32, step: u64) -> TrainEvent {
    TrainEvent::Checkpoint { epoch, step, size_bytes: 7, sha256: "cd".repeat(32), metric: 0.5, is_best: true }
}

fn evaluation(epoch: u32, step: u64) -> TrainEvent {
    TrainEvent::Evaluation { metrics: rows::evaluation(epoch, step, 0.5) }
}

fn types(records: &[EventRecord]) -> Vec<&str> {
    records.iter().map(|record| record.event.type_name()).collect()
}

#[tokio::test]
async fn a_job_that_was_running_goes_back_to_its_place() {
    let fixture = Fixture::new().await;
    let crashed = fixture.run().await.id;
    let queued = fixture.queue().await.id;
    let changes = fixture.store.requeue_orphaned().await.expect("they are put back");
    assert_eq!(
        changes.iter().map(|change| (change.job.id, change.job.status)).collect::<Vec<_>>(),
        [(crashed, JobStatus::Queued)]
    );
    assert!(changes[0].event.is_some());
    for id in [crashed, queued] {
        assert_eq!(fixture.store.claim_next().await.expect("it is claimed").expect("one waits").job.id, id);
    }
}

#[tokio::test]
async fn a_job_that_was_to_be_cancelled_is_not_run_again() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.request_cancel(id).await.expect("it is asked");
    let changes = fixture.store.requeue_orphaned().await.expect("it is ended");
    assert_eq!(changes[0].job.status, JobStatus::Cancelled);
    assert_eq!(fixture.store.claim_next().await.expect("it is looked for"), None);
}

#[tokio::test]
async fn a_job_that_takes_the_server_down_each_time_fails() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    for _ in 1..MAX_CRASHES {
        let changes = fixture.store.requeue_orphaned().await.expect("it is put back");
        assert_eq!(changes[0].job.status, JobStatus::Queued);
        fixture.store.claim_next().await.expect("it is claimed");
    }
    let changes = fixture.store.requeue_orphaned().await.expect("it is ended");
    let error = changes[0].job.error.as_ref().expect("it failed");
    assert_eq!((changes[0].job.status, error.code.as_str()), (JobStatus::Failed, "crashed"));
    assert!(error.message.contains("per_device_train_batch_size"), "{}", error.message);

    // Its owner may try again, as often.
    fixture.store.resume(id).await.expect("it is queued again");
    fixture.store.claim_next().await.expect("it is claimed");
    assert_eq!(fixture.store.requeue_orphaned().await.expect("put back")[0].job.status, JobStatus::Queued);
}

#[tokio::test]
async fn a_checkpoint_between_two_crashes_starts_the_count_afresh() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    for epoch in 1..=MAX_CRASHES + 1 {
        fixture.store.record_events(id, &[checkpoint(epoch, u64::from(epoch))]).await.expect("it is stored");
        let changes = fixture.store.requeue_orphaned().await.expect("it is put back");
        assert_eq!(changes[0].job.status, JobStatus::Queued, "after epoch {epoch}");
        fixture.store.claim_next().await.expect("it is claimed");
    }
}

#[tokio::test]
async fn rewinding_to_a_checkpoint_takes_back_what_came_after_it() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let warning = TrainEvent::Warning { message: "look".into() };
    let removed = TrainEvent::CheckpointRemoved { epoch: 9 };
    let events =
        [evaluation(0, 0), step(1), evaluation(1, 1), checkpoint(1, 1), step(2), warning, removed, evaluation(2, 2)];
    let records = fixture.store.record_events(id, &events).await.expect("they are stored");
    fixture.store.rewind(id, Some(1)).await.expect("it is taken back");

    let kept = fixture.store.events_after(id, 0, 100).await.expect("they are read");
    let expected =
        ["status", "status", "evaluation", "step", "evaluation", "checkpoint", "warning", "checkpoint_removed"];
    assert_eq!(types(&kept), expected);
    let epochs: Vec<u32> =
        fixture.store.evaluations(id).await.expect("they are read").iter().map(|metrics| metrics.epoch).collect();
    assert_eq!(epochs, [0, 1]);
    assert_eq!(fixture.store.get_job(id).await.expect("it is there").step, 1);

    // Told again, it gets a new id, so that a client who saw the old one misses nothing.
    let again = fixture.store.record_events(id, &[step(2)]).await.expect("it is stored");
    assert!(again[0].id > records.last().expect("there are").id);
}

#[tokio::test]
async fn rewinding_to_the_start_leaves_the_jobs_history_alone() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.record_events(id, &[evaluation(0, 0), step(1)]).await.expect("they are stored");
    fixture.store.rewind(id, None).await.expect("it is taken back");
    let kept = fixture.store.events_after(id, 0, 100).await.expect("they are read");
    assert_eq!(types(&kept), ["status", "status"]);
    assert!(kept.iter().all(|record| matches!(record.event, JobEvent::Status { .. })));
    assert!(fixture.store.evaluations(id).await.expect("they are read").is_empty());
    assert_eq!(fixture.store.get_job(id).await.expect("it is there").step, 0);
}

#[tokio::test]
async fn rewinding_to_a_checkpoint_that_is_not_there_is_an_error() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    super::assert_not_found(fixture.store.rewind(id, Some(3)).await, "checkpoint");
}
