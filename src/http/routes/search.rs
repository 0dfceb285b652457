//! Search of a dataset's corpus by several models side by side.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::{DatasetId, FieldError, ModelReference};
use crate::http::openapi::{
    Conflict, Invalid, Malformed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::{ApiError, AppState, extract};
use crate::serving::{SearchOutcome, SearchProgress, SearchRequest, SearchResults};

const MAX_QUERY_CHARS: usize = 8192;
const MAX_MODELS: usize = 4;
const DEFAULT_TOP_K: usize = 10;
const MAX_TOP_K: usize = 100;
const DEFAULT_WAIT_S: u64 = 60;
const MAX_WAIT_S: u64 = 300;
/// When to ask again for a corpus that is being embedded, in seconds.
const ASK_AGAIN_S: u64 = 1;

/// What to search for, and by which models.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SearchBody {
    /// The question.
    #[schema(min_length = 1, max_length = 8192, example = "What did passenger crossings contribute to group profit?")]
    pub(in crate::http) query: String,
    /// The models, as `model` elsewhere; the others are compared with the first.
    #[schema(min_items = 1, max_items = 4, example = json!(["sentence-transformers/all-MiniLM-L6-v2"]))]
    pub(in crate::http) models: Vec<String>,
    /// The dataset whose passages are searched.
    pub(in crate::http) dataset_id: DatasetId,
    /// Cuts embeddings to this length, and normalises them anew; the models' own by default.
    #[schema(minimum = 1)]
    pub(in crate::http) dimensions: Option<usize>,
    /// Passages to find.
    #[schema(minimum = 1, maximum = 100, default = 10)]
    pub(in crate::http) top_k: Option<usize>,
    /// How long to wait for a corpus that is not embedded yet, before the answer is 202.
    #[schema(minimum = 0, maximum = 300, default = 60)]
    pub(in crate::http) wait_seconds: Option<u64>,
}

impl SearchBody {
    /// What is asked of the service.
    ///
    /// # Errors
    /// 422 with all bad fields.
    pub(in crate::http) fn check(self) -> Result<SearchRequest, ApiError> {
        let mut errors = Vec::new();
        let length = self.query.chars().count();
        if self.query.trim().is_empty() || length > MAX_QUERY_CHARS {
            errors
                .push(FieldError::new("query", format!("a question of 1 to {MAX_QUERY_CHARS} characters is expected")));
        }
        if !(1..=MAX_MODELS).contains(&self.models.len()) {
            errors.push(FieldError::new("models", format!("1 to {MAX_MODELS} models are expected")));
        }
        let mut models: Vec<ModelReference> = Vec::new();
        for (index, name) in self.models.iter().enumerate().take(MAX_MODELS) {
            let mut wrong = |message| errors.push(FieldError::new(format!("models[{index}]"), message));
            match name.parse() {
                Ok(model) if models.contains(&model) => wrong("this model is there already".to_owned()),
                Ok(model) => models.push(model),
                Err(message) => wrong(message),
            }
        }
        if self.dimensions == Some(0) {
            errors.push(FieldError::new("dimensions", "at least 1 is expected"));
        }
        let top_k = self.top_k.unwrap_or(DEFAULT_TOP_K);
        if !(1..=MAX_TOP_K).contains(&top_k) {
            errors.push(FieldError::new("top_k", format!("{top_k} is not from 1 to {MAX_TOP_K}")));
        }
        let wait = self.wait_seconds.unwrap_or(DEFAULT_WAIT_S);
        if wait > MAX_WAIT_S {
            errors.push(FieldError::new("wait_seconds", format!("{wait} is not from 0 to {MAX_WAIT_S}")));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        let Self { query, dataset_id, dimensions, .. } = self;
        Ok(SearchRequest { query, models, dataset_id, dimensions, top_k, wait: Duration::from_secs(wait) })
    }
}

/// Searches a dataset's corpus (every passage of its rows, identical ones once) by one model or several, which are compared
/// with the first. A model embeds the corpus once, when it is first asked for; where that is not done in time, the answer is
/// 202 and says how far it has come: ask again.
#[utoipa::path(post, path = "/v1/search", tag = "embedding", request_body = SearchBody,
    responses(
        (status = 200, body = SearchResults),
        (status = 202, body = SearchProgress, description = "The corpus is being embedded.",
            headers(("retry-after" = u64, description = "Seconds after which to ask again."))),
        (status = 400, response = Malformed), (status = 404, response = NotFound), (status = 408, response = Timeout),
        (status = 409, response = Conflict), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 429, response = TooManyRequests),
    ))]
pub(super) async fn search(
    State(state): State<AppState>,
    extract::Json(body): extract::Json<SearchBody>,
) -> Result<Response, ApiError> {
    Ok(match state.embedding.search(body.check()?).await? {
        SearchOutcome::Found(results) => Json(results).into_response(),
        SearchOutcome::Preparing(progress) => {
            (StatusCode::ACCEPTED, [(header::RETRY_AFTER, ASK_AGAIN_S.to_string())], Json(progress)).into_response()
        }
    })
}
