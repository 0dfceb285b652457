//! Pausing: at once where nothing runs, asked for where something does.

use matryo::domain::{JobEvent, JobStatus};
use matryo::store::{JobOutcome, PeakBytes};

use super::{Fixture, conflict};

#[tokio::test]
async fn a_queued_job_is_paused_at_once_and_leaves_the_queue() {
    let fixture = Fixture::new().await;
    let id = fixture.queue().await.id;
    let change = fixture.store.request_pause(id).await.expect("it is paused");
    assert_eq!((change.job.status, change.job.finished_at), (JobStatus::Paused, None));
    let told = change.event.expect("a change is told").event;
    assert!(matches!(told, JobEvent::Status { status: JobStatus::Paused, .. }), "{told:?}");
    assert_eq!(fixture.store.claim_next().await.expect("it answers"), None);
    let again = fixture.store.request_pause(id).await.expect("asking twice is no error");
    assert_eq!((again.job.status, again.event), (JobStatus::Paused, None));
    // It has not ended.
    assert!(conflict(&fixture.store.delete_job(id).await.expect_err("it is paused")).contains("cancel it first"));
    let kept = fixture.store.delete_dataset(fixture.dataset.id).await.expect_err("the job needs it");
    assert!(conflict(&kept).contains("has not ended"));
    let kept = fixture.store.delete_model(fixture.model.id).await.expect_err("the job needs it");
    assert!(conflict(&kept).contains("has not ended"));
}

#[tokio::test]
async fn a_paused_job_is_resumed_or_cancelled() {
    let fixture = Fixture::new().await;
    let [resumed, cancelled] = [fixture.queue().await.id, fixture.queue().await.id];
    for id in [resumed, cancelled] {
        fixture.store.request_pause(id).await.expect("it is paused");
    }
    assert_eq!(fixture.store.resume(resumed).await.expect("it is queued").job.status, JobStatus::Queued);
    let change = fixture.store.request_cancel(cancelled).await.expect("it is cancelled");
    assert_eq!(change.job.status, JobStatus::Cancelled);
    assert!(change.job.finished_at.is_some());
    assert!(conflict(&fixture.store.request_pause(cancelled).await.expect_err("it ended")).contains("cancelled"));
}

#[tokio::test]
async fn a_running_job_is_asked_to_rest() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    for _ in 0..2 {
        let change = fixture.store.request_pause(id).await.expect("it is asked");
        assert_eq!((change.job.status, change.job.pause_requested), (JobStatus::Running, true));
        assert_eq!(change.event, None);
    }
    assert!(conflict(&fixture.store.resume(id).await.expect_err("it still runs")).contains("running"));
    let job = fixture.store.requeue(id, "the server stops").await.expect("it rests").job;
    assert_eq!((job.status, job.pause_requested, job.finished_at), (JobStatus::Paused, false, None));
}

#[tokio::test]
async fn a_run_that_ends_first_has_ended() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.request_pause(id).await.expect("it is asked");
    let job = fixture.finish(id).await;
    assert_eq!((job.status, job.pause_requested), (JobStatus::Succeeded, false));
}

#[tokio::test]
async fn a_cancel_outweighs_a_pause() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.request_pause(id).await.expect("it is asked");
    fixture.store.request_cancel(id).await.expect("it is asked");
    assert!(conflict(&fixture.store.request_pause(id).await.expect_err("too late")).contains("being cancelled"));
    let job = fixture.store.finish(id, &JobOutcome::Cancelled, PeakBytes::default()).await.expect("it ends").job;
    assert_eq!((job.status, job.cancel_requested, job.pause_requested), (JobStatus::Cancelled, false, false));
}

#[tokio::test]
async fn a_pause_asked_for_before_a_crash_is_carried_out_at_the_next_start() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.request_pause(id).await.expect("it is asked");
    let changes = fixture.store.requeue_orphaned().await.expect("it is put back");
    assert_eq!(changes.iter().map(|change| change.job.status).collect::<Vec<_>>(), [JobStatus::Paused]);
}
