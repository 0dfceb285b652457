//! A job as its owner submits it. Everything that is wrong with it is told at once, so it is read field by field.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::{
    Dataset, DatasetId, FieldError, Job, JobId, JobStatus, Model, ModelStatus, ModelSummary, Secret, TrainingArguments,
    utc_now,
};
use crate::http::{ApiError, AppState};
use crate::store::StoreError;
use crate::webhooks;

/// What a job starts from where it names no model: the recipe's.
pub(in crate::http) const DEFAULT_BASE_MODEL: &str = "BAAI/bge-base-en-v1.5";
const MAX_NAME_CHARS: usize = 200;
const MAX_BASE_MODEL_CHARS: usize = 300;
const MAX_WEBHOOK_URL_CHARS: usize = 2048;
// As OpenAI's API has them.
const MAX_METADATA_PAIRS: usize = 16;
const MAX_METADATA_KEY_CHARS: usize = 64;
const MAX_METADATA_VALUE_CHARS: usize = 512;

const KNOWN: [&str; 8] =
    ["name", "dataset_id", "eval_dataset_id", "base_model", "metadata", "webhook_url", "webhook_secret", "training"];

/// What a job is to do.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = JobRequest)]
#[expect(dead_code, reason = "it only describes the JSON; `read` takes it apart itself, to find all errors at once")]
pub(super) struct JobRequest {
    /// What its owner calls it.
    #[schema(max_length = 200, min_length = 1)]
    name: Option<String>,
    /// The pairs to train on.
    dataset_id: DatasetId,
    /// Another dataset, all of whose rows evaluate the job in place of the first one's evaluation rows.
    eval_dataset_id: Option<DatasetId>,
    /// The base model, by name.
    #[schema(default = "BAAI/bge-base-en-v1.5", max_length = 300, min_length = 1)]
    base_model: Option<String>,
    /// What its owner wishes to find it by: at most 16 pairs, keys of at most 64 characters, values of at most 512.
    metadata: Option<BTreeMap<String, String>>,
    /// Who is told of the job's end by a POST: a URL of http or https, of a host on the public Internet unless the server
    /// was started with `--webhook-allow-private`.
    #[schema(max_length = 2048, format = "uri", examples("https://example.org/hooks/matryo"))]
    webhook_url: Option<String>,
    /// The key that signs it, by the Standard Webhooks specification: `whsec_` and 24 to 64 bytes in base64. Never shown
    /// again.
    #[schema(max_length = 94, write_only)]
    webhook_secret: Option<String>,
    /// Hyperparameters; the recipe's where they are left out.
    training: Option<TrainingArguments>,
}

/// Checks a job and fills in its defaults.
///
/// # Errors
/// 422 with every field that is wrong.
pub(super) async fn read(state: &AppState, body: &Map<String, Value>) -> Result<Job, ApiError> {
    check(state, body).await?.map_err(ApiError::invalid)
}

/// Checks a job and fills in its defaults; the inner error holds every field that is wrong.
///
/// # Errors
/// Where the store fails.
pub(in crate::http) async fn check(
    state: &AppState,
    body: &Map<String, Value>,
) -> Result<Result<Job, Vec<FieldError>>, ApiError> {
    let mut fields = Fields { body, errors: Vec::new() };
    fields.refuse_unknown(&KNOWN);
    let name = fields.text("name", MAX_NAME_CHARS);
    let dataset = fields.dataset(state, "dataset_id").await?;
    let eval_dataset = fields.dataset(state, "eval_dataset_id").await?;
    if body.get("dataset_id").is_none_or(Value::is_null) {
        fields.refuse("dataset_id", "the id of the dataset to train on is expected");
    }
    fields.check_rows(dataset.as_ref(), eval_dataset.as_ref());
    let base_model = fields.text("base_model", MAX_BASE_MODEL_CHARS).unwrap_or_else(|| DEFAULT_BASE_MODEL.into());
    let summary = fields.model(state, &base_model).await?;
    let metadata = fields.metadata();
    let (webhook_url, webhook_secret) = fields.webhook(state.limits.private_webhooks);
    let training = fields.training(summary.as_ref());
    Ok(match (dataset, training) {
        (Some(dataset), Some(training)) if fields.errors.is_empty() => Ok(Job {
            id: JobId::generate(),
            name,
            status: JobStatus::Queued,
            cancel_requested: false,
            pause_requested: false,
            metadata,
            dataset_id: dataset.id,
            eval_dataset_id: eval_dataset.map(|dataset| dataset.id),
            base_model,
            training,
            webhook_url,
            webhook_secret,
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
        }),
        _ => Err(fields.errors),
    })
}

/// The body's fields, and what is wrong with them so far.
struct Fields<'a> {
    body: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields<'_> {
    fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        for field in self.body.keys().filter(|field| !known.contains(&field.as_str())) {
            let field: String = field.chars().take(80).collect();
            self.errors.push(FieldError::new(&field, format!("there is no such field; expected {}", known.join(", "))));
        }
    }

    /// A text; none where it is left out or wrong.
    fn text(&mut self, field: &str, max_chars: usize) -> Option<String> {
        match self.body.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.trim().is_empty() && text.chars().count() <= max_chars => {
                Some(text.clone())
            }
            Some(_) => {
                self.refuse(field, format!("a text of 1 to {max_chars} characters is expected"));
                None
            }
        }
    }

    /// The dataset that a field names; none where it is left out or wrong.
    async fn dataset(&mut self, state: &AppState, field: &str) -> Result<Option<Dataset>, ApiError> {
        let id = match self.body.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.parse::<DatasetId>().map_err(|error| error.to_string()),
            Some(_) => Err("the id of a dataset is expected, as a text".to_owned()),
        };
        let id = match id {
            Ok(id) => id,
            Err(message) => {
                self.refuse(field, message);
                return Ok(None);
            }
        };
        match state.store.get_dataset(id).await {
            Ok(dataset) => Ok(Some(dataset)),
            Err(error @ StoreError::NotFound { .. }) => {
                self.refuse(field, error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Names and texts; none where they are left out or one is wrong.
    fn metadata(&mut self) -> Option<BTreeMap<String, String>> {
        let pairs = match self.body.get("metadata") {
            None | Some(Value::Null) => return None,
            Some(Value::Object(pairs)) if pairs.len() <= MAX_METADATA_PAIRS => pairs,
            Some(_) => {
                self.refuse("metadata", format!("an object of at most {MAX_METADATA_PAIRS} texts is expected"));
                return None;
            }
        };
        let mut metadata = BTreeMap::new();
        for (key, value) in pairs {
            match value {
                Value::String(value)
                    if (1..=MAX_METADATA_KEY_CHARS).contains(&key.chars().count())
                        && value.chars().count() <= MAX_METADATA_VALUE_CHARS =>
                {
                    metadata.insert(key.clone(), value.clone());
                }
                _ => {
                    let shown: String = key.chars().take(MAX_METADATA_KEY_CHARS).collect();
                    let (key, value) = (MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS);
                    let message = format!("a key of 1 to {key} and a text of at most {value} characters are expected");
                    self.refuse(&format!("metadata.{shown}"), message);
                }
            }
        }
        Some(metadata)
    }

    /// Who is told of the end, and the key that signs it.
    fn webhook(&mut self, allow_private: bool) -> (Option<String>, Option<Secret>) {
        let url = self.text("webhook_url", MAX_WEBHOOK_URL_CHARS);
        if let Some(Err(message)) = url.as_ref().map(|url| webhooks::check_url(url, allow_private)) {
            self.refuse("webhook_url", message);
        }
        let secret = match self.body.get("webhook_secret") {
            None | Some(Value::Null) => return (url, None),
            Some(Value::String(text)) => Secret::new(text.as_str()),
            Some(_) => {
                self.refuse("webhook_secret", "a text is expected");
                return (url, None);
            }
        };
        if let Err(message) = webhooks::SigningKey::read(&secret) {
            self.refuse("webhook_secret", message);
        }
        if self.body.get("webhook_url").is_none_or(Value::is_null) {
            self.refuse("webhook_secret", "it signs what goes to webhook_url, which is missing");
        }
        (url, Some(secret))
    }

    fn check_rows(&mut self, dataset: Option<&Dataset>, eval_dataset: Option<&Dataset>) {
        if let Some(dataset) = dataset {
            if dataset.train_rows < 2 {
                let rows = dataset.train_rows;
                self.refuse(
                    "dataset_id",
                    format!("the dataset has {rows} rows to train on, and at least 2 are needed"),
                );
            }
            if dataset.eval_rows == 0 && !self.body.contains_key("eval_dataset_id") {
                self.refuse(
                    "dataset_id",
                    "the dataset has no rows to evaluate on; give an eval_dataset_id, or upload it with a test_size above 0",
                );
            }
        }
        if eval_dataset.is_some_and(|dataset| dataset.train_rows + dataset.eval_rows == 0) {
            self.refuse("eval_dataset_id", "the dataset has no rows");
        }
    }

    /// What the base model is; none where it cannot be trained.
    async fn model(&mut self, state: &AppState, name: &str) -> Result<Option<ModelSummary>, ApiError> {
        let model = match state.store.get_model_by_name(name).await {
            Ok(model) => model,
            Err(StoreError::NotFound { .. }) => {
                let how = if name.starts_with("job:") {
                    "a job starts from a base model, not from another job's checkpoint"
                } else {
                    "pull or register it with POST /v1/models first"
                };
                self.refuse("base_model", format!("there is no base model `{name}`; {how}"));
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(message) = not_ready(&model) {
            self.refuse("base_model", message);
        }
        Ok(model.summary.filter(|_| model.status == ModelStatus::Ready))
    }

    /// The hyperparameters with every default filled in; as far as the model is known, checked against it.
    fn training(&mut self, model: Option<&ModelSummary>) -> Option<TrainingArguments> {
        let empty = Map::new();
        let given = match self.body.get("training") {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(given)) => given,
            Some(_) => {
                self.refuse("training", "an object of hyperparameters is expected");
                return None;
            }
        };
        let (arguments, mut wrong) = match TrainingArguments::from_json(given) {
            Ok(arguments) => (Some(arguments), Vec::new()),
            Err(wrong) => {
                // The others may have bad values, which are told too.
                let is_sound = |field: &String| wrong.iter().all(|error| error.field != *field);
                let sound = given.iter().filter(|(field, _)| is_sound(field));
                let sound = sound.map(|(field, value)| (field.clone(), value.clone())).collect();
                (TrainingArguments::from_json(&sound).ok(), wrong)
            }
        };
        let (dimension, max_seq_length) =
            model.map_or((usize::MAX, usize::MAX), |model| (model.dimension, model.max_seq_length));
        let resolved = match arguments.map(|arguments| arguments.resolve(dimension, max_seq_length)) {
            Some(Ok(resolved)) if wrong.is_empty() => Some(resolved),
            Some(Err(bad)) => {
                // Which dimensions there are by default depends on the model, and on a `matryoshka_dims` that is right.
                let known = |field: &str| field != "metric_for_best_model" || (model.is_some() && wrong.is_empty());
                let bad: Vec<FieldError> = bad.into_iter().filter(|error| known(&error.field)).collect();
                wrong.extend(bad);
                None
            }
            Some(Ok(_)) | None => None,
        };
        for FieldError { field, message } in wrong {
            // An error of the object as a whole bears its name already.
            let field = if field == "training" { field } else { format!("training.{field}") };
            self.errors.push(FieldError { field, message });
        }
        resolved
    }
}

fn not_ready(model: &Model) -> Option<String> {
    let name = &model.name;
    match model.status {
        ModelStatus::Ready => None,
        ModelStatus::Pulling => Some(format!("model `{name}` is still being pulled; try again once it is ready")),
        ModelStatus::Failed => {
            let error = model.error.as_deref().unwrap_or_default();
            Some(format!("model `{name}` cannot be used: {error}"))
        }
    }
}
