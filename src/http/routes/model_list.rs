//! The list of all models: base models, jobs' best checkpoints, aliases.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model_body::ModelBody;
use crate::domain::ModelReference;
use crate::http::extract::Query;
use crate::http::openapi::Invalid;
use crate::http::{ApiError, AppState};

/// What a page holds where no limit is given, and at most: OpenAI's client asks for this list once and takes what comes.
const MAX_LIMIT: usize = 1000;

/// Which page of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ModelsQuery {
    /// The last `id` of the page before (`cursor` is another name for it); the first page where it is left out.
    #[serde(alias = "cursor")]
    after: Option<String>,
    /// Models on a page.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
}

/// A page of models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The models, newest first.
    data: Vec<ModelBody>,
    /// Whether there are more after these.
    has_more: bool,
    /// Asks for the next page; none on the last.
    next_cursor: Option<String>,
}

/// Lists base models, the best checkpoint of every job that has one, and aliases, newest first.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(ModelsQuery),
    responses((status = 200, body = ModelList), (status = 422, response = Invalid)))]
pub(super) async fn list_models(
    State(state): State<AppState>,
    Query(query): Query<ModelsQuery>,
) -> Result<Json<ModelList>, ApiError> {
    let limit = query.limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid_field("limit", format!("{limit} is not from 1 to {MAX_LIMIT}")));
    }
    let models = all(&state).await?;
    let begin = match &query.after {
        None => 0,
        Some(after) => models.iter().position(|model| model.id == *after).map(|at| at + 1).ok_or_else(|| {
            ApiError::invalid_field("after", "there is no such model; it may have been deleted since the last page")
        })?,
    };
    let has_more = models.len() - begin > limit;
    let data: Vec<ModelBody> = models.into_iter().skip(begin).take(limit).collect();
    let next_cursor = if has_more { data.last().map(|model| model.id.clone()) } else { None };
    Ok(Json(ModelList { object: "list", data, has_more, next_cursor }))
}

/// Every model, newest first; those of one moment in the order of their names.
async fn all(state: &AppState) -> Result<Vec<ModelBody>, ApiError> {
    let mut models = Vec::new();
    for model in state.store.list_models(None, u32::MAX - 1).await?.items {
        models.push(ModelBody::base(state, model)?);
    }
    for best in state.store.list_best_checkpoints().await? {
        let reference = ModelReference::JobBest(best.checkpoint.job_id);
        models.push(ModelBody::fine_tuned(state, &reference, best)?);
    }
    for alias in state.store.list_aliases().await? {
        models.push(ModelBody::of_alias(state, alias).await?);
    }
    models.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.id.cmp(&b.id)));
    Ok(models)
}
