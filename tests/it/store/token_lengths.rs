//! Token-length histograms that are kept.

use matryo::domain::ModelId;

use super::{Fixture, conflict};

#[tokio::test]
async fn a_histogram_is_kept_until_its_dataset_goes() {
    let fixture = Fixture::new().await;
    let (dataset, model) = (fixture.dataset.id, fixture.model.id);
    assert_eq!(fixture.store.get_token_lengths::<Vec<u32>>(dataset, model).await.expect("it is looked for"), None);
    for histogram in [vec![1, 2], vec![3]] {
        fixture.store.put_token_lengths(dataset, model, &histogram).await.expect("it is kept");
        let kept = fixture.store.get_token_lengths::<Vec<u32>>(dataset, model).await.expect("it is looked for");
        assert_eq!(kept, Some(histogram));
    }
    fixture.store.delete_dataset(dataset).await.expect("it is deleted");
    assert_eq!(fixture.store.get_token_lengths::<Vec<u32>>(dataset, model).await.expect("it is looked for"), None);
}

#[tokio::test]
async fn none_is_kept_of_what_is_gone() {
    let fixture = Fixture::new().await;
    let put = fixture.store.put_token_lengths(fixture.dataset.id, ModelId::generate(), &[1]).await;
    assert!(conflict(&put.expect_err("there is no such model")).contains("deleted meanwhile"));
}
