//! Checkpoints' rows.

use matryo::domain::{Checkpoint, JobId, utc_now};
use matryo::store::StoreError;

use super::{Fixture, assert_not_found};

fn checkpoint(job_id: JobId, epoch: u32, is_best: bool) -> Checkpoint {
    Checkpoint {
        job_id,
        epoch,
        step: u64::from(epoch) * 3,
        path: format!("jobs/{job_id}/checkpoints/epoch-{epoch}"),
        size_bytes: 100,
        sha256: "ef".repeat(32),
        metric: 0.25,
        is_best,
        created_at: utc_now(),
    }
}

#[tokio::test]
async fn the_best_is_only_ever_one() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    assert_not_found(fixture.store.best_checkpoint(id).await, "checkpoint");
    for (epoch, is_best) in [(1, true), (2, true), (3, false)] {
        fixture.store.upsert_checkpoint(&checkpoint(id, epoch, is_best)).await.expect("it is stored");
    }
    assert_eq!(fixture.store.best_checkpoint(id).await.expect("there is one"), checkpoint_of(&fixture, id, 2).await);
    let best: Vec<(u32, bool)> =
        fixture.store.list_checkpoints(id).await.expect("a list").iter().map(|c| (c.epoch, c.is_best)).collect();
    assert_eq!(best, [(1, false), (2, true), (3, false)]);
}

async fn checkpoint_of(fixture: &Fixture, id: JobId, epoch: u32) -> Checkpoint {
    fixture.store.get_checkpoint(id, epoch).await.expect("it is there")
}

#[tokio::test]
async fn a_checkpoint_written_again_replaces_the_old_one() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.upsert_checkpoint(&checkpoint(id, 1, true)).await.expect("it is stored");
    let again = Checkpoint { size_bytes: 200, metric: 0.5, ..checkpoint(id, 1, true) };
    fixture.store.upsert_checkpoint(&again).await.expect("it is replaced");
    assert_eq!(fixture.store.list_checkpoints(id).await.expect("a list"), [again]);
}

#[tokio::test]
async fn a_deleted_checkpoint_is_gone_and_deleting_it_twice_is_no_error() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.upsert_checkpoint(&checkpoint(id, 1, true)).await.expect("it is stored");
    for _ in 0..2 {
        fixture.store.delete_checkpoint(id, 1).await.expect("it is deleted");
    }
    assert_not_found(fixture.store.get_checkpoint(id, 1).await, "checkpoint");
}

#[tokio::test]
async fn rows_that_make_no_sense_are_refused_by_the_database() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let orphan = checkpoint(JobId::generate(), 1, true);
    let epoch_zero = checkpoint(id, 0, true);
    let no_hash = Checkpoint { sha256: "abc".into(), ..checkpoint(id, 1, true) };
    for row in [orphan, epoch_zero, no_hash] {
        let refused = fixture.store.upsert_checkpoint(&row).await;
        assert!(matches!(refused, Err(StoreError::Database(_))), "{row:?}");
    }
    assert!(fixture.store.list_checkpoints(id).await.expect("a list").is_empty());
}
