//! Creating a fine-tuning job. The request becomes one to create a job, and what is wrong with it is told all at once by
//! the paths that the client wrote.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json as JsonBody;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::hyperparameters::{Given, HyperparametersRequest};
use super::job::FineTuningJob;
use crate::domain::{FieldError, Job, TrainingArguments};
use crate::http::extract::Json;
use crate::http::openai::FileName;
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::routes::{files, jobs, new_job};
use crate::http::{ApiError, AppState, ErrorCode};

const MAX_SUFFIX_CHARS: usize = 64;

/// What a fine-tuning job is to do.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FineTuningJobRequest)]
#[expect(
    dead_code,
    reason = "it only describes the JSON; `translate` takes it apart itself, to find all errors at once"
)]
pub(super) struct FineTuningJobRequest {
    /// The base model, by name.
    #[schema(max_length = 300, min_length = 1, example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: String,
    /// The file to train on.
    training_file: FileName,
    /// A file all of whose rows evaluate the job, in place of the share of the training file that its upload set apart.
    validation_file: Option<FileName>,
    /// What its owner calls it: the job's name.
    #[schema(max_length = 64, min_length = 1)]
    suffix: Option<String>,
    /// Seeds shuffling and dropout; 42 where it is left out.
    #[schema(minimum = 0, maximum = 9007199254740991u64)]
    seed: Option<u64>,
    /// At most 16 pairs, keys of at most 64 characters, values of at most 512.
    metadata: Option<BTreeMap<String, String>>,
    /// How to train; superseded by `method`.
    hyperparameters: Option<HyperparametersRequest>,
    /// How to train.
    method: Option<MethodRequest>,
    /// Matryo's own hyperparameters, as in `POST /v1/jobs`.
    training: Option<TrainingArguments>,
    /// Must be empty: there are none.
    #[schema(max_items = 0)]
    integrations: Option<Vec<String>>,
}

/// How to train.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it only describes the JSON")]
struct MethodRequest {
    /// `supervised`, and nothing else.
    #[serde(rename = "type")]
    #[schema(pattern = "^supervised$", example = "supervised")]
    kind: String,
    /// The method's hyperparameters.
    supervised: Option<SupervisedRequest>,
}

/// The method's hyperparameters.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it only describes the JSON")]
struct SupervisedRequest {
    /// They may also bear Matryo's own names.
    hyperparameters: Option<HyperparametersRequest>,
}

/// Creates a fine-tuning job. It waits in the queue until the worker is free; what is left out or `auto` is as the recipe
/// has it.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs", operation_id = "create_fine_tuning_job", tag = "fine-tuning", request_body = FineTuningJobRequest,
    responses(
        (status = 200, body = FineTuningJob), (status = 400, response = Malformed), (status = 408, response = Timeout),
        (status = 409, response = Conflict), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 429, response = TooManyRequests), (status = 507, response = DiskFull)))]
pub(in crate::http::routes) async fn create_job(
    State(state): State<AppState>,
    Json(body): Json<Map<String, Value>>,
) -> Result<JsonBody<FineTuningJob>, ApiError> {
    let job = read(&state, &body).await?;
    let job = jobs::submit(&state, &job).await?;
    Ok(JsonBody(FineTuningJob::describe(&state, job).await?))
}

async fn read(state: &AppState, body: &Map<String, Value>) -> Result<Job, ApiError> {
    let Translation { native, paths, mut errors } = translate(state, body).await?;
    let job = match new_job::check(state, &native).await? {
        Ok(job) if errors.is_empty() => return Ok(job),
        Ok(_) => None,
        Err(wrong) => Some(wrong),
    };
    let told: BTreeSet<String> = errors.iter().map(|error| error.field.clone()).collect();
    for FieldError { field, message } in job.into_iter().flatten() {
        let field = paths.get(&field).cloned().unwrap_or(field);
        // What a field lacks since it was refused already is not told again.
        if !told.contains(&field) {
            errors.push(FieldError::new(field, message.replace("an eval_dataset_id", "a validation_file")));
        }
    }
    errors.sort_by_key(|error| place(body, &error.field));
    Err(ApiError::invalid(errors))
}

/// Errors come in the order of the request's fields, the missing ones first, since clients show the first one's path.
fn place(body: &Map<String, Value>, field: &str) -> Option<usize> {
    let root = field.split('.').next().unwrap_or_default();
    body.keys().position(|key| key == root)
}

/// A request to create a job, made from one to create a fine-tuning job.
struct Translation {
    native: Map<String, Value>,
    /// Where the fields of `native` stand in the client's request.
    paths: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

async fn translate(state: &AppState, body: &Map<String, Value>) -> Result<Translation, ApiError> {
    let mut native = Map::new();
    let mut paths = BTreeMap::new();
    let mut errors = Vec::new();
    refuse_unknown(body, "", &FIELDS, &mut errors);
    for (field, ours) in [("model", "base_model"), ("suffix", "name"), ("metadata", "metadata")] {
        paths.insert(ours.to_owned(), field.to_owned());
        if let Some(value) = body.get(field) {
            native.insert(ours.to_owned(), value.clone());
        }
    }
    if body.get("model").is_none_or(Value::is_null) {
        errors.push(FieldError::new("model", "the name of the base model to fine-tune is expected"));
    }
    if body.get("suffix").and_then(Value::as_str).is_some_and(|suffix| suffix.chars().count() > MAX_SUFFIX_CHARS) {
        errors.push(FieldError::new("suffix", format!("a text of 1 to {MAX_SUFFIX_CHARS} characters is expected")));
    }
    for (field, ours, is_required) in
        [("training_file", "dataset_id", true), ("validation_file", "eval_dataset_id", false)]
    {
        paths.insert(ours.to_owned(), field.to_owned());
        match file(state, body.get(field), is_required).await? {
            Ok(Some(id)) => drop(native.insert(ours.to_owned(), id.0.to_string().into())),
            Ok(None) => {}
            Err(message) => errors.push(FieldError::new(field, message)),
        }
    }
    if body
        .get("integrations")
        .is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty()))
    {
        errors.push(FieldError::new("integrations", "there are none here; leave it out"));
    }
    let mut given = Given::default();
    if let Some(seed) = body.get("seed").filter(|seed| !seed.is_null()) {
        given.take_own("seed", seed.clone(), "seed".to_owned());
    }
    given.take("hyperparameters", body.get("hyperparameters"));
    method(body.get("method"), &mut given, &mut errors);
    given.take("training", body.get("training"));
    let (training, places, wrong) = given.finish();
    errors.extend(wrong);
    paths.extend(places.into_iter().map(|(name, path)| (format!("training.{name}"), path)));
    native.insert("training".to_owned(), training.into());
    Ok(Translation { native, paths, errors })
}

const FIELDS: [&str; 10] = [
    "model",
    "training_file",
    "validation_file",
    "suffix",
    "seed",
    "metadata",
    "hyperparameters",
    "method",
    "training",
    "integrations",
];

/// The file that a field names, or what is wrong with it.
async fn file(
    state: &AppState,
    value: Option<&Value>,
    is_required: bool,
) -> Result<Result<Option<FileName>, String>, ApiError> {
    let id: FileName = match value {
        None | Some(Value::Null) if is_required => return Ok(Err("the id of an uploaded file is expected".to_owned())),
        None | Some(Value::Null) => return Ok(Ok(None)),
        Some(Value::String(text)) => match text.parse() {
            Ok(id) => id,
            Err(message) => return Ok(Err(message)),
        },
        Some(_) => return Ok(Err("the id of an uploaded file is expected, as a text".to_owned())),
    };
    match files::find(state, id).await {
        Ok(_) => Ok(Ok(Some(id))),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(Err(error.message().to_owned())),
        Err(error) => Err(error),
    }
}

fn method(value: Option<&Value>, given: &mut Given, errors: &mut Vec<FieldError>) {
    let method = match value {
        None | Some(Value::Null) => return,
        Some(Value::Object(method)) => method,
        Some(_) => {
            errors.push(FieldError::new("method", "an object is expected"));
            return;
        }
    };
    refuse_unknown(method, "method.", &["type", "supervised"], errors);
    if method.get("type").is_none_or(|kind| kind != "supervised") {
        errors.push(FieldError::new("method.type", "`supervised` is expected: there is no other method here"));
    }
    match method.get("supervised") {
        None | Some(Value::Null) => {}
        Some(Value::Object(supervised)) => {
            refuse_unknown(supervised, "method.supervised.", &["hyperparameters"], errors);
            given.take("method.supervised.hyperparameters", supervised.get("hyperparameters"));
        }
        Some(_) => errors.push(FieldError::new("method.supervised", "an object is expected")),
    }
}

fn refuse_unknown(object: &Map<String, Value>, path: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    for field in object.keys().filter(|field| !known.contains(&field.as_str())) {
        let field: String = field.chars().take(80).collect();
        let message = format!("there is no such field; expected {}", known.join(", "));
        errors.push(FieldError::new(format!("{path}{field}"), message));
    }
}
