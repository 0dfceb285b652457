//! Datasets, models and jobs as the store takes them, with nothing decided that a test does not care for.

use matryo::data::dataset_files::write_stored;
use matryo::domain::{
    ColumnMapping, DataDir, Dataset, DatasetFormat, DatasetId, EvaluationMetrics, Job, JobId, JobStatus, MetricKey,
    Model, ModelId, ModelSource, ModelStatus, ModelSummary, Pair, PhaseSeconds, Pooling, Profile, SplitSource,
    TrainingArguments, utc_now,
};
use matryo::store::Store;

/// A dataset of 8 rows to train on and 4 to evaluate on.
pub(crate) fn dataset() -> Dataset {
    Dataset {
        id: DatasetId::generate(),
        name: "pairs.csv".into(),
        format: DatasetFormat::Csv,
        mapping: ColumnMapping { anchor: Some("question".into()), positive: Some("context".into()), id: None },
        ignored_columns: vec!["notes".into()],
        split: SplitSource::Fraction { test_size: 0.25, seed: 42 },
        train_rows: 8,
        eval_rows: 4,
        duplicate_rows: 0,
        duplicate_positives: 1,
        empty_rows: 0,
        sha256: "ab".repeat(32),
        eval_sha256: None,
        size_bytes: 1234,
        original_bytes: None,
        created_at: utc_now(),
    }
}

/// A base model of 32 dimensions that is ready, in a folder that nobody looks into.
pub(crate) fn ready_model(name: &str) -> Model {
    Model {
        id: ModelId::generate(),
        name: name.into(),
        source: ModelSource::Folder { path: "/nowhere".into() },
        status: ModelStatus::Ready,
        error: None,
        summary: Some(summary()),
        size_bytes: 99,
        created_at: utc_now(),
    }
}

/// What [`ready_model`] is.
pub(crate) fn summary() -> ModelSummary {
    ModelSummary {
        architecture: "bert".into(),
        dimension: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_seq_length: 64,
        pooling: Pooling::Mean,
        normalize: true,
        parameters: 12_345,
    }
}

/// A job as its owner submits it: two epochs over `dataset` from `model`.
pub(crate) fn job(dataset: &Dataset, model: &Model) -> Job {
    let training = TrainingArguments { epochs: 2, logging_steps: 1, ..TrainingArguments::default() };
    let summary = summary();
    Job {
        id: JobId::generate(),
        name: Some("first try".into()),
        status: JobStatus::Queued,
        cancel_requested: false,
        pause_requested: false,
        metadata: None,
        dataset_id: dataset.id,
        eval_dataset_id: None,
        base_model: model.name.clone(),
        training: training.resolve(summary.dimension, summary.max_seq_length).expect("the arguments are sound"),
        webhook_url: None,
        webhook_secret: None,
        step: 0,
        total_steps: None,
        error: None,
        warnings: Vec::new(),
        timings: None,
        profile: None,
        peak_memory_bytes: None,
        peak_gpu_memory_bytes: None,
        created_at: utc_now(),
        started_at: None,
        finished_at: None,
    }
}

/// A dataset and a model in the store, and the dataset's rows on disk, so that jobs can be queued and run.
pub(crate) async fn inputs(store: &Store, data_dir: &DataDir) -> (Dataset, Model) {
    let (dataset, model) = (dataset(), ready_model("tiny"));
    write_rows(data_dir, &dataset);
    store.insert_dataset(&dataset).await.expect("the dataset is stored");
    store.insert_model(&model).await.expect("the model is stored");
    (dataset, model)
}

/// The dataset's rows on disk.
pub(crate) fn write_rows(data_dir: &DataDir, dataset: &Dataset) {
    let folder = data_dir.dataset(dataset.id);
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let (train, eval) = (pairs("train", dataset.train_rows), pairs("eval", dataset.eval_rows));
    write_stored(&folder, &train, &eval).expect("rows are written");
}

fn pairs(prefix: &str, count: u64) -> Vec<Pair> {
    let pair = |number: u64| Pair {
        id: format!("{prefix}-{number}"),
        anchor: format!("what is {prefix} {number}?"),
        positive: format!("it is the {prefix} row of number {number}"),
    };
    (1..=count).map(pair).collect()
}

/// An evaluation at the dimensions of [`job`]'s model in which every value is `value`.
pub(crate) fn evaluation(epoch: u32, step: u64, value: f64) -> EvaluationMetrics {
    let names = MetricKey::NAMES.iter().filter_map(|name| MetricKey::new(32, name));
    let keys = names.map(|key| key.to_string()).chain(["sequential_score".to_owned()]);
    EvaluationMetrics { epoch, step, values: keys.map(|key| (key, value)).collect() }
}

/// Where a fake run's time went.
pub(crate) fn profile() -> Profile {
    let seconds = PhaseSeconds { forward: 0.5, backward: 1.0, evaluate: 0.1 + 0.2, ..PhaseSeconds::default() };
    Profile { seconds, tokens: 150, tokens_per_second: 100.0, gflops: 1.0 / 3.0 }
}
