//! The queue: who is next, and that nobody gets the same job.

use std::collections::HashSet;

use matryo::domain::{JobError, JobEvent, JobStatus};
use matryo::store::{JobOutcome, PeakBytes};

use super::{Fixture, assert_not_found, conflict};
use crate::helpers::rows;

#[tokio::test]
async fn jobs_are_claimed_in_the_order_in_which_they_were_queued() {
    let fixture = Fixture::new().await;
    let queued = [fixture.queue().await.id, fixture.queue().await.id, fixture.queue().await.id];
    let waiting = fixture.store.queued_jobs(2).await.expect("they are read");
    assert_eq!(waiting.iter().map(|job| job.id).collect::<Vec<_>>(), queued[..2]);
    for id in queued {
        let change = fixture.store.claim_next().await.expect("it is claimed").expect("one waits");
        assert_eq!((change.job.id, change.job.status), (id, JobStatus::Running));
        assert!(change.job.started_at.is_some());
        let event = change.event.expect("the status changed").event;
        assert_eq!(event, JobEvent::Status { status: JobStatus::Running, message: None });
    }
    assert_eq!(fixture.store.claim_next().await.expect("it is looked for"), None);
    assert!(fixture.store.queued_jobs(2).await.expect("they are read").is_empty());
}

#[tokio::test]
async fn claimers_at_once_never_get_the_same_job() {
    let fixture = Fixture::new().await;
    for _ in 0..6 {
        fixture.queue().await;
    }
    let claims: Vec<_> = (0..12)
        .map(|_| {
            let store = fixture.store.clone();
            tokio::spawn(async move { store.claim_next().await })
        })
        .collect();
    let mut claimed = HashSet::new();
    let mut empty = 0;
    for claim in claims {
        match claim.await.expect("no panic").expect("it is claimed") {
            Some(change) => assert!(claimed.insert(change.job.id), "{} was claimed twice", change.job.id),
            None => empty += 1,
        }
    }
    assert_eq!((claimed.len(), empty), (6, 6));
}

#[tokio::test]
async fn a_success_keeps_timings_and_memory() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    let ended = fixture.finish(job.id).await;
    assert_eq!(ended.status, JobStatus::Succeeded);
    assert_eq!(ended.timings, Some([("train".to_owned(), 1.5)].into()));
    assert_eq!(ended.profile, Some(rows::profile()));
    assert_eq!(ended.peak_memory_bytes, Some(1 << 20));
    assert!(ended.finished_at.is_some() && ended.error.is_none());
    assert_eq!(fixture.store.get_job(job.id).await.expect("it is there"), ended);
}

#[tokio::test]
async fn a_failure_keeps_its_reason_and_tells_it() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    let error = JobError { code: "non_finite_loss".into(), message: "the loss is not finite at step 3".into() };
    let change =
        fixture.store.finish(job.id, &JobOutcome::Failed(error.clone()), PeakBytes::default()).await.expect("it ends");
    assert_eq!(change.job.error, Some(error.clone()));
    let event = change.event.expect("the status changed").event;
    assert_eq!(event, JobEvent::Status { status: JobStatus::Failed, message: Some(error.message) });
}

#[tokio::test]
async fn only_a_running_job_can_end() {
    let fixture = Fixture::new().await;
    let job = fixture.queue().await;
    let error =
        fixture.store.finish(job.id, &JobOutcome::Cancelled, PeakBytes::default()).await.expect_err("it is queued");
    assert!(conflict(&error).contains("queued"), "{error}");
    let other = rows::job(&fixture.dataset, &fixture.model);
    assert_not_found(fixture.store.finish(other.id, &JobOutcome::Cancelled, PeakBytes::default()).await, "job");
    assert_not_found(fixture.store.requeue(other.id, "why").await, "job");
    let error = fixture.store.requeue(job.id, "why").await.expect_err("it is queued already");
    assert!(conflict(&error).contains("queued"), "{error}");
}

#[tokio::test]
async fn a_job_put_back_is_first_again() {
    let fixture = Fixture::new().await;
    let first = fixture.run().await;
    fixture.queue().await;
    let change = fixture.store.requeue(first.id, "the server stops").await.expect("it is put back");
    assert_eq!(change.job.status, JobStatus::Queued);
    let event = change.event.expect("the status changed").event;
    assert_eq!(event, JobEvent::Status { status: JobStatus::Queued, message: Some("the server stops".into()) });
    let claimed = fixture.store.claim_next().await.expect("it is claimed").expect("two wait");
    assert_eq!(claimed.job.id, first.id);
    assert_eq!(claimed.job.started_at, first.started_at, "the first start is what counts");
}

#[tokio::test]
async fn a_cancelled_job_is_not_put_back() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    fixture.store.request_cancel(job.id).await.expect("it is asked");
    let change = fixture.store.requeue(job.id, "the server stops").await.expect("it ends");
    assert_eq!((change.job.status, change.job.cancel_requested), (JobStatus::Cancelled, false));
    assert!(change.job.finished_at.is_some());
    assert_eq!(fixture.store.claim_next().await.expect("it is looked for"), None);
}

#[tokio::test]
async fn memory_is_the_most_over_all_attempts() {
    let memory = |host| PeakBytes { host: Some(host), gpu: Some(2 * host) };
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    fixture.store.finish(job.id, &JobOutcome::Cancelled, memory(500)).await.expect("it ends");
    fixture.store.resume(job.id).await.expect("it is queued again");
    fixture.store.claim_next().await.expect("it is claimed");
    let ended = fixture.store.finish(job.id, &JobOutcome::Cancelled, memory(300)).await.expect("it ends").job;
    assert_eq!((ended.peak_memory_bytes, ended.peak_gpu_memory_bytes), (Some(500), Some(1000)));
}
