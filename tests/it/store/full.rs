//! A database that cannot grow.

use matryo::domain::DataDir;
use matryo::store::{Store, StoreError, StoreOptions};

use crate::helpers::rows;

#[tokio::test]
async fn a_full_database_says_so_and_still_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = DataDir::new(folder.path());
    let options = StoreOptions { max_size_bytes: Some(256 << 10), ..StoreOptions::default() };
    let store = Store::open_with(&data_dir.database(), &options).await.expect("it opens");
    let (dataset, model) = rows::inputs(&store, &data_dir).await;
    let ended: Vec<_> = (0..20).map(|_| rows::job(&dataset, &model)).collect();
    for job in &ended {
        store.insert_job(job).await.expect("there is room");
        store.request_cancel(job.id).await.expect("it waits");
    }
    let mut stored = ended.len();
    let error = loop {
        match store.insert_job(&rows::job(&dataset, &model)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10_000, "the database grows without end");
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    let page = store.list_jobs(&Default::default(), None, 10_000).await.expect("it still reads");
    assert_eq!(page.items.len(), stored, "nothing is half stored");

    // Every connection takes part again once there is room.
    for job in &ended {
        store.delete_job(job.id).await.expect("deleting takes no room");
    }
    for _ in 0..10 {
        store.insert_job(&rows::job(&dataset, &model)).await.expect("there is room");
    }
}
