//! Retrieval metrics, under the keys that sentence-transformers gives them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The metrics that an evaluation reports at each dimension, in the order they are shown.
const NAMES: [&str; 15] = [
    "accuracy@1",
    "accuracy@3",
    "accuracy@5",
    "accuracy@10",
    "precision@1",
    "precision@3",
    "precision@5",
    "precision@10",
    "recall@1",
    "recall@3",
    "recall@5",
    "recall@10",
    "ndcg@10",
    "mrr@10",
    "map@100",
];

/// Names one metric at one dimension; written `dim_128_cosine_ndcg@10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricKey {
    /// The embedding's length after truncation.
    pub dim: usize,
    name: &'static str,
}

impl MetricKey {
    /// Every metric's name at one dimension, in the order they are shown.
    pub const NAMES: [&'static str; 15] = NAMES;

    /// Names the metric `name` (such as `ndcg@10`) at `dim`; none where no metric is called so.
    #[must_use]
    pub fn new(dim: usize, name: &str) -> Option<Self> {
        NAMES.iter().find(|known| **known == name).map(|name| Self { dim, name })
    }

    /// The metric's name without the dimension, such as `ndcg@10`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for MetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dim_{}_cosine_{}", self.dim, self.name)
    }
}

impl FromStr for MetricKey {
    type Err = String;

    /// Reads `dim_128_cosine_ndcg@10`, with or without the `eval_` that the Hugging Face trainer puts before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = text.strip_prefix("eval_").unwrap_or(text);
        key.strip_prefix("dim_")
            .and_then(|rest| rest.split_once("_cosine_"))
            .and_then(|(dim, name)| Self::new(dim.parse().ok()?, name))
            .ok_or_else(|| {
                format!("`{text}` is not a metric; expected `dim_<dim>_cosine_<name>` with one of {}", NAMES.join(", "))
            })
    }
}

/// One evaluation's metrics at every dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvaluationMetrics {
    /// The epoch it closes; 0 is the baseline before training.
    pub epoch: u32,
    /// Optimizer steps done by then.
    pub step: u64,
    /// Values by key (`dim_128_cosine_ndcg@10`), and `sequential_score`: `ndcg@10` at the last dimension, as
    /// sentence-transformers' SequentialEvaluator has it.
    pub values: BTreeMap<String, f64>,
}

impl EvaluationMetrics {
    /// The value at a key; none where the evaluation does not hold it.
    #[must_use]
    pub fn get(&self, key: MetricKey) -> Option<f64> {
        self.values.get(&key.to_string()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        for name in MetricKey::NAMES {
            let key = MetricKey::new(128, name).expect("it is listed");
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(format!("eval_{key}").parse(), Ok(key));
        }
        for text in ["", "ndcg@10", "dim_128_cosine_ndcg@7", "dim_x_cosine_ndcg@10", "dim_128_dot_ndcg@10"] {
            assert!(text.parse::<MetricKey>().is_err(), "{text}");
        }
    }
}
