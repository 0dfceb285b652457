//! A database of an earlier version keeps everything.

use std::borrow::Cow;

use matryo::domain::{DataDir, JobId, JobStatus};
use matryo::store::Store;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::helpers::rows;

/// The last version before jobs could be paused, whose migration makes the table of jobs anew.
const BEFORE_PAUSE: i64 = 8;

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("it is JSON")
}

/// A finished job with all that may hang on one, and a queued one, as that version stored them.
async fn old_database(path: &std::path::Path) -> (JobId, JobId) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(true);
    let mut connection = options.connect().await.expect("it is made");
    let mut migrator = sqlx::migrate!();
    let old = migrator.migrations.iter().filter(|migration| migration.version <= BEFORE_PAUSE).cloned();
    migrator.migrations = Cow::Owned(old.collect());
    migrator.run(&mut connection).await.expect("the old version's tables are made");

    let (ended, queued) = (JobId::generate(), JobId::generate());
    let (dataset, model) = (rows::dataset(), rows::ready_model("tiny"));
    sqlx::query(
        "insert into datasets (id, name, format, mapping, ignored_columns, split, train_rows, eval_rows, duplicate_rows,
            duplicate_positives, sha256, size_bytes, created_at)
         values (?, 'pairs.csv', 'csv', '{}', '[]', ?, 8, 4, 0, 0, ?, 1234, ?)",
    )
    .bind(dataset.id.to_string())
    .bind(json(&dataset.split))
    .bind(&dataset.sha256)
    .bind(&dataset.created_at)
    .execute(&mut connection)
    .await
    .expect("it is stored");
    sqlx::query("insert into models (id, name, source, status, summary, size_bytes, created_at) values (?, 'tiny', ?, 'ready', ?, 9, ?)")
        .bind(model.id.to_string())
        .bind(json(&model.source))
        .bind(json(&model.summary))
        .bind(&model.created_at)
        .execute(&mut connection)
        .await
        .expect("it is stored");
    let training = rows::job(&dataset, &model).training;
    for (id, position, status, finished_at) in
        [(ended, 1, "succeeded", Some("2026-01-02T00:00:00.000Z")), (queued, 2, "queued", None)]
    {
        sqlx::query(
            "insert into jobs (id, name, status, dataset_id, base_model, training, step, total_steps, warnings, created_at,
                finished_at, queue_position, peak_memory_bytes)
             values (?, 'old', ?, ?, 'tiny', ?, 4, 4, '[\"beware\"]', '2026-01-01T00:00:00.000Z', ?, ?, 77)",
        )
        .bind(id.to_string())
        .bind(status)
        .bind(dataset.id.to_string())
        .bind(json(&training))
        .bind(finished_at)
        .bind(position)
        .execute(&mut connection)
        .await
        .expect("it is stored");
    }
    let id = ended.to_string();
    for statement in [
        "insert into job_events (job_id, type, event, created_at)
         values (?, 'warning', '{\"type\": \"warning\", \"message\": \"beware\"}', '2026-01-01T00:00:00.000Z')",
        "insert into metrics (job_id, epoch, step, dim, metric, value) values (?, 1, 2, 32, 'ndcg@10', 0.5)",
        "insert into checkpoints (job_id, epoch, step, path, size_bytes, sha256, metric, is_best, created_at)
         values (?, 1, 2, 'jobs/x', 5, printf('%064d', 0), 0.5, 1, '2026-01-01T00:00:00.000Z')",
    ] {
        sqlx::query(statement).bind(&id).execute(&mut connection).await.expect("it is stored");
    }
    (ended, queued)
}

#[tokio::test]
async fn making_the_table_of_jobs_anew_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = DataDir::new(folder.path()).database();
    let (ended, queued) = old_database(&path).await;
    let store = Store::open(&path).await.expect("it is brought up to date");

    let job = store.get_job(ended).await.expect("it is there");
    assert_eq!((job.status, job.name.as_deref(), job.step), (JobStatus::Succeeded, Some("old"), 4));
    assert_eq!((job.warnings, job.peak_memory_bytes), (vec!["beware".to_owned()], Some(77)));
    assert_eq!((job.pause_requested, job.metadata), (false, None));
    assert_eq!(store.events_after(ended, 0, 10).await.expect("they are read").len(), 1);
    assert_eq!(store.evaluations(ended).await.expect("they are read").len(), 1);
    assert_eq!(store.best_checkpoint(ended).await.expect("it is there").epoch, 1);
    assert_eq!(store.get_dataset(job.dataset_id).await.expect("it is there").original_bytes, None);

    // What hangs on a job still goes with it, and nothing hangs on one that is not there.
    store.delete_job(ended).await.expect("it is deleted");
    assert!(store.events_after(ended, 0, 10).await.expect("they are read").is_empty());
    assert!(store.list_checkpoints(ended).await.expect("they are read").is_empty());
    assert!(store.upsert_evaluation(JobId::generate(), &rows::evaluation(0, 0, 0.5)).await.is_err());
    assert_eq!(store.request_pause(queued).await.expect("it waited").job.status, JobStatus::Paused);
    store.close().await;
    Store::open(&path).await.expect("there is nothing left to migrate");
}
