//! Following a job's events: stored ones once and in order, whatever happens meanwhile.

use matryo::domain::{EventRecord, JobEvent, JobId, JobStatus, TrainEvent};
use matryo::store::StoreError;

use super::{Fixture, types, within_patience};
use crate::helpers::fake_trainer::{FakeTrainer, run_epochs};

const COURSE: [&str; 16] = [
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
    "phase",
    "step",
    "step",
    "evaluation",
    "checkpoint",
    "succeeded",
];

fn stored(told: &[EventRecord]) -> Vec<EventRecord> {
    told.iter().filter(|record| record.id.is_some()).cloned().collect()
}

#[tokio::test]
async fn a_listener_from_the_start_hears_everything_once_and_in_order() {
    let (trainer, gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    let mut feed = fixture.worker.follow(id, None).await.expect("it is there");
    let mut told = Vec::new();
    let mut opened = false;
    while let Some(record) = within_patience(feed.next()).await.expect("the store answers") {
        if !opened && record.event.type_name() == "step" {
            gate.open();
            opened = true;
        }
        told.push(record);
    }
    assert!(told.iter().any(|record| matches!(record.event, JobEvent::Train(TrainEvent::Progress { .. }))));
    let told = stored(&told);
    assert_eq!(types(&told), COURSE);
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(told, fixture.store.events_after(id, 0, 100).await.expect("they are read"));
}

#[tokio::test]
async fn a_listener_that_comes_late_or_comes_back_misses_nothing() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let id = fixture.submit().await.id;
    let all = stored(&fixture.follow(id).await);
    assert_eq!(types(&all), COURSE);
    for seen in 0..=all.len() {
        let last = seen.checked_sub(1).and_then(|last| all[last].id);
        let mut feed = fixture.worker.follow(id, last).await.expect("it is there");
        let mut rest = Vec::new();
        while let Some(record) = within_patience(feed.next()).await.expect("the store answers") {
            rest.push(record);
        }
        assert_eq!(rest, all[seen..], "after {last:?}");
    }
}

#[tokio::test]
async fn a_listener_that_falls_far_behind_catches_up_from_the_store() {
    // More events than the channel of live ones holds, none of which the listener takes before the end.
    const STEPS: u64 = 3000;
    let fixture = Fixture::start(FakeTrainer::new(|request, sink| {
        run_epochs(request, sink, |step, sink| {
            for number in 0..if step == 1 { STEPS } else { 0 } {
                let (step, total_steps) = (number, STEPS);
                let event = TrainEvent::Step {
                    step,
                    total_steps,
                    epoch: 0.1,
                    loss: 1.0,
                    grad_norm: 1.0,
                    learning_rate: 1e-5,
                    pairs_per_second: 1.0,
                    eta_seconds: 1.0,
                };
                sink.on_event(event);
            }
            Ok(())
        })
    }))
    .await;
    let first = fixture.submit().await.id;
    let mut slow = fixture.worker.follow(first, None).await.expect("it is there");
    let heard = within_patience(slow.next()).await.expect("the store answers").expect("it was queued");
    fixture.end(first).await;
    let mut told = vec![heard];
    while let Some(record) = within_patience(slow.next()).await.expect("the store answers") {
        told.push(record);
    }
    let told = stored(&told);
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(told.len() as u64, STEPS + 16);
    assert_eq!(types(&told).last(), Some(&"succeeded"));
}

#[tokio::test]
async fn following_ends_with_the_worker_and_not_before_a_jobs_end() {
    let (trainer, _gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    fixture.told(id, "step").await;
    let mut feed = fixture.worker.follow(id, None).await.expect("it is there");
    fixture.worker.shutdown().await.expect("it ends");
    let mut told = Vec::new();
    while let Some(record) = within_patience(feed.next()).await.expect("the store answers") {
        told.push(record);
    }
    let last = told.last().map(|record| &record.event);
    assert!(matches!(last, Some(JobEvent::Status { status: JobStatus::Queued, message: Some(_) })), "{last:?}");
}

#[tokio::test]
async fn a_job_that_is_not_there_cannot_be_followed() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let followed = fixture.worker.follow(JobId::generate(), None).await;
    assert!(matches!(followed, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn listeners_hear_their_own_job_alone() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let (first, second) = (fixture.submit().await.id, fixture.submit().await.id);
    for id in [first, second] {
        assert!(fixture.follow(id).await.iter().all(|record| record.job_id == id));
    }
}
