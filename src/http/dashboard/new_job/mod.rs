//! A new job: its data, its model, its hyperparameters, and what will happen.

mod arguments;
mod view;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::view::NewJobPage;
use super::datasets::upload::UploadView;
use super::form::Values;
use super::layout::{Section, page_with_status};
use crate::domain::{Dataset, DatasetId, FieldError, Job, JobId, Model, ModelStatus, TrainingArguments};
use crate::http::extract::{Form, Query};
use crate::http::routes::jobs::submit;
use crate::http::routes::new_job::{DEFAULT_BASE_MODEL, check};
use crate::http::{ApiError, AppState};
use crate::store::ListOrder;

/// Datasets to choose from; older ones are reached from their own pages.
const MAX_DATASETS: u32 = 200;

/// What the form begins with.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NewJobQuery {
    /// A job whose data, model and hyperparameters to take over.
    from: Option<JobId>,
    dataset: Option<DatasetId>,
    model: Option<String>,
}

/// What there is to choose from.
#[derive(Debug)]
struct Choices {
    datasets: Vec<Dataset>,
    /// Those that are ready.
    models: Vec<Model>,
}

impl Choices {
    /// The newest datasets and those that `wanted` names, and every model that is ready.
    async fn load(state: &AppState, wanted: &[&str]) -> Result<Self, ApiError> {
        let mut datasets = state.store.list_datasets(ListOrder::NewestFirst, None, MAX_DATASETS).await?.items;
        for id in wanted.iter().filter_map(|id| id.parse::<DatasetId>().ok()) {
            if datasets.iter().all(|dataset| dataset.id != id)
                && let Ok(dataset) = state.store.get_dataset(id).await
            {
                datasets.push(dataset);
            }
        }
        let models = state.store.list_models(None, u32::MAX - 1).await?.items;
        let models = models.into_iter().filter(|model| model.status == ModelStatus::Ready).collect();
        Ok(Self { datasets, models })
    }
}

/// The empty form, or one that another job fills.
pub(super) async fn get_new_job(
    State(state): State<AppState>,
    Query(query): Query<NewJobQuery>,
) -> Result<Response, ApiError> {
    let mut values = match query.from {
        None => recipe(),
        Some(id) => clone_of(&state.store.get_job(id).await?),
    };
    if let Some(id) = query.dataset {
        values.set("dataset_id", id.to_string());
    }
    if let Some(name) = query.model {
        values.set("base_model", name);
    }
    show(&state, values, UploadView::default()).await
}

/// The form that shows what went wrong with an upload.
pub(in crate::http::dashboard) async fn after_upload(
    state: &AppState,
    upload: UploadView,
) -> Result<Response, ApiError> {
    show(state, recipe(), upload).await
}

async fn show(state: &AppState, mut values: Values, upload: UploadView) -> Result<Response, ApiError> {
    let choices = Choices::load(state, &[values.get("dataset_id"), values.get("eval_dataset_id")]).await?;
    // A form that is shown for the first time has the newest dataset and the recipe's model chosen, where they are there.
    if values.get("dataset_id").is_empty()
        && let Some(dataset) = choices.datasets.first()
    {
        values.set("dataset_id", dataset.id.to_string());
    }
    if values.get("base_model").is_empty() {
        let is_default = |model: &&Model| model.name == DEFAULT_BASE_MODEL;
        let model = choices.models.iter().find(is_default).or(choices.models.first());
        values.set("base_model", model.map_or(DEFAULT_BASE_MODEL, |model| &model.name));
    }
    let job = check(state, &to_json(&values)).await?.ok();
    let status = upload.status();
    let page = NewJobPage { choices: &choices, values: &values, errors: &[], refusal: None, job: job.as_ref(), upload };
    Ok(page_with_status(status, state, "New job", Section::NewJob, &page.render()))
}

/// Submits the job, or only checks it where the form's `action` is `check`.
pub(super) async fn post_new_job(
    State(state): State<AppState>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let values = Values::from(fields);
    let mut refusal = None;
    let checked = check(&state, &to_json(&values)).await?;
    if let Ok(job) = &checked
        && values.get("action") != "check"
    {
        match submit(&state, job).await {
            Ok(job) => return Ok(Redirect::to(&format!("/ui/jobs/{}", job.id)).into_response()),
            Err(error) => refusal = Some(error),
        }
    }
    let choices = Choices::load(&state, &[values.get("dataset_id"), values.get("eval_dataset_id")]).await?;
    let (job, errors): (Option<&Job>, &[FieldError]) = match &checked {
        Ok(job) => (Some(job), &[]),
        Err(errors) => (None, errors),
    };
    let status = match &refusal {
        Some(error) => error.code().status(),
        None if errors.is_empty() => StatusCode::OK,
        None => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let upload = UploadView::default();
    let page = NewJobPage { choices: &choices, values: &values, errors, refusal: refusal.as_ref(), job, upload };
    Ok(page_with_status(status, &state, "New job", Section::NewJob, &page.render()))
}

/// The job as the API takes it, from the form's fields.
fn to_json(values: &Values) -> Map<String, Value> {
    let mut json = Map::new();
    for field in view::FIELDS {
        let text = values.get(field).trim();
        if !text.is_empty() {
            json.insert(field.to_owned(), text.into());
        }
    }
    json.insert("training".to_owned(), arguments::to_json(|field| values.get(field)).into());
    json
}

/// The fields of a job that is all as the recipe has it.
fn recipe() -> Values {
    arguments::to_fields(&TrainingArguments::default()).into()
}

/// The fields of a job like this one; the key of its webhook is never shown again.
fn clone_of(job: &Job) -> Values {
    let mut values = Values::from(arguments::to_fields(&job.training));
    values.set("name", job.name.clone().unwrap_or_default());
    values.set("dataset_id", job.dataset_id.to_string());
    values.set("eval_dataset_id", job.eval_dataset_id.map(|id| id.to_string()).unwrap_or_default());
    values.set("base_model", &*job.base_model);
    values.set("webhook_url", job.webhook_url.clone().unwrap_or_default());
    values
}
