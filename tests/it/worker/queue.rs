//! Jobs are worked through one by one, in their order.

use std::sync::{Arc, Mutex};

use matryo::domain::{DataDir, JobStatus};
use matryo::store::Store;
use matryo::worker::{Worker, WorkerContext, WorkerError};

use super::Fixture;
use crate::helpers::fake_trainer::{FakeTrainer, run_epochs, weights};

#[tokio::test]
async fn jobs_run_in_the_order_in_which_they_were_submitted() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let fixture = Fixture::start(FakeTrainer::new(move |request, sink| {
        seen.lock().expect("nobody panics").push(request.checkpoints.clone());
        run_epochs(request, sink, |_, _| Ok(()))
    }))
    .await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let id = fixture.submit().await.id;
        expected.push((id, fixture.data_dir.checkpoints(id)));
    }
    for (id, _) in &expected {
        assert_eq!(fixture.end(*id).await.status, JobStatus::Succeeded);
    }
    let expected: Vec<_> = expected.into_iter().map(|(_, folder)| folder).collect();
    assert_eq!(*order.lock().expect("nobody panics"), expected);
}

#[tokio::test]
async fn a_good_run_leaves_its_facts() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let id = fixture.submit().await.id;
    let job = fixture.end(id).await;
    assert_eq!(job.status, JobStatus::Succeeded);
    assert_eq!((job.step, job.total_steps), (4, Some(4)));
    assert_eq!(job.timings, Some([("train".to_owned(), 0.25)].into()));
    assert_eq!(job.profile, Some(crate::helpers::rows::profile()));
    assert!(job.peak_memory_bytes.is_some_and(|bytes| bytes > 0) || !cfg!(target_os = "linux"));
    let evaluations = fixture.store.evaluations(id).await.expect("they are read");
    assert_eq!(evaluations.iter().map(|evaluation| evaluation.epoch).collect::<Vec<_>>(), [0, 1, 2]);
    let best = fixture.store.best_checkpoint(id).await.expect("there is one");
    assert_eq!(best.epoch, 2);
    let file = fixture.data_dir.checkpoint(&best).join("model.safetensors");
    assert_eq!(std::fs::read(file).expect("it is there"), weights(2));
}

#[tokio::test]
async fn the_trainer_gets_the_rows_of_the_datasets_that_the_job_names() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let fixture = Fixture::start(FakeTrainer::new(move |request, sink| {
        seen.lock().expect("nobody panics").push((request.train.len(), request.eval.len()));
        run_epochs(request, sink, |_, _| Ok(()))
    }))
    .await;
    let other = crate::helpers::rows::dataset();
    crate::helpers::rows::write_rows(&fixture.data_dir, &other);
    fixture.store.insert_dataset(&other).await.expect("it is stored");
    let mut job = crate::helpers::rows::job(&fixture.dataset, &fixture.model);
    job.eval_dataset_id = Some(other.id);
    fixture.worker.submit(&job).await.expect("it is queued");
    fixture.end(job.id).await;
    let plain = fixture.submit().await.id;
    fixture.end(plain).await;
    // Another dataset evaluates with all of its rows, the job's own with its evaluation rows.
    assert_eq!(*sizes.lock().expect("nobody panics"), [(8, 12), (8, 4)]);
}

#[tokio::test]
async fn one_job_runs_at_a_time() {
    let (trainer, gate) = FakeTrainer::gated();
    let fixture = Fixture::start(trainer).await;
    let (first, second) = (fixture.submit().await.id, fixture.submit().await.id);
    fixture.told(first, "step").await;
    assert_eq!(fixture.worker.running(), Some(first));
    assert_eq!(fixture.job(second).await.status, JobStatus::Queued);
    gate.open();
    fixture.end(first).await;
    gate.open();
    assert_eq!(fixture.end(second).await.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_data_directory_has_one_worker() {
    let fixture = Fixture::start(FakeTrainer::good()).await;
    let context = WorkerContext::new(fixture.store.clone(), fixture.data_dir.clone(), FakeTrainer::good());
    assert!(matches!(Worker::start(context).await, Err(WorkerError::InUse(_))));
    let fixture = fixture.restart(FakeTrainer::good()).await;
    let id = fixture.submit().await.id;
    assert_eq!(fixture.end(id).await.status, JobStatus::Succeeded);
}

#[tokio::test]
async fn a_job_queued_before_the_start_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = DataDir::new(folder.path());
    let store = Store::open(&data_dir.database()).await.expect("it opens");
    let (dataset, model) = crate::helpers::rows::inputs(&store, &data_dir).await;
    let job = crate::helpers::rows::job(&dataset, &model);
    store.insert_job(&job).await.expect("it is queued");
    let worker = super::start_worker(&store, &data_dir, FakeTrainer::good()).await;
    let fixture = Fixture { store, data_dir, worker, dataset, model, _folder: folder };
    assert_eq!(fixture.end(job.id).await.status, JobStatus::Succeeded);
}
