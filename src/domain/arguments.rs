//! A job's hyperparameters, under the names that sentence-transformers' arguments have.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{FieldError, MetricKey, Precision};

/// How the learning rate goes after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// Half a cosine down to 0.
    Cosine,
    /// A straight line down to 0.
    Linear,
    /// Stays where the warm-up ends.
    #[serde(alias = "constant_with_warmup")]
    Constant,
}

/// How rows become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchSampler {
    /// No text twice in one batch, since the second would be a false negative of the first.
    NoDuplicates,
    /// Shuffled, nothing else.
    BatchSampler,
}

/// A job's hyperparameters. The defaults are the recipe's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Passes over the training rows.
    #[serde(alias = "num_train_epochs")]
    pub epochs: u32,
    /// Pairs per micro-batch; each pair's negatives are the others of its micro-batch.
    pub per_device_train_batch_size: usize,
    /// Micro-batches per optimizer step.
    pub gradient_accumulation_steps: usize,
    /// The learning rate's peak.
    pub learning_rate: f64,
    /// The share of all steps over which the learning rate rises from 0.
    pub warmup_ratio: f64,
    /// How the learning rate goes after that.
    pub lr_scheduler_type: LrSchedulerType,
    /// AdamW's decoupled weight decay; biases and layer norms are spared.
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f64,
    /// AdamW's guard against division by zero.
    pub adam_epsilon: f64,
    /// The gradient is scaled down to this norm where it is longer; 0 leaves it as it is.
    pub max_grad_norm: f64,
    /// Seeds shuffling and dropout.
    pub seed: u64,
    /// How rows become batches.
    pub batch_sampler: BatchSampler,
    /// Embedding lengths trained for and evaluated at; by default the model's own, 512, 256, 128 and 64, those that fit.
    pub matryoshka_dims: Option<Vec<usize>>,
    /// The weight of each dimension's loss, in the order of `matryoshka_dims`; by default 1 each.
    pub matryoshka_weights: Option<Vec<f64>>,
    /// Cosine similarities are multiplied by this before the softmax (1 / temperature).
    pub scale: f64,
    /// The numbers that matrix products are computed in, in training and in its evaluations.
    pub precision: Precision,
    /// Cuts texts to fewer tokens than the model's own limit.
    pub max_seq_length: Option<usize>,
    /// Steps between two log events of loss, learning rate and gradient norm.
    pub logging_steps: u64,
    /// Checkpoints kept; the best is always kept.
    pub save_total_limit: usize,
    /// The metric that decides which checkpoint is best; `ndcg@10` at 128 by default, or at the next larger
    /// dimension (the largest where none is) if 128 is not trained for.
    pub metric_for_best_model: Option<String>,
    /// Makes identical passages one document of the evaluation's corpus.
    pub deduplicate_corpus: bool,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            epochs: 4,
            per_device_train_batch_size: 32,
            gradient_accumulation_steps: 16,
            learning_rate: 2e-5,
            warmup_ratio: 0.1,
            lr_scheduler_type: LrSchedulerType::Cosine,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            seed: 42,
            batch_sampler: BatchSampler::NoDuplicates,
            matryoshka_dims: None,
            matryoshka_weights: None,
            scale: 20.0,
            precision: Precision::Auto,
            max_seq_length: None,
            logging_steps: 10,
            save_total_limit: 3,
            metric_for_best_model: None,
            deduplicate_corpus: false,
        }
    }
}

impl TrainingArguments {
    /// Reads a JSON object, filling in defaults.
    ///
    /// # Errors
    /// Every field that is unknown or of the wrong type, at once.
    pub fn from_json(fields: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        // serde stops at the first error; a field at a time, it names them all.
        let errors: Vec<FieldError> = fields
            .iter()
            .filter_map(|(field, value)| {
                let alone = Map::from_iter([(field.clone(), value.clone())]);
                let error = serde_json::from_value::<Self>(Value::Object(alone)).err()?;
                Some(FieldError::new(field, error.to_string()))
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        serde_json::from_value(Value::Object(fields.clone()))
            .map_err(|error| vec![FieldError::new("training", error.to_string())])
    }

    /// Checks every value and fills in what depends on the model, so that the result holds no `None` but
    /// `max_seq_length`. Dimensions are sorted in descending order, their weights with them.
    ///
    /// # Errors
    /// Every field with a bad value, at once.
    pub fn resolve(&self, model_dimension: usize, model_max_seq_length: usize) -> Result<Self, Vec<FieldError>> {
        let mut errors = self.range_errors();
        let mut resolved = self.clone();
        match self.resolve_dims(model_dimension) {
            Ok((dims, weights)) => {
                match self.resolve_metric(&dims) {
                    Ok(metric) => resolved.metric_for_best_model = Some(metric),
                    Err(error) => errors.push(error),
                }
                resolved.matryoshka_dims = Some(dims);
                resolved.matryoshka_weights = Some(weights);
            }
            Err(mut found) => errors.append(&mut found),
        }
        if let Some(length) = self.max_seq_length
            && !(3..=model_max_seq_length).contains(&length)
        {
            errors.push(FieldError::new(
                "max_seq_length",
                format!("{length} is not from 3 to the model's limit of {model_max_seq_length}"),
            ));
        }
        if errors.is_empty() { Ok(resolved) } else { Err(errors) }
    }

    /// The dimensions that a model is trained for where none are given.
    #[must_use]
    pub fn default_dims(model_dimension: usize) -> Vec<usize> {
        let shorter = [512, 256, 128, 64].into_iter().filter(|dim| *dim < model_dimension);
        std::iter::once(model_dimension).chain(shorter).collect()
    }

    /// The dimensions of resolved arguments, in descending order.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.matryoshka_dims.as_deref().unwrap_or_default()
    }

    /// Optimizer steps of an epoch over so many rows, and of the whole run. Where texts occur more than once and no batch
    /// may hold one twice, batches are more, and so may steps be.
    #[must_use]
    pub fn least_steps(&self, train_rows: u64) -> (u64, u64) {
        let batches = train_rows.div_ceil(self.per_device_train_batch_size.max(1) as u64);
        let steps = batches.div_ceil(self.gradient_accumulation_steps.max(1) as u64);
        (steps, steps.saturating_mul(self.epochs.into()))
    }

    fn range_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut check = |field: &str, ok: bool, value: String, expected: &str| {
            if !ok {
                errors.push(FieldError::new(field, format!("{value} is not {expected}")));
            }
        };
        let count = |value: usize, most: usize| (1..=most).contains(&value);
        check("epochs", count(self.epochs as usize, 1000), self.epochs.to_string(), "from 1 to 1000");
        let batch = self.per_device_train_batch_size;
        check("per_device_train_batch_size", (2..=65_536).contains(&batch), batch.to_string(), "from 2 to 65536");
        let accumulation = self.gradient_accumulation_steps;
        check("gradient_accumulation_steps", count(accumulation, 65_536), accumulation.to_string(), "from 1 to 65536");
        let lr = self.learning_rate;
        check("learning_rate", lr > 0.0 && lr <= 1.0, lr.to_string(), "above 0 and at most 1");
        let ratio = self.warmup_ratio;
        check("warmup_ratio", (0.0..=1.0).contains(&ratio), ratio.to_string(), "from 0 to 1");
        let decay = self.weight_decay;
        check("weight_decay", (0.0..=1.0).contains(&decay), decay.to_string(), "from 0 to 1");
        for (field, beta) in [("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)] {
            check(field, (0.0..1.0).contains(&beta), beta.to_string(), "from 0 to below 1");
        }
        let epsilon = self.adam_epsilon;
        check("adam_epsilon", epsilon > 0.0 && epsilon <= 1.0, epsilon.to_string(), "above 0 and at most 1");
        let norm = self.max_grad_norm;
        check("max_grad_norm", (0.0..=1e6).contains(&norm), norm.to_string(), "from 0 to 1e6");
        // Readers of JSON in other languages hold larger integers as doubles, and would change the seed.
        check("seed", self.seed < 1 << 53, self.seed.to_string(), "below 2^53");
        check("scale", self.scale > 0.0 && self.scale <= 1000.0, self.scale.to_string(), "above 0 and at most 1000");
        let steps = self.logging_steps;
        check("logging_steps", (1..=1_000_000).contains(&steps), steps.to_string(), "from 1 to 1000000");
        let limit = self.save_total_limit;
        check("save_total_limit", count(limit, 1000), limit.to_string(), "from 1 to 1000");
        errors
    }

    fn resolve_dims(&self, model_dimension: usize) -> Result<(Vec<usize>, Vec<f64>), Vec<FieldError>> {
        let dims = self.matryoshka_dims.clone().unwrap_or_else(|| Self::default_dims(model_dimension));
        let mut errors = Vec::new();
        if dims.is_empty() || dims.len() > 32 {
            errors
                .push(FieldError::new("matryoshka_dims", format!("{} dimensions given, 1 to 32 expected", dims.len())));
        }
        for dim in dims.iter().filter(|dim| !(1..=model_dimension).contains(dim)).take(32) {
            errors.push(FieldError::new(
                "matryoshka_dims",
                format!("{dim} is not from 1 to the model's dimension of {model_dimension}"),
            ));
        }
        let weights = self.matryoshka_weights.clone().unwrap_or_else(|| vec![1.0; dims.len()]);
        if weights.len() != dims.len() {
            errors.push(FieldError::new(
                "matryoshka_weights",
                format!("{} weights given for {} dimensions", weights.len(), dims.len()),
            ));
        }
        if weights.iter().any(|weight| !(*weight >= 0.0 && *weight <= 1e6)) || weights.iter().sum::<f64>() <= 0.0 {
            errors
                .push(FieldError::new("matryoshka_weights", "weights from 0 to 1e6 are expected, one of them above 0"));
        }
        let mut weighted: Vec<(usize, f64)> = dims.into_iter().zip(weights).collect();
        weighted.sort_by_key(|(dim, _)| std::cmp::Reverse(*dim));
        if weighted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            errors.push(FieldError::new("matryoshka_dims", "a dimension is given twice"));
        }
        if errors.is_empty() { Ok(weighted.into_iter().unzip()) } else { Err(errors) }
    }

    fn resolve_metric(&self, dims: &[usize]) -> Result<String, FieldError> {
        let error = |message: String| FieldError::new("metric_for_best_model", message);
        let Some(name) = &self.metric_for_best_model else {
            let dim = dims.iter().copied().filter(|dim| *dim >= 128).min().unwrap_or(dims[0]);
            return Ok(format!("dim_{dim}_cosine_ndcg@10"));
        };
        if name.trim_start_matches("eval_") == "sequential_score" {
            return Ok("sequential_score".into());
        }
        let key: MetricKey = name.parse().map_err(error)?;
        if dims.contains(&key.dim) {
            Ok(key.to_string())
        } else {
            Err(error(format!("dimension {} is not among matryoshka_dims {dims:?}", key.dim)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).expect("the test writes JSON")
    }

    #[test]
    fn an_empty_object_is_the_recipe() {
        let arguments = TrainingArguments::from_json(&fields("{}")).expect("nothing is wrong");
        let resolved = arguments.resolve(768, 512).expect("nothing is wrong");
        assert_eq!(resolved.dims(), [768, 512, 256, 128, 64]);
        assert_eq!(resolved.metric_for_best_model.as_deref(), Some("dim_128_cosine_ndcg@10"));
        assert_eq!(resolved.epochs, 4);
    }

    #[test]
    fn all_wrong_types_and_names_are_reported_at_once() {
        let errors = TrainingArguments::from_json(&fields(r#"{"epochs": "four", "learning_rte": 1, "seed": -1}"#))
            .expect_err("three fields are wrong");
        let mut names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["epochs", "learning_rte", "seed"]);
    }

    #[test]
    fn all_bad_values_are_reported_at_once() {
        let json = r#"{"epochs": 0, "learning_rate": -1, "warmup_ratio": 1.5, "matryoshka_dims": [64, 1000],
            "matryoshka_weights": [1], "max_seq_length": 9999}"#;
        let errors = TrainingArguments::from_json(&fields(json)).expect("the types are right").resolve(384, 256);
        let names: Vec<_> = errors.expect_err("six are wrong").into_iter().map(|error| error.field).collect();
        for field in
            ["epochs", "learning_rate", "warmup_ratio", "matryoshka_dims", "matryoshka_weights", "max_seq_length"]
        {
            assert!(names.contains(&field.to_owned()), "{field} is missing from {names:?}");
        }
    }

    #[test]
    fn steps_are_counted_with_the_last_short_batch_and_window() {
        let arguments = TrainingArguments::default();
        // 197 batches of at most 32, 16 of them a step.
        assert_eq!(arguments.least_steps(6300), (13, 52));
        assert_eq!(arguments.least_steps(1), (1, 4));
        assert_eq!(arguments.least_steps(0), (0, 0));
    }

    #[test]
    fn dims_are_sorted_with_their_weights() {
        let json = r#"{"matryoshka_dims": [64, 384, 128], "matryoshka_weights": [3, 1, 2]}"#;
        let resolved =
            TrainingArguments::from_json(&fields(json)).and_then(|given| given.resolve(384, 256)).expect("fine");
        assert_eq!(resolved.dims(), [384, 128, 64]);
        assert_eq!(resolved.matryoshka_weights, Some(vec![1.0, 2.0, 3.0]));
    }

    #[test]
    fn the_best_metric_is_checked_against_the_dimensions() {
        for (metric, fits) in [
            ("dim_128_cosine_ndcg@10", true),
            ("eval_dim_64_cosine_map@100", true),
            ("sequential_score", true),
            ("dim_512_cosine_ndcg@10", false),
            ("ndcg", false),
        ] {
            let arguments =
                TrainingArguments { metric_for_best_model: Some(metric.into()), ..TrainingArguments::default() };
            assert_eq!(arguments.resolve(384, 256).is_ok(), fits, "{metric}");
        }
    }
}
