//! What a crash leaves, and what the next start makes of it. A crash is played by the store and the disk as one leaves them.

use std::fs;

use matryo::domain::{DataDir, DatasetId, Job, JobStatus, TrainEvent};
use matryo::store::Store;

use super::{Fixture, start_worker, types};
use crate::helpers::fake_trainer::{FakeTrainer, STEPS};
use crate::helpers::rows;

/// A job that was running when the process died, after `events`, on a data directory without a worker.
async fn crashed(fixture: &Fixture, events: &[TrainEvent]) -> Job {
    let job = rows::job(&fixture.dataset, &fixture.model);
    fixture.store.insert_job(&job).await.expect("it is queued");
    fixture.store.claim_next().await.expect("it is claimed");
    fixture.store.record_events(job.id, events).await.expect("they are stored");
    job
}

/// A fixture whose worker has ended.
async fn at_rest() -> Fixture {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    fixture.worker.shutdown().await.expect("it ends");
    fixture
}

fn evaluation(epoch: u32) -> TrainEvent {
    TrainEvent::Evaluation {
        metrics: rows::evaluation(epoch, STEPS * u64::from(epoch), 0.5 + f64::from(epoch) / 100.0),
    }
}

/// Epoch 1's checkpoint as a run of the fake trainer leaves it.
async fn checkpoint_folder(fixture: &Fixture, job: &Job) {
    let other = Fixture::start(FakeTrainer::good()).await;
    let id = other.submit().await.id;
    other.end(id).await;
    let target = fixture.data_dir.checkpoints(job.id);
    fs::create_dir_all(&target).expect("it is made");
    let source = other.data_dir.checkpoints(id).join("epoch-1");
    let copied = std::process::Command::new("cp").arg("-r").arg(source).arg(&target).status().expect("cp runs");
    assert!(copied.success());
}

#[tokio::test]
async fn a_job_cut_off_before_its_first_checkpoint_starts_afresh() {
    let fixture = at_rest().await;
    let job = crashed(&fixture, &[evaluation(0), TrainEvent::Progress { step: 1, total_steps: 4 }]).await;
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    assert_eq!(fixture.end(job.id).await.status, JobStatus::Succeeded);
    let told = fixture.store.events_after(job.id, 0, 100).await.expect("they are read");
    assert_eq!(types(&told)[..5], ["queued", "running", "queued", "running", "phase"]);
    assert_eq!(types(&told).iter().filter(|name| **name == "evaluation").count(), 3, "baseline and two epochs");
}

#[tokio::test]
async fn a_checkpoint_whose_row_was_not_written_is_found_on_disk() {
    let fixture = at_rest().await;
    // The crash came after the rename and before the row.
    let job = crashed(&fixture, &[evaluation(0), evaluation(1)]).await;
    checkpoint_folder(&fixture, &job).await;
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    assert_eq!(fixture.end(job.id).await.status, JobStatus::Succeeded);
    let epochs: Vec<u32> =
        fixture.store.list_checkpoints(job.id).await.expect("a list").iter().map(|row| row.epoch).collect();
    assert_eq!(epochs, [1, 2]);
    let told = fixture.store.events_after(job.id, 0, 100).await.expect("they are read");
    let expected = [
        "queued",
        "running",
        "evaluation",
        "evaluation",
        "queued",
        "running",
        "checkpoint",
        "phase",
        "phase",
        "step",
        "step",
        "evaluation",
        "checkpoint",
        "succeeded",
    ];
    assert_eq!(types(&told), expected);
}

#[tokio::test]
async fn evaluations_that_could_not_be_stored_are_read_from_the_checkpoint() {
    let fixture = at_rest().await;
    // The database was full from the start, the disk of the checkpoints was not.
    let job = crashed(&fixture, &[]).await;
    checkpoint_folder(&fixture, &job).await;
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    assert_eq!(fixture.end(job.id).await.status, JobStatus::Succeeded);
    let evaluations = fixture.store.evaluations(job.id).await.expect("they are read");
    assert_eq!(evaluations.iter().map(|evaluation| evaluation.epoch).collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn a_row_whose_folder_is_gone_is_dropped() {
    let fixture = at_rest().await;
    let lost = TrainEvent::Checkpoint {
        epoch: 1,
        step: 2,
        size_bytes: 5,
        sha256: "ab".repeat(32),
        metric: 0.5,
        is_best: true,
    };
    let job = crashed(&fixture, &[evaluation(0), evaluation(1), lost]).await;
    let fixture = fixture.start_again(FakeTrainer::good()).await;
    assert_eq!(fixture.end(job.id).await.status, JobStatus::Succeeded);
    let rows = fixture.store.list_checkpoints(job.id).await.expect("a list");
    assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2]);
    for row in rows {
        assert!(fixture.data_dir.checkpoint(&row).join("model.safetensors").is_file());
    }
}

#[tokio::test]
async fn what_an_interrupted_upload_or_deletion_left_is_deleted_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = DataDir::new(folder.path());
    let store = Store::open(&data_dir.database()).await.expect("it opens");
    let (dataset, _) = rows::inputs(&store, &data_dir).await;
    let unknown = data_dir.dataset(DatasetId::generate());
    let unfinished = data_dir.datasets().join(format!("{}.tmp", DatasetId::generate()));
    let job = data_dir.job(matryo::domain::JobId::generate());
    let strangers = data_dir.datasets().join("notes");
    for path in [&unknown, &unfinished, &job, &strangers] {
        fs::create_dir_all(path.join("deep")).expect("it is made");
    }
    let worker = start_worker(&store, &data_dir, FakeTrainer::good()).await;
    for (path, stays) in [
        (&unknown, false),
        (&unfinished, false),
        (&job, false),
        (&strangers, true),
        (&data_dir.dataset(dataset.id), true),
    ] {
        assert_eq!(path.exists(), stays, "{}", path.display());
    }
    worker.shutdown().await.expect("it ends");
}
