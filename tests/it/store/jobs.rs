//! Jobs as their owners see them.

use matryo::domain::{DatasetId, JobEvent, JobId, JobStatus, ModelStatus};
use matryo::store::{JobFilter, JobOutcome, PeakBytes};

use super::{Fixture, assert_not_found, conflict};
use crate::helpers::rows;

#[tokio::test]
async fn a_queued_job_is_what_was_submitted() {
    let fixture = Fixture::new().await;
    let mut job = rows::job(&fixture.dataset, &fixture.model);
    job.eval_dataset_id = Some(fixture.dataset.id);
    // Where it stands is not its owner's to say.
    let submitted = matryo::domain::Job { status: JobStatus::Succeeded, step: 7, ..job.clone() };
    let change = fixture.store.insert_job(&submitted).await.expect("it is queued");
    assert_eq!(change.job, job);
    assert_eq!(fixture.store.get_job(job.id).await.expect("it is there"), job);
    let events = fixture.store.events_after(job.id, 0, 10).await.expect("they are read");
    assert_eq!(events.first().map(|record| &record.event), change.event.as_ref().map(|record| &record.event));
    assert!(
        matches!(events[..], [ref only] if matches!(only.event, JobEvent::Status { status: JobStatus::Queued, .. }))
    );
}

#[tokio::test]
async fn a_job_without_its_inputs_is_not_queued() {
    let fixture = Fixture::new().await;
    let good = rows::job(&fixture.dataset, &fixture.model);
    let with = |change: fn(&mut matryo::domain::Job)| {
        let mut job = good.clone();
        change(&mut job);
        job
    };
    let no_dataset = with(|job| job.dataset_id = DatasetId::generate());
    assert_not_found(fixture.store.insert_job(&no_dataset).await, "dataset");
    let no_eval_dataset = with(|job| job.eval_dataset_id = Some(DatasetId::generate()));
    assert_not_found(fixture.store.insert_job(&no_eval_dataset).await, "dataset");
    let no_model = with(|job| job.base_model = "other".into());
    assert_not_found(fixture.store.insert_job(&no_model).await, "model");

    let pulling = matryo::domain::Model { status: ModelStatus::Pulling, summary: None, ..rows::ready_model("pulling") };
    fixture.store.insert_model(&pulling).await.expect("it is stored");
    let error = fixture.store.insert_job(&with(|job| job.base_model = "pulling".into())).await;
    assert!(conflict(&error.expect_err("it is not ready")).contains("still being pulled"));
    fixture.store.set_model_failed(pulling.id, "no such repository").await.expect("it is marked");
    let error = fixture.store.insert_job(&with(|job| job.base_model = "pulling".into())).await;
    assert!(conflict(&error.expect_err("it failed")).contains("no such repository"));

    assert_eq!(fixture.store.count_jobs(JobStatus::Queued).await.expect("they are counted"), 0);
}

#[tokio::test]
async fn pages_hold_every_job_once_newest_first() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fixture.queue().await.id);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.store.list_jobs(&JobFilter::default(), after, 2).await.expect("a page");
        assert!(page.items.len() <= 2);
        seen.extend(page.items.iter().map(|job| job.id));
        let Some(cursor) = page.next_cursor else { break };
        after = Some(cursor.parse::<JobId>().expect("the cursor is an id"));
    }
    assert_eq!(seen, ids);
    // A last page that is exactly full does not promise another.
    let page = fixture.store.list_jobs(&JobFilter::default(), None, 5).await.expect("a page");
    assert_eq!((page.items.len(), page.next_cursor), (5, None));
}

#[tokio::test]
async fn a_list_by_status_holds_that_status_alone() {
    let fixture = Fixture::new().await;
    let running = fixture.run().await.id;
    let queued = fixture.queue().await.id;
    for (status, expected) in
        [(JobStatus::Running, vec![running]), (JobStatus::Queued, vec![queued]), (JobStatus::Failed, vec![])]
    {
        let filter = JobFilter { status: Some(status), ..JobFilter::default() };
        let page = fixture.store.list_jobs(&filter, None, 10).await.expect("a page");
        assert_eq!(page.items.iter().map(|job| job.id).collect::<Vec<_>>(), expected, "{status:?}");
        assert_eq!(fixture.store.count_jobs(status).await.expect("they are counted"), expected.len() as u64);
    }
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once() {
    let fixture = Fixture::new().await;
    let job = fixture.queue().await;
    let change = fixture.store.request_cancel(job.id).await.expect("it is cancelled");
    assert_eq!(change.job.status, JobStatus::Cancelled);
    assert!(change.job.finished_at.is_some() && change.event.is_some());
    let error = fixture.store.request_cancel(job.id).await.expect_err("it has ended");
    assert!(conflict(&error).contains("cancelled"), "{error}");
}

#[tokio::test]
async fn a_running_job_is_asked_to_stop_as_often_as_one_likes() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    for _ in 0..2 {
        let change = fixture.store.request_cancel(job.id).await.expect("it is asked");
        assert_eq!((change.job.status, change.job.cancel_requested), (JobStatus::Running, true));
        assert_eq!(change.event, None);
    }
    let ended = fixture.store.finish(job.id, &JobOutcome::Cancelled, PeakBytes::default()).await.expect("it ends").job;
    assert_eq!((ended.status, ended.cancel_requested), (JobStatus::Cancelled, false));
}

#[tokio::test]
async fn a_resumed_job_waits_at_the_queues_end() {
    let fixture = Fixture::new().await;
    let first = fixture.queue().await.id;
    fixture.store.request_cancel(first).await.expect("it is cancelled");
    let second = fixture.queue().await.id;
    let resumed = fixture.store.resume(first).await.expect("it is queued again").job;
    assert_eq!((resumed.status, resumed.finished_at), (JobStatus::Queued, None));
    for id in [second, first] {
        assert_eq!(fixture.store.claim_next().await.expect("it is claimed").expect("one waits").job.id, id);
    }
}

#[tokio::test]
async fn only_a_failed_or_cancelled_job_with_its_inputs_is_resumed() {
    let fixture = Fixture::new().await;
    assert_not_found(fixture.store.resume(JobId::generate()).await, "job");
    let job = fixture.run().await;
    assert!(conflict(&fixture.store.resume(job.id).await.expect_err("it runs")).contains("running"));
    fixture.finish(job.id).await;
    assert!(conflict(&fixture.store.resume(job.id).await.expect_err("it succeeded")).contains("succeeded"));

    let job = fixture.queue().await;
    fixture.store.request_cancel(job.id).await.expect("it is cancelled");
    fixture.store.delete_dataset(fixture.dataset.id).await.expect("no job needs it now");
    assert_not_found(fixture.store.resume(job.id).await, "dataset");
    assert_eq!(fixture.store.get_job(job.id).await.expect("it is there").status, JobStatus::Cancelled);
}

#[tokio::test]
async fn a_deleted_job_takes_all_its_rows_along() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    assert!(conflict(&fixture.store.delete_job(job.id).await.expect_err("it runs")).contains("cancel it first"));
    fixture.store.upsert_evaluation(job.id, &rows::evaluation(0, 0, 0.5)).await.expect("it is stored");
    fixture.finish(job.id).await;
    fixture.store.delete_job(job.id).await.expect("it is deleted");
    assert_not_found(fixture.store.get_job(job.id).await, "job");
    assert_not_found(fixture.store.delete_job(job.id).await, "job");
    assert!(fixture.store.events_after(job.id, 0, 10).await.expect("they are read").is_empty());
    assert!(fixture.store.evaluations(job.id).await.expect("they are read").is_empty());
}

#[tokio::test]
async fn progress_is_kept() {
    let fixture = Fixture::new().await;
    let job = fixture.run().await;
    fixture.store.set_progress(job.id, 3, 9).await.expect("it is set");
    let job = fixture.store.get_job(job.id).await.expect("it is there");
    assert_eq!((job.step, job.total_steps), (3, Some(9)));
    assert_not_found(fixture.store.set_progress(JobId::generate(), 1, 2).await, "job");
}
