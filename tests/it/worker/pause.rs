//! Pause, and go on.

use matryo::domain::{JobEvent, JobId, JobStatus};

use super::{Fixture, types, within_patience};
use crate::helpers::fake_trainer::{FakeTrainer, STEPS, run_epochs};

/// Waits until a job is paused.
async fn paused(fixture: &Fixture, id: JobId) {
    let mut feed = fixture.worker.follow(id, None).await.expect("it is there");
    loop {
        let record = within_patience(feed.next()).await.expect("the store answers").expect("a pause is no end");
        if matches!(record.event, JobEvent::Status { status: JobStatus::Paused, .. }) {
            return;
        }
    }
}

#[tokio::test]
async fn a_running_job_rests_and_goes_on_from_its_last_checkpoint() {
    let mut attempts = 0;
    let fixture = Fixture::start(FakeTrainer::new(move |request, sink| {
        attempts += 1;
        let stops = attempts == 1;
        run_epochs(request, sink, |step, sink| {
            // In the second epoch, waits to be stopped.
            while stops && step == STEPS + 1 && !sink.should_stop() {
                std::thread::yield_now();
            }
            Ok(())
        })
    }))
    .await;
    let id = fixture.submit().await.id;
    fixture.told(id, "checkpoint").await;
    let asked = fixture.worker.pause(id).await.expect("it is asked");
    assert_eq!((asked.status, asked.pause_requested), (JobStatus::Running, true));
    paused(&fixture, id).await;
    // The worker is free for others.
    let other = fixture.submit().await.id;
    assert_eq!(fixture.end(other).await.status, JobStatus::Succeeded);
    assert_eq!(fixture.job(id).await.status, JobStatus::Paused);

    assert_eq!(fixture.worker.resume(id).await.expect("it is queued").status, JobStatus::Queued);
    assert_eq!(fixture.end(id).await.status, JobStatus::Succeeded);
    let told = fixture.follow(id).await;
    let words = types(&told);
    let from = words.iter().position(|word| *word == "paused").expect("it is told");
    assert_eq!(words[from..from + 5], ["paused", "queued", "running", "phase", "phase"]);
    let steps = fixture.store.training_losses(id).await.expect("they are read");
    assert_eq!(steps.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_pause_outlives_a_shutdown() {
    let (trainer, _gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let id = fixture.submit().await.id;
    fixture.told(id, "step").await;
    fixture.worker.pause(id).await.expect("it is asked");
    fixture.worker.shutdown().await.expect("it ends");
    assert_eq!(fixture.job(id).await.status, JobStatus::Paused);
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    let other = fixture.submit().await.id;
    fixture.end(other).await;
    assert_eq!(fixture.job(id).await.status, JobStatus::Paused);
}

#[tokio::test]
async fn a_cancel_outweighs_a_pause_that_was_asked_for_before() {
    let (trainer, _gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let (first, second) = (fixture.submit().await.id, fixture.submit().await.id);
    fixture.told(first, "step").await;
    assert_eq!(fixture.worker.pause(second).await.expect("it waits").status, JobStatus::Paused);
    assert_eq!(fixture.worker.cancel(second).await.expect("it is paused").status, JobStatus::Cancelled);
    fixture.worker.cancel(first).await.expect("it is asked");
    fixture.end(first).await;
    assert_eq!(types(&fixture.follow(second).await), ["queued", "paused", "cancelled"]);
}
