//! Texts of token ids, in TEI's shape.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, check_inputs};
use crate::http::{ApiError, AppState};

/// What to put together.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DecodeRequest {
    /// The token ids.
    ids: TokenIds,
    /// The model, as in `POST /embed`.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
    /// Whether the tokens are left out that a model wants round a text; true where left out.
    skip_special_tokens: Option<bool>,
}

impl NamesModel for DecodeRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// One text's token ids or many texts'.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a list of token ids, or a list of such lists, is expected")]
enum TokenIds {
    /// One's.
    One(Vec<u32>),
    /// Many's.
    Many(Vec<Vec<u32>>),
}

/// The texts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!(["hello world"]))]
pub(super) struct DecodeResponse(Vec<String>);

/// Puts token ids together to texts: what `POST /tokenize` takes apart, as far as the tokenizer keeps it.
#[utoipa::path(post, path = "/decode", tag = "embedding", request_body = DecodeRequest,
    responses((status = 200, body = DecodeResponse), EmbedErrors))]
pub(super) async fn decode(
    State(state): State<AppState>,
    Asked { model, body: request }: Asked<DecodeRequest>,
) -> Result<JsonBody<DecodeResponse>, ApiError> {
    let ids = match request.ids {
        TokenIds::One(ids) => vec![ids],
        TokenIds::Many(ids) => ids,
    };
    check_inputs(&state, "ids", ids.iter().map(Vec::is_empty))?;
    let skip_special_tokens = request.skip_special_tokens.unwrap_or(true);
    Ok(JsonBody(DecodeResponse(state.embedding.decode(&model, ids, skip_special_tokens).await?)))
}
