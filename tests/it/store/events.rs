//! What a run tells, and the facts that it brings.

use matryo::domain::{JobEvent, JobId, TrainEvent, TrainPhase};

use super::{Fixture, assert_not_found};
use crate::helpers::rows;

fn step(step: u64, loss: f64) -> TrainEvent {
    TrainEvent::Step {
        step,
        total_steps: 9,
        epoch: 0.5,
        loss,
        grad_norm: 1.0,
        learning_rate: 2e-5,
        pairs_per_second: 100.0,
        eta_seconds: 1.0,
    }
}

fn checkpoint(epoch: u32, step: u64) -> TrainEvent {
    TrainEvent::Checkpoint { epoch, step, size_bytes: 7, sha256: "cd".repeat(32), metric: 0.5, is_best: true }
}

#[tokio::test]
async fn events_and_their_facts_are_stored_together() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let metrics = rows::evaluation(1, 3, 0.5);
    let events = [
        TrainEvent::Phase { phase: TrainPhase::Train, epoch: 0.0 },
        step(3, 1.5),
        TrainEvent::Evaluation { metrics: metrics.clone() },
        checkpoint(1, 3),
        TrainEvent::Warning { message: "short".into() },
        TrainEvent::Warning { message: "short".into() },
    ];
    let records = fixture.store.record_events(id, &events).await.expect("they are stored");
    assert!(records.windows(2).all(|pair| pair[0].id < pair[1].id), "ids grow");
    let told: Vec<JobEvent> = records.iter().map(|record| record.event.clone()).collect();
    assert_eq!(told, events.map(JobEvent::Train));

    let job = fixture.store.get_job(id).await.expect("it is there");
    assert_eq!((job.step, job.total_steps, job.warnings), (3, Some(9), vec!["short".to_owned()]));
    assert_eq!(fixture.store.evaluations(id).await.expect("they are read"), [metrics]);
    let stored = fixture.store.get_checkpoint(id, 1).await.expect("it is there");
    assert_eq!((stored.step, stored.is_best, stored.path), (3, true, format!("jobs/{id}/checkpoints/epoch-1")));

    fixture.store.record_events(id, &[TrainEvent::CheckpointRemoved { epoch: 1 }]).await.expect("it is stored");
    assert_not_found(fixture.store.get_checkpoint(id, 1).await, "checkpoint");
}

#[tokio::test]
async fn progress_is_told_but_not_stored_as_an_event() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let before = fixture.store.events_after(id, 0, 10).await.expect("they are read");
    let event = TrainEvent::Progress { step: 2, total_steps: 9 };
    let records = fixture.store.record_events(id, &[event]).await.expect("it is taken");
    assert_eq!(records[0].id, None);
    assert_eq!(fixture.store.events_after(id, 0, 10).await.expect("they are read"), before);
    assert_eq!(fixture.store.get_job(id).await.expect("it is there").step, 2);
}

#[tokio::test]
async fn either_all_events_are_stored_or_none() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let before = fixture.store.events_after(id, 0, 10).await.expect("they are read");
    // The checksum's constraint refuses the second one.
    let bad =
        TrainEvent::Checkpoint { epoch: 1, step: 1, size_bytes: 1, sha256: "x".into(), metric: 0.1, is_best: true };
    fixture.store.record_events(id, &[step(1, 2.0), bad]).await.expect_err("the checksum is none");
    assert_eq!(fixture.store.events_after(id, 0, 10).await.expect("they are read"), before);
    assert_eq!(fixture.store.get_job(id).await.expect("it is there").step, 0);
    assert_not_found(fixture.store.record_events(JobId::generate(), &[step(1, 1.0)]).await, "job");
}

#[tokio::test]
async fn replay_goes_on_after_an_id_and_stays_within_its_job() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let records = fixture.store.record_events(id, &[step(1, 3.0), step(2, 2.0), step(3, 1.0)]).await.expect("stored");
    let other = fixture.queue().await.id;
    let first = records[0].id.expect("it is stored");
    assert_eq!(fixture.store.events_after(id, first, 10).await.expect("they are read"), records[1..]);
    assert_eq!(fixture.store.events_after(id, first, 1).await.expect("they are read"), records[1..2]);
    assert_eq!(fixture.store.events_after(other, first, 10).await.expect("they are read").len(), 1);
    assert!(fixture.store.events_after(id, u64::MAX, 10).await.expect("they are read").is_empty());
}

#[tokio::test]
async fn logged_losses_are_read_in_order() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    assert!(fixture.store.training_losses(id).await.expect("they are read").is_empty());
    fixture.store.record_events(id, &[step(1, 0.1 + 0.2), checkpoint(1, 1), step(2, 1e-9)]).await.expect("stored");
    assert_eq!(fixture.store.training_losses(id).await.expect("they are read"), [(1, 0.1 + 0.2), (2, 1e-9)]);
}

#[tokio::test]
async fn long_runs_are_thinned_out_to_the_last_step() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    assert!(fixture.store.logged_steps(id, 3).await.expect("they are read").is_empty());
    let events: Vec<TrainEvent> = (1..=8).map(|number| step(number, 1.0 / number as f64)).collect();
    fixture.store.record_events(id, &events).await.expect("stored");
    let steps = async |most| {
        let logged = fixture.store.logged_steps(id, most).await.expect("they are read");
        logged.iter().map(|step| step.step).collect::<Vec<_>>()
    };
    assert_eq!(steps(100).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(steps(4).await, [1, 3, 5, 7, 8]);
    assert_eq!(steps(1).await, [1, 8]);
    let first = fixture.store.logged_steps(id, 9).await.expect("they are read")[0];
    assert_eq!((first.loss, first.grad_norm, first.learning_rate), (1.0, 1.0, 2e-5));
}
