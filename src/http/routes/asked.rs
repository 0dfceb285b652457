//! Which model a request means: its path may say, or its body, or there is only one.
//!
//! Clients of a server that has one model do not name it. They are given `/models/<name>` as the server's address, below
//! which every route of TEI's is there.

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::domain::ModelReference;
use crate::http::extract::Json;
use crate::http::{ApiError, AppState};

/// A body that may name a model.
pub(super) trait NamesModel {
    /// Its `model`.
    fn model(&self) -> Option<&str>;
}

/// A JSON body, and the model that is meant.
#[derive(Debug)]
pub(super) struct Asked<T> {
    /// The model.
    pub(super) model: ModelReference,
    /// The body.
    pub(super) body: T,
}

impl<T: DeserializeOwned + NamesModel + Send + Sync> FromRequest<AppState> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let InPath(in_path) = InPath::from_request_parts(&mut parts, state).await?;
        let Json(body) = Json::<T>::from_request(Request::from_parts(parts, body), state).await?;
        if let (Some(in_path), Some(in_body)) = (&in_path, body.model())
            && in_path != in_body
        {
            let message = format!("the path names another model, `{in_path}`; name it once");
            return Err(ApiError::invalid_field("model", message));
        }
        let model = chosen(state, in_path.as_deref().or(body.model())).await?;
        Ok(Self { model, body })
    }
}

/// The model that the path names, where it does.
#[derive(Debug)]
pub(super) struct InPath(pub(super) Option<String>);

impl FromRequestParts<AppState> for InPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let parameters = RawPathParams::from_request_parts(parts, state).await;
        let parameters = parameters.map_err(|error| ApiError::internal(error.body_text()))?;
        Ok(Self(parameters.iter().find(|(name, _)| *name == "model").map(|(_, value)| value.to_owned())))
    }
}

/// The model of a name; where there is none, the only base model that is ready.
pub(super) async fn chosen(state: &AppState, name: Option<&str>) -> Result<ModelReference, ApiError> {
    match name {
        Some(name) => name.parse().map_err(|message: String| ApiError::invalid_field("model", message)),
        None => Ok(state.embedding.default_model().await?),
    }
}
