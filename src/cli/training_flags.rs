//! A run's hyperparameters as flags, named as sentence-transformers names its arguments.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::de::DeserializeOwned;

use crate::domain::{BatchSampler, LrSchedulerType, Precision, TrainingArguments};

/// Every field of [`TrainingArguments`].
#[derive(Debug, Args)]
#[command(next_help_heading = "Training arguments")]
pub(super) struct TrainingFlags {
    /// Passes over the training rows.
    #[arg(long, aliases = ["num-train-epochs", "num_train_epochs"], value_name = "COUNT",
        default_value_t = TrainingArguments::default().epochs)]
    epochs: u32,

    /// Pairs per micro-batch; each pair's negatives are the others of its micro-batch.
    #[arg(long, aliases = ["per_device_train_batch_size", "batch-size", "batch_size"], value_name = "COUNT",
        default_value_t = TrainingArguments::default().per_device_train_batch_size)]
    per_device_train_batch_size: usize,

    /// Micro-batches per optimizer step.
    #[arg(long, alias = "gradient_accumulation_steps", value_name = "COUNT",
        default_value_t = TrainingArguments::default().gradient_accumulation_steps)]
    gradient_accumulation_steps: usize,

    /// The learning rate's peak.
    #[arg(long, alias = "learning_rate", value_name = "RATE",
        default_value_t = TrainingArguments::default().learning_rate)]
    learning_rate: f64,

    /// The share of all steps over which the learning rate rises from 0.
    #[arg(long, alias = "warmup_ratio", value_name = "SHARE",
        default_value_t = TrainingArguments::default().warmup_ratio)]
    warmup_ratio: f64,

    /// How the learning rate goes after that.
    #[arg(long, alias = "lr_scheduler_type", value_name = "NAME", default_value = "cosine",
        value_parser = PossibleValuesParser::new(["cosine", "linear", "constant", "constant_with_warmup"]))]
    lr_scheduler_type: String,

    /// AdamW's decoupled weight decay; biases and layer norms are spared.
    #[arg(long, alias = "weight_decay", value_name = "RATE",
        default_value_t = TrainingArguments::default().weight_decay)]
    weight_decay: f64,

    /// AdamW's decay of the first moment.
    #[arg(long, alias = "adam_beta1", value_name = "RATE", default_value_t = TrainingArguments::default().adam_beta1)]
    adam_beta1: f64,

    /// AdamW's decay of the second moment.
    #[arg(long, alias = "adam_beta2", value_name = "RATE", default_value_t = TrainingArguments::default().adam_beta2)]
    adam_beta2: f64,

    /// AdamW's guard against division by zero.
    #[arg(long, alias = "adam_epsilon", value_name = "NUMBER",
        default_value_t = TrainingArguments::default().adam_epsilon)]
    adam_epsilon: f64,

    /// The gradient is scaled down to this norm where it is longer; 0 leaves it as it is.
    #[arg(long, alias = "max_grad_norm", value_name = "NORM",
        default_value_t = TrainingArguments::default().max_grad_norm)]
    max_grad_norm: f64,

    /// Seeds shuffling and dropout, and of `matryo train` the split by `--test-size`.
    #[arg(long, value_name = "NUMBER", default_value_t = TrainingArguments::default().seed)]
    pub(super) seed: u64,

    /// How rows become batches: no text twice in one, or just shuffled.
    #[arg(long, alias = "batch_sampler", value_name = "NAME", default_value = "no_duplicates",
        value_parser = PossibleValuesParser::new(["no_duplicates", "batch_sampler"]))]
    batch_sampler: String,

    /// Embedding lengths trained for and evaluated at, such as 384,256,128,64; by default the model's own, 512, 256,
    /// 128 and 64, those that fit.
    #[arg(long, aliases = ["matryoshka_dims", "dims"], value_name = "DIM,…", value_delimiter = ',', num_args = 1..)]
    matryoshka_dims: Option<Vec<usize>>,

    /// The weight of each dimension's loss, in the order of `--matryoshka-dims`; by default 1 each.
    #[arg(long, alias = "matryoshka_weights", value_name = "WEIGHT,…", value_delimiter = ',', num_args = 1..)]
    matryoshka_weights: Option<Vec<f64>>,

    /// Cosine similarities are multiplied by this before the softmax (1 / temperature).
    #[arg(long, value_name = "FACTOR", default_value_t = TrainingArguments::default().scale)]
    scale: f64,

    /// The numbers that matrix products are computed in: auto (bf16 where the processor is faster at it), float32 or bf16.
    #[arg(long, value_name = "NAME", default_value_t = Precision::Auto)]
    precision: Precision,

    /// Cuts texts to fewer tokens than the model's own limit.
    #[arg(long, alias = "max_seq_length", value_name = "TOKENS")]
    max_seq_length: Option<usize>,

    /// Steps between two lines of loss, learning rate and gradient norm.
    #[arg(long, alias = "logging_steps", value_name = "STEPS",
        default_value_t = TrainingArguments::default().logging_steps)]
    logging_steps: u64,

    /// Checkpoints kept; the best is always kept.
    #[arg(long, alias = "save_total_limit", value_name = "COUNT",
        default_value_t = TrainingArguments::default().save_total_limit)]
    save_total_limit: usize,

    /// The metric that decides which checkpoint is best, such as `dim_128_cosine_ndcg@10`, which is the default where
    /// 128 is trained for.
    #[arg(long, alias = "metric_for_best_model", value_name = "METRIC")]
    metric_for_best_model: Option<String>,

    /// Makes identical passages one document of the evaluation's corpus.
    #[arg(long, alias = "deduplicate_corpus")]
    deduplicate_corpus: bool,
}

impl TrainingFlags {
    /// The same as arguments; their values are for the run to check.
    pub(super) fn arguments(&self) -> TrainingArguments {
        TrainingArguments {
            epochs: self.epochs,
            per_device_train_batch_size: self.per_device_train_batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            learning_rate: self.learning_rate,
            warmup_ratio: self.warmup_ratio,
            lr_scheduler_type: named::<LrSchedulerType>(&self.lr_scheduler_type),
            weight_decay: self.weight_decay,
            adam_beta1: self.adam_beta1,
            adam_beta2: self.adam_beta2,
            adam_epsilon: self.adam_epsilon,
            max_grad_norm: self.max_grad_norm,
            seed: self.seed,
            batch_sampler: named::<BatchSampler>(&self.batch_sampler),
            matryoshka_dims: self.matryoshka_dims.clone(),
            matryoshka_weights: self.matryoshka_weights.clone(),
            scale: self.scale,
            precision: self.precision,
            max_seq_length: self.max_seq_length,
            logging_steps: self.logging_steps,
            save_total_limit: self.save_total_limit,
            metric_for_best_model: self.metric_for_best_model.clone(),
            deduplicate_corpus: self.deduplicate_corpus,
        }
    }
}

/// The value that JSON knows by a name.
fn named<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(name.into()).expect("the command line takes the names that JSON knows")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        training: TrainingFlags,
    }

    fn parse(flags: &[&str]) -> TrainingArguments {
        Command::try_parse_from([&["matryo"], flags].concat()).expect("the flags are right").training.arguments()
    }

    #[test]
    fn no_flags_are_the_defaults() {
        assert_eq!(parse(&[]), TrainingArguments::default());
    }

    #[test]
    fn every_argument_has_a_flag_in_both_spellings() {
        let names = [
            ("epochs", "3"),
            ("per_device_train_batch_size", "8"),
            ("gradient_accumulation_steps", "2"),
            ("learning_rate", "0.5"),
            ("warmup_ratio", "0.25"),
            ("lr_scheduler_type", "linear"),
            ("weight_decay", "0.5"),
            ("adam_beta1", "0.5"),
            ("adam_beta2", "0.5"),
            ("adam_epsilon", "0.5"),
            ("max_grad_norm", "0.5"),
            ("seed", "7"),
            ("batch_sampler", "batch_sampler"),
            ("matryoshka_dims", "32,16"),
            ("matryoshka_weights", "1,0.5"),
            ("scale", "10"),
            ("precision", "float32"),
            ("max_seq_length", "64"),
            ("logging_steps", "1"),
            ("save_total_limit", "1"),
            ("metric_for_best_model", "sequential_score"),
        ];
        let default = serde_json::to_value(TrainingArguments::default()).expect("it is JSON");
        let fields = default.as_object().expect("it is an object").keys();
        let untested: Vec<_> = fields.filter(|field| names.iter().all(|(name, _)| name != field)).collect();
        assert_eq!(untested, ["deduplicate_corpus"], "arguments without a flag");
        assert!(parse(&["--deduplicate-corpus"]).deduplicate_corpus);
        for (name, value) in names {
            for flag in [format!("--{name}"), format!("--{}", name.replace('_', "-"))] {
                let given = serde_json::to_value(parse(&[&flag, value])).expect("it is JSON");
                assert_ne!(given[name], default[name], "{flag} {value} changes nothing");
            }
        }
    }
}
