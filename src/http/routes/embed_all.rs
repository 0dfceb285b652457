//! An embedding for each token, in TEI's shape.

use std::time::Instant;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, Inputs, TruncationDirection, characters, check_inputs, is_empty};
use crate::http::measured::{Computed, Measured};
use crate::http::{ApiError, AppState};
use crate::serving::EmbedRequest;

/// What to embed token by token. Unknown fields are ignored, as TEI ignores them.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbedAllRequest {
    /// The texts.
    inputs: Inputs,
    /// The model, as in `POST /embed`.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
    /// Whether texts longer than the model takes are cut; true where left out.
    truncate: Option<bool>,
    /// Which end is cut off; `right` where left out.
    truncation_direction: Option<TruncationDirection>,
    /// The name of one of the model's prompts, to be put before each text.
    prompt_name: Option<String>,
}

impl NamesModel for EmbedAllRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// For each text the embeddings of its tokens, special ones included, neither pooled nor normalised.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!([[[0.6, 0.8, 0.0]]]))]
pub(super) struct EmbedAllResponse(Vec<Vec<Vec<f32>>>);

/// Embeds every token of the texts, in TEI's shape.
#[utoipa::path(post, path = "/embed_all", tag = "embedding", request_body = EmbedAllRequest,
    responses((status = 200, body = EmbedAllResponse), EmbedErrors))]
pub(super) async fn embed_all(
    State(state): State<AppState>,
    asked: Asked<EmbedAllRequest>,
) -> Result<Computed<EmbedAllResponse>, ApiError> {
    let begun = Instant::now();
    let Asked { model, body: request } = asked;
    let inputs = request.inputs.0;
    check_inputs(&state, "inputs", inputs.iter().map(is_empty))?;
    let (name, texts, characters) = (model.to_string(), inputs.len(), characters(&inputs));
    let request = EmbedRequest {
        model,
        inputs,
        dimensions: None,
        normalize: false,
        truncate: request.truncate.unwrap_or(true),
        truncation_direction: request.truncation_direction.unwrap_or_default().into(),
        prompt_name: request.prompt_name,
        own_token_ids: false,
    };
    let embeddings = state.embedding.embed_tokens(request).await?;
    let of_text = |values: &[f32]| values.chunks_exact(embeddings.dimension).map(<[f32]>::to_vec).collect();
    Ok(Computed {
        body: EmbedAllResponse(embeddings.inputs().map(of_text).collect()),
        measured: Measured { model: name, texts, tokens: embeddings.tokens.iter().sum(), timings: embeddings.timings },
        characters,
        device: state.device,
        begun,
        warning: None,
    })
}
