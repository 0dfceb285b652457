//! Embedding in the shape of text-embeddings-inference (TEI).

use std::time::Instant;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, Inputs, TruncationDirection, characters, check_inputs, dimension_warning, is_empty};
use crate::http::measured::{Computed, Measured};
use crate::http::{ApiError, AppState};
use crate::serving;

/// What to embed. Unknown fields are ignored, as TEI ignores them.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbedRequest {
    /// The texts.
    inputs: Inputs,
    /// A base model's name, `job:<id>` for a job's best checkpoint, `job:<id>@epoch-<n>` for a certain one, or an alias.
    /// May be left out where the path names it or exactly one base model is ready.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
    /// Whether embeddings get length 1; true where left out.
    normalize: Option<bool>,
    /// Whether texts longer than the model takes are cut; false refuses them. True where left out, as a TEI server
    /// does unless it is started with `--auto-truncate false`.
    truncate: Option<bool>,
    /// Which end is cut off; `right` where left out.
    truncation_direction: Option<TruncationDirection>,
    /// The name of one of the model's prompts, to be put before each text.
    prompt_name: Option<String>,
    /// Cuts embeddings to this length, before normalising; the model's own where left out.
    #[schema(minimum = 1, example = 128)]
    dimensions: Option<usize>,
}

impl NamesModel for EmbedRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// One embedding for each text, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!([[0.6, 0.8, 0.0]]))]
pub(super) struct EmbedResponse(Vec<Vec<f32>>);

/// Embeds texts, in TEI's shape.
#[utoipa::path(post, path = "/embed", tag = "embedding", request_body = EmbedRequest,
    responses((status = 200, body = EmbedResponse), EmbedErrors))]
pub(super) async fn embed(
    State(state): State<AppState>,
    asked: Asked<EmbedRequest>,
) -> Result<Computed<EmbedResponse>, ApiError> {
    let begun = Instant::now();
    let Asked { model, body: request } = asked;
    let inputs = request.inputs.0;
    check_inputs(&state, "inputs", inputs.iter().map(is_empty))?;
    let (name, texts, characters) = (model.to_string(), inputs.len(), characters(&inputs));
    let request = serving::EmbedRequest {
        model,
        inputs,
        dimensions: request.dimensions,
        normalize: request.normalize.unwrap_or(true),
        truncate: request.truncate.unwrap_or(true),
        truncation_direction: request.truncation_direction.unwrap_or_default().into(),
        prompt_name: request.prompt_name,
        own_token_ids: false,
    };
    let embeddings = state.embedding.embed(request).await?;
    let tokens = embeddings.tokens.iter().sum();
    Ok(Computed {
        measured: Measured { model: name, texts, tokens, timings: embeddings.timings },
        characters,
        device: state.device,
        begun,
        warning: dimension_warning(&embeddings),
        body: EmbedResponse(embeddings.rows().map(<[f32]>::to_vec).collect()),
    })
}

/// The same as `POST /embed`, for clients such as huggingface_hub's `InferenceClient` that know only the server.
#[utoipa::path(post, path = "/", tag = "embedding", request_body = EmbedRequest,
    responses((status = 200, body = EmbedResponse), EmbedErrors))]
pub(super) async fn embed_at_root(
    state: State<AppState>,
    asked: Asked<EmbedRequest>,
) -> Result<Computed<EmbedResponse>, ApiError> {
    embed(state, asked).await
}
