//! Retrieval metrics as pure functions of ranks, with the formulas of sentence-transformers'
//! InformationRetrievalEvaluator.

use crate::domain::MetricKey;

/// Documents looked at for each query: the largest k of any metric (`map@100`).
pub const MAX_RANK: usize = 100;

const ACCURACY_PRECISION_RECALL_AT: [usize; 4] = [1, 3, 5, 10];
const NDCG_MRR_AT: usize = 10;

/// How a query fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedQuery {
    /// Places, from 0 and ascending, of the documents that answer it among the first [`MAX_RANK`] found.
    pub hits: Vec<u32>,
    /// How many documents of the corpus answer it.
    pub relevant: usize,
}

impl RankedQuery {
    fn hits_before(&self, k: usize) -> usize {
        self.hits.iter().take_while(|place| (**place as usize) < k).count()
    }

    fn ndcg(&self, k: usize) -> f64 {
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let found: f64 = self.hits.iter().map(|place| *place as usize).filter(|place| *place < k).map(gain).sum();
        let ideal: f64 = (0..self.relevant.min(k)).map(gain).sum();
        found / ideal
    }

    fn reciprocal_rank(&self, k: usize) -> f64 {
        self.hits.first().filter(|place| (**place as usize) < k).map_or(0.0, |place| 1.0 / (f64::from(*place) + 1.0))
    }

    fn average_precision(&self, k: usize) -> f64 {
        let precisions = self.hits.iter().take(self.hits_before(k)).enumerate();
        let sum: f64 = precisions.map(|(before, place)| (before as f64 + 1.0) / (f64::from(*place) + 1.0)).sum();
        sum / self.relevant.min(k) as f64
    }
}

/// Every metric at one dimension, each the mean over `queries`. As in sentence-transformers, a query that nothing
/// answers is left out; all metrics are 0 where no query is left.
#[must_use]
pub fn metrics_at_dim(dim: usize, queries: &[RankedQuery]) -> Vec<(MetricKey, f64)> {
    let answered: Vec<&RankedQuery> = queries.iter().filter(|query| query.relevant > 0).collect();
    let mut values = Vec::with_capacity(MetricKey::NAMES.len());
    let mut mean = |name: &str, of: &dyn Fn(&RankedQuery) -> f64| {
        let sum: f64 = answered.iter().map(|query| of(query)).sum();
        let key = MetricKey::new(dim, name).expect("the name is listed");
        // An empty sum of floats is -0; adding 0 makes it 0.
        values.push((key, if answered.is_empty() { 0.0 } else { sum / answered.len() as f64 + 0.0 }));
    };
    for k in ACCURACY_PRECISION_RECALL_AT {
        mean(&format!("accuracy@{k}"), &|query| f64::from(u8::from(query.hits_before(k) > 0)));
        mean(&format!("precision@{k}"), &|query| query.hits_before(k) as f64 / k as f64);
        mean(&format!("recall@{k}"), &|query| query.hits_before(k) as f64 / query.relevant as f64);
    }
    mean("ndcg@10", &|query| query.ndcg(NDCG_MRR_AT));
    mean("mrr@10", &|query| query.reciprocal_rank(NDCG_MRR_AT));
    mean("map@100", &|query| query.average_precision(MAX_RANK));
    values
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn values(queries: &[RankedQuery]) -> BTreeMap<&'static str, f64> {
        metrics_at_dim(64, queries).into_iter().map(|(key, value)| (key.name(), value)).collect()
    }

    #[test]
    fn hand_made_ranks() {
        // Two answers at places 1 and 5 of the list, one of three not found; one answer at place 12; none found.
        let queries = [
            RankedQuery { hits: vec![1, 5], relevant: 3 },
            RankedQuery { hits: vec![12], relevant: 1 },
            RankedQuery { hits: vec![], relevant: 2 },
            RankedQuery { hits: vec![0], relevant: 1 },
        ];
        let found = values(&queries);
        let ndcg_of_first = (1.0 / 3_f64.log2() + 1.0 / 7_f64.log2()) / (1.0 + 1.0 / 3_f64.log2() + 0.5);
        let expected = [
            ("accuracy@1", 0.25),
            ("accuracy@3", 0.5),
            ("accuracy@10", 0.5),
            ("precision@1", 0.25),
            ("precision@3", (1.0 / 3.0 + 1.0 / 3.0) / 4.0),
            ("precision@10", (0.2 + 0.1) / 4.0),
            ("recall@1", 0.25),
            ("recall@3", (1.0 / 3.0 + 1.0) / 4.0),
            ("recall@10", (2.0 / 3.0 + 1.0) / 4.0),
            ("ndcg@10", (ndcg_of_first + 1.0) / 4.0),
            ("mrr@10", (0.5 + 1.0) / 4.0),
            ("map@100", ((0.5 + 2.0 / 6.0) / 3.0 + 1.0 / 13.0 + 1.0) / 4.0),
        ];
        for (name, value) in expected {
            assert!((found[name] - value).abs() < 1e-12, "{name}: {}, not {value}", found[name]);
        }
        assert_eq!(found.len(), MetricKey::NAMES.len());
    }

    #[test]
    fn queries_without_answers_do_not_count() {
        let answered = RankedQuery { hits: vec![0], relevant: 1 };
        let unanswerable = RankedQuery { hits: vec![], relevant: 0 };
        assert_eq!(values(&[answered.clone(), unanswerable.clone()]), values(&[answered]));
        assert!(values(&[unanswerable]).values().all(|value| *value == 0.0));
    }

    #[test]
    fn nothing_found_is_zero_and_not_minus_zero() {
        let missed = RankedQuery { hits: vec![], relevant: 1 };
        assert!(values(&[missed]).values().all(|value| *value == 0.0 && value.is_sign_positive()));
    }

    #[test]
    fn map_divides_by_no_more_than_its_k() {
        let all_hundred = RankedQuery { hits: (0..100).collect(), relevant: 250 };
        assert!((values(&[all_hundred])["map@100"] - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn metrics_stay_in_bounds_and_order(
            queries in proptest::collection::vec(
                (proptest::collection::btree_set(0..100_u32, 0..20), 0..30_usize), 1..20)
        ) {
            let queries: Vec<RankedQuery> = queries
                .into_iter()
                .map(|(hits, more)| RankedQuery { relevant: hits.len() + more, hits: hits.into_iter().collect() })
                .collect();
            let found = values(&queries);
            for (name, value) in &found {
                prop_assert!((0.0..=1.0 + 1e-12).contains(value), "{name} is {value}");
            }
            for name in ["accuracy", "recall"] {
                for (k, larger) in [(1, 3), (3, 5), (5, 10)] {
                    let at = |k: i32| found[format!("{name}@{k}").as_str()];
                    prop_assert!(at(k) <= at(larger));
                }
            }
            prop_assert!(found["mrr@10"] <= found["accuracy@10"] + 1e-12);
            prop_assert!(found["accuracy@1"] <= found["mrr@10"] + 1e-12);
        }
    }
}
