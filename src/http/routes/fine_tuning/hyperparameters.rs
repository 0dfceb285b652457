//! Hyperparameters between OpenAI's names and ours.
//!
//! | OpenAI's | ours |
//! | --- | --- |
//! | `n_epochs` | `epochs` |
//! | `batch_size` | `per_device_train_batch_size` × `gradient_accumulation_steps`: the pairs of one optimizer step |
//! | `learning_rate_multiplier` | `learning_rate` / 2e-5, the recipe's |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::{FieldError, TrainingArguments};

const BATCH: &str = "per_device_train_batch_size";
const ACCUMULATION: &str = "gradient_accumulation_steps";

/// The learning rate that multiplies: the recipe's.
fn base_learning_rate() -> f64 {
    TrainingArguments::default().learning_rate
}

/// Hyperparameters as OpenAI's API has them, each decided.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Hyperparameters {
    /// Passes over the training file.
    n_epochs: u32,
    /// Pairs of one optimizer step.
    batch_size: usize,
    /// The learning rate's peak, as a multiple of 2e-5.
    learning_rate_multiplier: f64,
}

impl From<&TrainingArguments> for Hyperparameters {
    fn from(arguments: &TrainingArguments) -> Self {
        let multiplier = arguments.learning_rate / base_learning_rate();
        Self {
            n_epochs: arguments.epochs,
            batch_size: arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps,
            // Twelve digits: what was given comes back, and not its neighbour after a product and a quotient.
            learning_rate_multiplier: format!("{multiplier:.11e}").parse().unwrap_or(multiplier),
        }
    }
}

/// Each is `auto`, which is the recipe's value, or a value. Matryo's own hyperparameters may stand beside them.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it only describes the JSON; `Given` takes it apart itself, to find all errors at once")]
pub(super) struct HyperparametersRequest {
    /// Passes over the training file.
    n_epochs: Option<AutoOr<u32>>,
    /// Pairs of one optimizer step; each pair's negatives are the others.
    batch_size: Option<AutoOr<usize>>,
    /// Multiplies the recipe's learning rate of 2e-5.
    learning_rate_multiplier: Option<AutoOr<f64>>,
}

/// A value, or `auto`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum AutoOr<T> {
    /// `auto`.
    Auto(Auto),
    /// A value.
    Value(T),
}

/// What the recipe has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Auto {
    /// `auto`.
    Auto,
}

/// Our hyperparameters as a request gives them, each with the path where it stands.
#[derive(Debug, Default)]
pub(super) struct Given {
    values: BTreeMap<String, (Value, String)>,
    batch_size: Option<(u64, String)>,
    /// What is wrong so far.
    pub(super) errors: Vec<FieldError>,
}

impl Given {
    /// Takes the object at `path`, whose fields bear OpenAI's names or ours.
    pub(super) fn take(&mut self, path: &str, value: Option<&Value>) {
        let fields = match value {
            None | Some(Value::Null) => return,
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                self.errors.push(FieldError::new(path, "an object of hyperparameters is expected"));
                return;
            }
        };
        for (name, value) in fields {
            self.take_field(name, value, format!("{path}.{}", name.chars().take(80).collect::<String>()));
        }
    }

    /// Takes one of our hyperparameters.
    pub(super) fn take_own(&mut self, name: &str, value: Value, path: String) {
        // Of the two names of one thing, the errors of `TrainingArguments` know the first.
        let name = if name == "num_train_epochs" { "epochs" } else { name };
        match self.values.get(name) {
            Some((other, other_path)) if *other != value => {
                let message = format!("it says something else than {other_path}; one of the two is to be left out");
                self.errors.push(FieldError::new(path, message));
            }
            Some(_) => {}
            None => {
                self.values.insert(name.to_owned(), (value, path));
            }
        }
    }

    fn take_field(&mut self, name: &str, value: &Value, path: String) {
        let theirs = ["n_epochs", "batch_size", "learning_rate_multiplier"].contains(&name);
        if theirs && (value.is_null() || value == "auto") {
            return;
        }
        match name {
            "n_epochs" => match value.as_u64() {
                Some(epochs) => self.take_own("epochs", epochs.into(), path),
                None => self.errors.push(FieldError::new(path, "`auto` or a whole number is expected")),
            },
            "batch_size" => match (value.as_u64(), &self.batch_size) {
                (None, _) => self.errors.push(FieldError::new(path, "`auto` or a whole number is expected")),
                (Some(size), Some((other, other_path))) if size != *other => {
                    let message = format!("it says something else than {other_path}; one of the two is to be left out");
                    self.errors.push(FieldError::new(path, message));
                }
                (Some(size), _) => self.batch_size = Some((size, path)),
            },
            "learning_rate_multiplier" => {
                let most = 1.0 / base_learning_rate();
                match value.as_f64().filter(|multiplier| *multiplier > 0.0 && *multiplier <= most) {
                    Some(multiplier) => {
                        self.take_own("learning_rate", (multiplier * base_learning_rate()).into(), path);
                    }
                    None => {
                        let message = format!("`auto` or a number above 0 and at most {most:.0} is expected");
                        self.errors.push(FieldError::new(path, message));
                    }
                }
            }
            own => self.take_own(own, value.clone(), path),
        }
    }

    /// Makes `training` of a job from what was given, and the paths by which to tell what is wrong with it.
    pub(super) fn finish(mut self) -> (Map<String, Value>, BTreeMap<String, String>, Vec<FieldError>) {
        if let Some((size, path)) = self.batch_size.take() {
            self.divide_batch(size, &path);
        }
        let paths = self.values.iter().map(|(name, (_, path))| (name.clone(), path.clone())).collect();
        let training = self.values.into_iter().map(|(name, (value, _))| (name, value)).collect();
        (training, paths, self.errors)
    }

    /// An optimizer step is one micro-batch of that size, unless the request says how it is to be divided.
    fn divide_batch(&mut self, size: u64, path: &str) {
        let given = |name: &str| self.values.get(name).and_then(|(value, _)| value.as_u64()).filter(|value| *value > 0);
        let (name, value) = match (given(BATCH), given(ACCUMULATION)) {
            (None, None) => {
                self.values.insert(ACCUMULATION.to_owned(), (1.into(), path.to_owned()));
                (BATCH, size)
            }
            (Some(batch), None) if size.is_multiple_of(batch) => (ACCUMULATION, size / batch),
            (None, Some(steps)) if size.is_multiple_of(steps) => (BATCH, size / steps),
            (Some(batch), Some(steps)) if batch.checked_mul(steps) == Some(size) => return,
            (batch, steps) => {
                let part = |name, value: Option<u64>| value.map(|value| format!("{name} {value}"));
                let parts: Vec<String> = part(BATCH, batch).into_iter().chain(part(ACCUMULATION, steps)).collect();
                let message = format!("{size} pairs an optimizer step do not go with {}", parts.join(" and "));
                self.errors.push(FieldError::new(path, message));
                return;
            }
        };
        self.values.insert(name.to_owned(), (value.into(), path.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn training(parts: &[(&str, Value)]) -> (Value, Vec<String>) {
        let mut given = Given::default();
        for (path, value) in parts {
            given.take(path, Some(value));
        }
        let (training, _, errors) = given.finish();
        (Value::Object(training), errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn openais_names_become_ours_and_auto_the_recipe() {
        let auto = json!({"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"});
        assert_eq!(training(&[("h", auto)]), (json!({}), vec![]));
        let given = json!({"n_epochs": 3, "batch_size": 48, "learning_rate_multiplier": 0.5, "seed": 7});
        let expected = json!({"epochs": 3, "learning_rate": 1e-5, "seed": 7, BATCH: 48, ACCUMULATION: 1});
        assert_eq!(training(&[("h", given)]), (expected, vec![]));
    }

    #[test]
    fn a_batch_is_divided_as_the_request_says() {
        for (own, expected) in [
            (json!({ACCUMULATION: 4}), Some((12, 4))),
            (json!({BATCH: 16}), Some((16, 3))),
            (json!({BATCH: 24, ACCUMULATION: 2}), Some((24, 2))),
            (json!({BATCH: 32}), None),
            (json!({ACCUMULATION: 5}), None),
            (json!({BATCH: 24, ACCUMULATION: 3}), None),
        ] {
            let (made, errors) = training(&[("h", json!({"batch_size": 48})), ("training", own.clone())]);
            match expected {
                Some((batch, steps)) => {
                    assert_eq!((&made[BATCH], &made[ACCUMULATION]), (&json!(batch), &json!(steps)), "{own}");
                }
                None => assert_eq!(errors, ["h.batch_size"], "{own}"),
            }
        }
    }

    #[test]
    fn the_same_thing_said_twice_must_be_the_same() {
        let (_, errors) = training(&[("h", json!({"n_epochs": 3})), ("training", json!({"num_train_epochs": 3}))]);
        assert!(errors.is_empty());
        let (_, errors) = training(&[
            ("h", json!({"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 2})),
            ("m", json!({"batch_size": 9})),
            ("training", json!({"epochs": 4, "learning_rate": 1e-5})),
        ]);
        assert_eq!(errors, ["m.batch_size", "training.epochs", "training.learning_rate"]);
    }

    #[test]
    fn bad_values_are_told_by_their_path() {
        let bad = json!({"n_epochs": "many", "batch_size": 1.5, "learning_rate_multiplier": 0});
        let (_, errors) = training(&[("h", bad), ("training", json!([]))]);
        assert_eq!(errors, ["h.batch_size", "h.learning_rate_multiplier", "h.n_epochs", "training"]);
    }

    #[test]
    fn a_multiplier_comes_back_as_it_was_given() {
        for multiplier in [0.1, 0.3, 1.0, 1.7, 2.0, 10.0, 123.456] {
            let learning_rate = multiplier * base_learning_rate();
            let arguments = TrainingArguments { learning_rate, ..TrainingArguments::default() };
            let described = Hyperparameters::from(&arguments);
            assert_eq!(described.learning_rate_multiplier, multiplier);
            assert_eq!(described.batch_size, 512);
        }
    }
}
