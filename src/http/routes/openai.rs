//! Embedding in the shape of OpenAI's API.

use std::time::Instant;

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, Inputs, characters, dimension_warning, is_empty, rename_inputs};
use crate::data::tokenization::CutEnd;
use crate::http::measured::{Computed, Measured};
use crate::http::{ApiError, AppState};
use crate::serving::{self, EmbedError, EmbedInput};

/// What to embed. Other fields, such as `user`, are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EmbeddingsRequest {
    /// The texts.
    input: Inputs,
    /// The model, as in `POST /embed`; may be left out where exactly one base model is ready.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
    /// How embeddings are written; `float` where left out.
    encoding_format: Option<EncodingFormat>,
    /// Cuts embeddings to this length; the model's own where left out.
    #[schema(minimum = 1, example = 128)]
    dimensions: Option<usize>,
}

impl NamesModel for EmbeddingsRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// How embeddings are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// 32-bit floats, little-endian, in base64.
    Base64,
}

/// Embeddings in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EmbeddingsResponse {
    /// Always `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The embeddings.
    data: Vec<EmbeddingObject>,
    /// The model that was asked for.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: String,
    /// What it took.
    usage: Usage,
}

/// One embedding.
#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingObject {
    /// Always `embedding`.
    #[schema(example = "embedding")]
    object: &'static str,
    /// The text's place in the request.
    index: usize,
    /// The embedding, of length 1.
    embedding: Embedding,
}

/// An embedding in the format asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Embedding {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64.
    Base64(String),
}

impl Embedding {
    fn new(values: &[f32], format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Float(values.to_vec()),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

/// Refuses what OpenAI refuses, in its words.
fn check_input(inputs: &[EmbedInput], limit: usize) -> Result<(), ApiError> {
    let count = inputs.len();
    let (field, message, reason) = if count == 0 {
        let message = "empty array. Expected an array with minimum length 1, but got an empty array instead.";
        ("input".to_owned(), message.to_owned(), "empty_array")
    } else if count > limit {
        let message = format!(
            "array too long. Expected an array with maximum length {limit}, but got an array with length {count} instead."
        );
        ("input".to_owned(), message, "array_above_max_length")
    } else if let Some(index) = inputs.iter().position(is_empty) {
        let field = if count == 1 { "input".to_owned() } else { format!("input[{index}]") };
        (field, "the input cannot be an empty string.".to_owned(), "invalid_value")
    } else {
        return Ok(());
    };
    let whole = format!("Invalid '{field}': {message}");
    Err(ApiError::invalid_field(field, message).with_message(whole).with_reason(reason))
}

/// Tokens that were embedded, after truncation.
#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    /// In all texts.
    prompt_tokens: usize,
    /// The same: nothing is generated.
    total_tokens: usize,
}

/// Embeds texts, in OpenAI's shape. Embeddings have length 1; texts that are too long are cut at the end.
///
/// Token ids must be those of the model's own tokenizer, with the special tokens that it puts round a text, as
/// `POST /tokenize` gives them. Those of another tokenizer are refused: LangChain's `OpenAIEmbeddings`, for one, sends
/// OpenAI's own unless it is told `check_embedding_ctx_length=False`.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embedding", request_body = EmbeddingsRequest,
    responses((status = 200, body = EmbeddingsResponse), EmbedErrors))]
pub(super) async fn create_embeddings(
    State(state): State<AppState>,
    asked: Asked<EmbeddingsRequest>,
) -> Result<Computed<EmbeddingsResponse>, ApiError> {
    let begun = Instant::now();
    let Asked { model, body: request } = asked;
    let inputs = request.input.0;
    check_input(&inputs, state.limits.max_client_batch_size)?;
    let (texts, characters) = (inputs.len(), characters(&inputs));
    let embed = serving::EmbedRequest {
        model: model.clone(),
        inputs,
        dimensions: request.dimensions,
        normalize: true,
        truncate: true,
        truncation_direction: CutEnd::Right,
        prompt_name: None,
        own_token_ids: true,
    };
    let embeddings = state.embedding.embed(embed).await.map_err(rename)?;
    let format = request.encoding_format.unwrap_or_default();
    let object = |(index, values): (usize, &[f32])| EmbeddingObject {
        object: "embedding",
        index,
        embedding: Embedding::new(values, format),
    };
    let tokens = embeddings.tokens.iter().sum();
    Ok(Computed {
        body: EmbeddingsResponse {
            object: "list",
            data: embeddings.rows().enumerate().map(object).collect(),
            model: model.to_string(),
            usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
        },
        measured: Measured { model: model.to_string(), texts, tokens, timings: embeddings.timings },
        characters,
        device: state.device,
        begun,
        warning: dimension_warning(&embeddings),
    })
}

/// Names inputs as this route's clients do.
fn rename(error: EmbedError) -> EmbedError {
    rename_inputs(error, |index| index.map_or_else(|| "input".into(), |index| format!("input[{index}]")))
}
