//! Evaluations.

use matryo::domain::EvaluationMetrics;

use super::Fixture;
use crate::helpers::rows;

#[tokio::test]
async fn evaluations_read_back_by_epoch_to_the_last_bit() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    let evaluations = [rows::evaluation(0, 0, 1.0 / 3.0), rows::evaluation(1, 5, 0.1 + 0.2)];
    for evaluation in evaluations.iter().rev() {
        fixture.store.upsert_evaluation(id, evaluation).await.expect("it is stored");
    }
    assert_eq!(fixture.store.evaluations(id).await.expect("they are read"), evaluations);
}

#[tokio::test]
async fn an_epoch_evaluated_again_replaces_all_of_its_values() {
    let fixture = Fixture::new().await;
    let id = fixture.run().await.id;
    fixture.store.upsert_evaluation(id, &rows::evaluation(1, 5, 0.5)).await.expect("it is stored");
    let again = EvaluationMetrics { epoch: 1, step: 6, values: [("dim_32_cosine_ndcg@10".to_owned(), 0.75)].into() };
    fixture.store.upsert_evaluation(id, &again).await.expect("it is replaced");
    assert_eq!(fixture.store.evaluations(id).await.expect("they are read"), [again]);
}
