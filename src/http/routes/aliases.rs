//! Aliases: names that are moved from model to model (promote) and back (rollback).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model_body::ModelBody;
use crate::domain::{Alias, AliasMove, FieldError, ModelReference};
use crate::http::extract::{self, Path};
use crate::http::model_request::name_error;
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, PreconditionFailed, Timeout, TooLarge, UnsupportedMediaType,
};
use crate::http::{ApiError, AppState};
use crate::store::{MoveAlias, StoreError};

/// Moves that an alias shows.
const MOST_MOVES: u32 = 100;
/// Characters of `by`.
const MAX_BY_CHARS: usize = 200;

/// What an alias is to mean.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"model": "sentence-transformers/all-MiniLM-L6-v2"}))]
pub(in crate::http) struct AliasRequest {
    /// A base model's name, `job:<id>` for the checkpoint that is the job's best at this moment, or
    /// `job:<id>@epoch-<n>`. The alias then means that very checkpoint, whatever the job does later.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    pub(in crate::http) model: String,
    /// Moves the alias only if it means this now, as the alias shows it.
    pub(in crate::http) if_model: Option<String>,
    /// Who moves it, for the history.
    #[schema(max_length = 200)]
    pub(in crate::http) by: Option<String>,
}

/// Under which condition an alias is moved back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub(in crate::http) struct RollbackRequest {
    /// Moves the alias only if it means this now, as the alias shows it.
    pub(in crate::http) if_model: Option<String>,
    /// Who moves it, for the history.
    #[schema(max_length = 200)]
    pub(in crate::http) by: Option<String>,
}

/// Aliases by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AliasList {
    /// The aliases.
    data: Vec<Alias>,
}

/// An alias and how it was moved.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AliasDetails {
    /// The alias.
    #[serde(flatten)]
    alias: Alias,
    /// Its last hundred moves, newest first.
    history: Vec<AliasMove>,
}

/// Lists all aliases by name.
#[utoipa::path(get, path = "/v1/aliases", tag = "models", responses((status = 200, body = AliasList)))]
pub(super) async fn list_aliases(State(state): State<AppState>) -> Result<Json<AliasList>, ApiError> {
    Ok(Json(AliasList { data: state.store.list_aliases().await? }))
}

/// Shows an alias and its history.
#[utoipa::path(get, path = "/v1/aliases/{name}", tag = "models",
    params(("name" = String, Path, description = "The alias.")),
    responses((status = 200, body = AliasDetails), (status = 404, response = NotFound)))]
pub(super) async fn get_alias(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<AliasDetails>, ApiError> {
    let alias = state.store.get_alias(&name).await?;
    Ok(Json(AliasDetails { alias, history: state.store.alias_moves(&name, MOST_MOVES).await? }))
}

/// Has an alias mean a model, and makes it where there is none. Requests that have begun end with the model that they
/// began with. What an alias means cannot be deleted; a job keeps the checkpoints that an alias means or meant, besides
/// those of `save_total_limit`.
#[utoipa::path(put, path = "/v1/aliases/{name}", tag = "models", request_body = AliasRequest,
    params(("name" = String, Path, description = "The alias.", example = "production")),
    responses(
        (status = 200, body = Alias, description = "It was moved."),
        (status = 201, body = Alias, description = "It was made."),
        (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn put_alias(
    State(state): State<AppState>,
    Path(name): Path<String>,
    extract::Json(request): extract::Json<AliasRequest>,
) -> Result<(StatusCode, Json<Alias>), ApiError> {
    let (alias, is_new) = set(&state, &name, request).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(alias)))
}

/// Has an alias mean a model; tells whether it is new.
///
/// # Errors
/// 422 with every field that is wrong.
pub(in crate::http) async fn set(
    state: &AppState,
    name: &str,
    request: AliasRequest,
) -> Result<(Alias, bool), ApiError> {
    let AliasRequest { model, if_model, by } = request;
    let mut errors: Vec<FieldError> = name_error(name).into_iter().collect();
    let model = read("model", Some(&model), &mut errors);
    let if_model = read("if_model", if_model.as_ref(), &mut errors);
    errors.extend(by_error(by.as_deref()));
    let (Some(model), true) = (model, errors.is_empty()) else { return Err(ApiError::invalid(errors)) };
    let wanted = MoveAlias { alias: name, if_model: if_model.as_ref(), by: by.as_deref() };
    match state.store.move_alias(&wanted, &model).await {
        Ok(moved) => Ok(moved),
        Err(StoreError::NotFound { .. }) => Err(not_a_model(state, &model).await),
        Err(error) => Err(error.into()),
    }
}

/// Has an alias mean what it meant before its last move; several in a row walk the history back.
#[utoipa::path(post, path = "/v1/aliases/{name}/rollback", tag = "models",
    params(("name" = String, Path, description = "The alias.", example = "production")),
    request_body(content = Option<RollbackRequest>, description = "May be left out."),
    responses(
        (status = 200, body = Alias), (status = 400, response = Malformed), (status = 404, response = NotFound),
        (status = 408, response = Timeout), (status = 409, response = Conflict),
        (status = 412, response = PreconditionFailed), (status = 413, response = TooLarge),
        (status = 415, response = UnsupportedMediaType), (status = 422, response = Invalid),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn roll_back_alias(
    State(state): State<AppState>,
    Path(name): Path<String>,
    extract::OptionalJson(request): extract::OptionalJson<RollbackRequest>,
) -> Result<Json<Alias>, ApiError> {
    Ok(Json(roll_back(&state, &name, request.unwrap_or_default()).await?))
}

/// Has an alias mean what it meant before.
pub(in crate::http) async fn roll_back(
    state: &AppState,
    name: &str,
    request: RollbackRequest,
) -> Result<Alias, ApiError> {
    let RollbackRequest { if_model, by } = request;
    let mut errors = Vec::new();
    let if_model = read("if_model", if_model.as_ref(), &mut errors);
    errors.extend(by_error(by.as_deref()));
    if !errors.is_empty() {
        return Err(ApiError::invalid(errors));
    }
    let wanted = MoveAlias { alias: name, if_model: if_model.as_ref(), by: by.as_deref() };
    Ok(state.store.roll_back_alias(&wanted).await?)
}

/// Deletes an alias and its history; what it meant stays.
#[utoipa::path(delete, path = "/v1/aliases/{name}", tag = "models",
    params(("name" = String, Path, description = "The alias.")),
    responses(
        (status = 204, description = "It is gone."), (status = 404, response = NotFound),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn delete_alias(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.store.delete_alias(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A model's name as a field has it.
fn read(field: &str, text: Option<&String>, errors: &mut Vec<FieldError>) -> Option<ModelReference> {
    text?.parse().inspect_err(|message: &String| errors.push(FieldError::new(field, message))).ok()
}

fn by_error(by: Option<&str>) -> Option<FieldError> {
    let is_sound = by.is_none_or(|by| by.chars().count() <= MAX_BY_CHARS);
    (!is_sound).then(|| FieldError::new("by", format!("at most {MAX_BY_CHARS} characters are expected")))
}

/// What to say of a name that an alias cannot mean.
async fn not_a_model(state: &AppState, model: &ModelReference) -> ApiError {
    let message = match ModelBody::find(state, &model.to_string()).await {
        Ok(_) => format!("`{model}` is an alias, and an alias means no other; name the model that it means"),
        Err(_) => format!("there is no model `{model}`, or the job has no such checkpoint yet"),
    };
    ApiError::invalid_field("model", message)
}
