//! Similarity of one text to others, in TEI's shape.

use std::time::Instant;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, TruncationDirection, characters, check_inputs, dimension_warning, rename_inputs};
use crate::http::measured::{Computed, Measured};
use crate::http::{ApiError, AppState};
use crate::serving::{EmbedInput, EmbedRequest};

/// What to compare.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SimilarityRequest {
    /// The texts.
    inputs: SimilarityInputs,
    /// How they are embedded.
    parameters: Option<SimilarityParameters>,
    /// The model, as in `POST /embed`.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
}

/// The texts to compare.
#[derive(Debug, Deserialize, ToSchema)]
struct SimilarityInputs {
    /// The one.
    #[schema(example = "What was the revenue of 2023?")]
    source_sentence: String,
    /// The others.
    #[schema(min_items = 1, example = json!(["Net sales of 2023 were $12 million."]))]
    sentences: Vec<String>,
}

/// How texts are embedded to be compared.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct SimilarityParameters {
    /// Whether texts longer than the model takes are cut; true where left out.
    truncate: Option<bool>,
    /// Which end is cut off; `right` where left out.
    truncation_direction: Option<TruncationDirection>,
    /// The name of one of the model's prompts, to be put before each text.
    prompt_name: Option<String>,
    /// Compares embeddings cut to this length.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
}

impl NamesModel for SimilarityRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// The cosine similarity of each sentence to the source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!([0.83]))]
pub(super) struct SimilarityResponse(Vec<f32>);

/// Compares one text with others.
#[utoipa::path(post, path = "/similarity", tag = "embedding", request_body = SimilarityRequest,
    responses((status = 200, body = SimilarityResponse), EmbedErrors))]
pub(super) async fn similarity(
    State(state): State<AppState>,
    asked: Asked<SimilarityRequest>,
) -> Result<Computed<SimilarityResponse>, ApiError> {
    let begun = Instant::now();
    let Asked { model, body: request } = asked;
    let SimilarityInputs { source_sentence, sentences } = request.inputs;
    check_inputs(&state, "inputs.sentences", sentences.iter().map(String::is_empty))?;
    // The source counts too, as it does for TEI.
    let are_empty: Vec<bool> = std::iter::once(&source_sentence).chain(&sentences).map(String::is_empty).collect();
    check_inputs(&state, "inputs", are_empty.into_iter())?;
    let parameters = request.parameters.unwrap_or_default();
    let inputs: Vec<EmbedInput> = std::iter::once(source_sentence).chain(sentences).map(EmbedInput::Text).collect();
    let (name, texts, characters) = (model.to_string(), inputs.len(), characters(&inputs));
    let request = EmbedRequest {
        model,
        inputs,
        dimensions: parameters.dimensions,
        normalize: true,
        truncate: parameters.truncate.unwrap_or(true),
        truncation_direction: parameters.truncation_direction.unwrap_or_default().into(),
        prompt_name: parameters.prompt_name,
        own_token_ids: false,
    };
    let embeddings = state.embedding.embed(request).await.map_err(|error| {
        rename_inputs(error, |index| match index {
            None => "inputs".into(),
            Some(0) => "inputs.source_sentence".into(),
            Some(index) => format!("inputs.sentences[{}]", index - 1),
        })
    })?;
    let mut rows = embeddings.rows();
    let source = rows.next().unwrap_or_default();
    // Of length 1, so that the product is the cosine; rounding must not take it beyond 1.
    let cosine = |row: &[f32]| row.iter().zip(source).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0);
    Ok(Computed {
        body: SimilarityResponse(rows.map(cosine).collect()),
        measured: Measured { model: name, texts, tokens: embeddings.tokens.iter().sum(), timings: embeddings.timings },
        characters,
        device: state.device,
        begun,
        warning: dimension_warning(&embeddings),
    })
}
