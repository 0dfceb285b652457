//! A job's hyperparameters as fields of a form: how each is called, explained and read.

use serde_json::{Map, Number, Value};

use crate::domain::TrainingArguments;

/// What stands before an argument's name in the form, as in the paths of the API's errors.
pub(super) const PREFIX: &str = "training.";

/// Where an argument stands in the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// What people change most; always in sight.
    Main,
    Optimizer,
    Loss,
    Batches,
    Checkpoints,
}

impl Group {
    /// The groups that stand under "More", in their order.
    pub(super) const MORE: [(Self, &'static str); 4] = [
        (Self::Optimizer, "Optimizer and schedule"),
        (Self::Loss, "Loss and dimensions"),
        (Self::Batches, "Batches and numbers"),
        (Self::Checkpoints, "Evaluation and checkpoints"),
    ];
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Decimal,
    /// Numbers with commas or spaces between them.
    List,
    /// A word; the placeholder says what holds where it is left blank.
    Text,
    Flag,
    /// One of these values, each with what it is called.
    Choice(&'static [(&'static str, &'static str)]),
}

/// One argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    /// Its name in the API.
    pub(super) name: &'static str,
    /// What people call it.
    pub(super) label: &'static str,
    /// What it is called in sentence-transformers.
    pub(super) theirs: &'static str,
    /// What it does, in a sentence.
    pub(super) help: &'static str,
    /// What holds where it is left blank, if that depends on something else.
    pub(super) blank: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) group: Group,
}

impl Argument {
    const fn new(group: Group, kind: Kind, name: &'static str, label: &'static str, help: &'static str) -> Self {
        Self { name, label, theirs: name, help, blank: None, kind, group }
    }

    const fn theirs(mut self, theirs: &'static str) -> Self {
        self.theirs = theirs;
        self
    }

    const fn blank(mut self, blank: &'static str) -> Self {
        self.blank = Some(blank);
        self
    }

    /// The field's name in the form.
    pub(super) fn field(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

const SCHEDULERS: &[(&str, &str)] = &[
    ("cosine", "cosine: half a cosine down to 0"),
    ("linear", "linear: straight down to 0"),
    ("constant", "constant"),
];
const SAMPLERS: &[(&str, &str)] =
    &[("no_duplicates", "no duplicates in a batch"), ("batch_sampler", "shuffled, nothing else")];
const PRECISIONS: &[(&str, &str)] = &[
    ("auto", "auto: bfloat16 where the hardware computes it"),
    ("float32", "float32: as exact as PyTorch"),
    ("bf16", "bfloat16: faster"),
];

/// Every argument, in the order of the form.
pub(super) const ARGUMENTS: [Argument; 22] = [
    Argument::new(
        Group::Main,
        Kind::Integer,
        "epochs",
        "Epochs",
        "How often training goes over all rows; the model is evaluated and saved after each.",
    )
    .theirs("num_train_epochs"),
    Argument::new(
        Group::Main,
        Kind::Integer,
        "per_device_train_batch_size",
        "Batch size",
        "Pairs that are compared with each other at a time: the others' passages are each question's wrong answers, so more \
         make the task harder and the model better, and take more memory.",
    ),
    Argument::new(
        Group::Main,
        Kind::Integer,
        "gradient_accumulation_steps",
        "Gradient accumulation",
        "Batches whose gradients are put together before the weights move.",
    ),
    Argument::new(
        Group::Main,
        Kind::Decimal,
        "learning_rate",
        "Learning rate",
        "How far the weights move with each step, at its peak.",
    ),
    Argument::new(
        Group::Main,
        Kind::List,
        "matryoshka_dims",
        "Dimensions",
        "The lengths at which embeddings are to be good: each is trained for and evaluated, so that you can choose the \
         shortest that does.",
    )
    .blank("the model's own, 512, 256, 128 and 64, as far as they fit"),
    Argument::new(
        Group::Main,
        Kind::Integer,
        "max_seq_length",
        "Tokens per text",
        "Longer texts are cut to so many tokens; fewer make training faster.",
    )
    .blank("the model's limit"),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "warmup_ratio",
        "Warm-up",
        "The share of all steps over which the learning rate rises from 0 to its peak.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Choice(SCHEDULERS),
        "lr_scheduler_type",
        "Schedule",
        "How the learning rate falls after the warm-up.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "weight_decay",
        "Weight decay",
        "How strongly AdamW draws weights towards 0; biases and layer norms are spared.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "adam_beta1",
        "Adam's beta 1",
        "How slowly AdamW's mean of past gradients changes.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "adam_beta2",
        "Adam's beta 2",
        "How slowly AdamW's mean of past squared gradients changes.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "adam_epsilon",
        "Adam's epsilon",
        "A small number that keeps AdamW from dividing by 0.",
    ),
    Argument::new(
        Group::Optimizer,
        Kind::Decimal,
        "max_grad_norm",
        "Gradient clipping",
        "Longer gradients are scaled down to this length, so that an odd batch cannot throw the model off; 0 clips none.",
    ),
    Argument::new(
        Group::Loss,
        Kind::List,
        "matryoshka_weights",
        "Weights of the dimensions",
        "How much each dimension counts in the loss, in the order in which the dimensions are given.",
    )
    .blank("1 each"),
    Argument::new(
        Group::Loss,
        Kind::Decimal,
        "scale",
        "Scale",
        "Similarities are multiplied by this before they compete (1 / temperature): larger makes near misses count more.",
    ),
    Argument::new(
        Group::Batches,
        Kind::Choice(SAMPLERS),
        "batch_sampler",
        "Batches",
        "How rows become batches; the same text twice in one would count as a wrong answer to itself.",
    ),
    Argument::new(
        Group::Batches,
        Kind::Integer,
        "seed",
        "Seed",
        "Decides the order of rows and the dropout: the same seed gives the same model.",
    ),
    Argument::new(
        Group::Batches,
        Kind::Choice(PRECISIONS),
        "precision",
        "Precision",
        "The numbers that matrix products are computed in; weights and sums are float32 always.",
    )
    .theirs("bf16"),
    Argument::new(
        Group::Checkpoints,
        Kind::Text,
        "metric_for_best_model",
        "Best by",
        "The metric that decides which epoch's model is the best, such as dim_128_cosine_ndcg@10.",
    )
    .blank("ndcg@10 at 128 dimensions, or at the next larger one"),
    Argument::new(
        Group::Checkpoints,
        Kind::Integer,
        "save_total_limit",
        "Checkpoints kept",
        "The last so many epochs' models stay on disk, and the best always.",
    ),
    Argument::new(
        Group::Checkpoints,
        Kind::Integer,
        "logging_steps",
        "Steps between log lines",
        "How often loss, learning rate and gradient norm are told.",
    ),
    Argument::new(
        Group::Checkpoints,
        Kind::Flag,
        "deduplicate_corpus",
        "One document for identical passages",
        "Evaluates with each passage once; otherwise identical ones stand in each other's way, as they do in \
         sentence-transformers.",
    )
    .theirs(""),
];

/// The arguments as the API takes them. What is left blank is left out; what is no number stays a text, for the API's own
/// check to refuse.
pub(super) fn to_json<'v>(value_of: impl Fn(&str) -> &'v str) -> Map<String, Value> {
    let mut json = Map::new();
    for argument in &ARGUMENTS {
        let text = value_of(&argument.field()).trim();
        let value = match argument.kind {
            Kind::Flag => Value::Bool(!text.is_empty()),
            _ if text.is_empty() => continue,
            Kind::Integer | Kind::Decimal => number(text),
            Kind::List => {
                let items = text.split(|char: char| char == ',' || char.is_whitespace());
                Value::Array(items.filter(|item| !item.is_empty()).map(number).collect())
            }
            Kind::Text | Kind::Choice(_) => Value::String(text.to_owned()),
        };
        json.insert(argument.name.to_owned(), value);
    }
    json
}

fn number(text: &str) -> Value {
    let integer = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok();
    let number = integer.or_else(|| Number::from_f64(text.parse().ok()?));
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// The form's fields that stand for these arguments, the recipe's to begin with.
pub(super) fn to_fields(arguments: &TrainingArguments) -> Vec<(String, String)> {
    let json = serde_json::to_value(arguments).expect("arguments are representable in JSON");
    let text = |value: &Value| match value {
        Value::Null | Value::Bool(false) => String::new(),
        Value::Bool(true) => "on".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    ARGUMENTS.iter().map(|argument| (argument.field(), text(&json[argument.name]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BatchSampler, LrSchedulerType, Precision};

    fn read(fields: &[(String, String)]) -> Map<String, Value> {
        to_json(|name| fields.iter().find(|(field, _)| field == name).map_or("", |(_, text)| text))
    }

    #[test]
    fn every_argument_has_a_field_and_every_field_is_an_argument() {
        let json = serde_json::to_value(TrainingArguments::default()).unwrap();
        let mut expected: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut found: Vec<&str> = ARGUMENTS.iter().map(|argument| argument.name).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        for Argument { label, help, name, .. } in &ARGUMENTS {
            assert!(!label.is_empty() && help.ends_with('.') && help.len() > 20, "{name}");
        }
    }

    #[test]
    fn arguments_survive_the_form() {
        let default = TrainingArguments::default();
        assert_eq!(TrainingArguments::from_json(&read(&to_fields(&default))), Ok(default.clone()));
        let other = TrainingArguments {
            epochs: 1,
            learning_rate: 3.5e-7,
            lr_scheduler_type: LrSchedulerType::Linear,
            adam_epsilon: 1e-12,
            seed: (1 << 53) - 1,
            batch_sampler: BatchSampler::BatchSampler,
            matryoshka_dims: Some(vec![384, 128]),
            matryoshka_weights: Some(vec![1.0, 0.3]),
            precision: Precision::Bf16,
            max_seq_length: Some(128),
            metric_for_best_model: Some("dim_128_cosine_map@100".into()),
            deduplicate_corpus: true,
            ..default
        };
        assert_eq!(TrainingArguments::from_json(&read(&to_fields(&other))), Ok(other));
    }

    #[test]
    fn choices_are_what_the_arguments_take() {
        for argument in &ARGUMENTS {
            if let Kind::Choice(choices) = argument.kind {
                for (value, _) in choices {
                    let json = Map::from_iter([(argument.name.to_owned(), Value::String((*value).to_owned()))]);
                    TrainingArguments::from_json(&json).unwrap();
                }
            }
        }
    }

    #[test]
    fn what_is_blank_is_left_out_and_what_is_no_number_is_refused_by_name() {
        let fields = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, text)| (format!("{PREFIX}{name}"), (*text).to_owned())).collect()
        };
        let json = read(&fields(&[("epochs", " "), ("seed", " 7 "), ("matryoshka_dims", "64 32,16")]));
        assert_eq!(
            Value::Object(json),
            serde_json::json!({"seed": 7, "matryoshka_dims": [64, 32, 16], "deduplicate_corpus": false})
        );
        let json = read(&fields(&[("epochs", "four"), ("seed", "-1"), ("scale", "1e999"), ("matryoshka_dims", "big")]));
        let errors = TrainingArguments::from_json(&json).unwrap_err();
        let mut names: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["epochs", "matryoshka_dims", "scale", "seed"]);
    }
}
