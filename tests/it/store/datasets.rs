//! Datasets' rows.

use matryo::domain::{Dataset, DatasetFormat, DatasetId, SplitSource};
use matryo::store::{ListOrder, StoreError};

use super::{Fixture, assert_not_found, conflict};
use crate::helpers::rows;

#[tokio::test]
async fn datasets_of_every_kind_read_back() {
    let fixture = Fixture::new().await;
    let formats =
        [DatasetFormat::Csv, DatasetFormat::Tsv, DatasetFormat::Json, DatasetFormat::Jsonl, DatasetFormat::Parquet];
    for format in formats {
        let eval_sha256 = Some("cd".repeat(32));
        let dataset = Dataset { format, split: SplitSource::File, eval_sha256, ..rows::dataset() };
        fixture.store.insert_dataset(&dataset).await.expect("it is stored");
        assert_eq!(fixture.store.get_dataset(dataset.id).await.expect("it is there"), dataset);
    }
}

#[tokio::test]
async fn an_id_is_taken_once_and_a_row_that_makes_no_sense_is_refused() {
    let fixture = Fixture::new().await;
    let error = fixture.store.insert_dataset(&fixture.dataset).await.expect_err("the id is taken");
    assert!(conflict(&error).contains(&fixture.dataset.id.to_string()));
    let nameless = Dataset { name: String::new(), ..rows::dataset() };
    assert!(matches!(fixture.store.insert_dataset(&nameless).await, Err(StoreError::Database(_))));
}

#[tokio::test]
async fn pages_hold_every_dataset_once_newest_first() {
    let fixture = Fixture::new().await;
    let mut ids = vec![fixture.dataset.id];
    for _ in 0..4 {
        let dataset = rows::dataset();
        fixture.store.insert_dataset(&dataset).await.expect("it is stored");
        ids.insert(0, dataset.id);
    }
    let first = fixture.store.list_datasets(ListOrder::NewestFirst, None, 3).await.expect("a page");
    let cursor: DatasetId = first.next_cursor.expect("there are more").parse().expect("the cursor is an id");
    let second = fixture.store.list_datasets(ListOrder::NewestFirst, Some(cursor), 3).await.expect("a page");
    assert_eq!(second.next_cursor, None);
    let seen: Vec<DatasetId> = first.items.iter().chain(&second.items).map(|dataset| dataset.id).collect();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_dataset_stays_while_a_job_needs_it() {
    let fixture = Fixture::new().await;
    let eval = rows::dataset();
    fixture.store.insert_dataset(&eval).await.expect("it is stored");
    let mut job = rows::job(&fixture.dataset, &fixture.model);
    job.eval_dataset_id = Some(eval.id);
    fixture.store.insert_job(&job).await.expect("it is queued");
    for id in [fixture.dataset.id, eval.id] {
        let error = fixture.store.delete_dataset(id).await.expect_err("a job waits for it");
        assert!(conflict(&error).contains("uses the dataset"), "{error}");
    }
    fixture.store.request_cancel(job.id).await.expect("it is cancelled");
    for id in [fixture.dataset.id, eval.id] {
        fixture.store.delete_dataset(id).await.expect("nothing needs it");
        assert_not_found(fixture.store.delete_dataset(id).await, "dataset");
        assert_not_found(fixture.store.get_dataset(id).await, "dataset");
    }
    assert_eq!(fixture.store.get_job(job.id).await.expect("it is there").dataset_id, fixture.dataset.id);
}
