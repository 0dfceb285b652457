//! Tokens of texts, in TEI's shape.

use axum::Json as JsonBody;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::{Asked, NamesModel};
use super::inputs::{EmbedErrors, check_inputs};
use crate::data::tokenization;
use crate::http::{ApiError, AppState};

/// What to take apart.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeRequest {
    /// The texts.
    inputs: Texts,
    /// The model, as in `POST /embed`.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    model: Option<String>,
    /// Whether the tokens are added that a model wants round a text; true where left out.
    add_special_tokens: Option<bool>,
    /// The name of one of the model's prompts, to be put before each text.
    prompt_name: Option<String>,
}

impl NamesModel for TokenizeRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

/// One text or many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a string or a list of strings is expected")]
enum Texts {
    /// One.
    One(String),
    /// Many.
    Many(Vec<String>),
}

/// One token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    /// Its number in the vocabulary.
    #[schema(example = 7592)]
    id: u32,
    /// The piece of the text that it stands for; a special token's own name.
    #[schema(example = "hello")]
    text: String,
    /// True for tokens put round the text.
    special: bool,
    /// The piece's first byte in the text, after the prompt was put before it; null for special tokens.
    start: Option<usize>,
    /// The byte after its last; null for special tokens.
    stop: Option<usize>,
}

impl From<tokenization::Token> for Token {
    fn from(token: tokenization::Token) -> Self {
        let tokenization::Token { id, text, special, span } = token;
        Self { id, text, special, start: span.as_ref().map(|span| span.start), stop: span.map(|span| span.end) }
    }
}

/// The tokens of each text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!([[{"id": 7592, "text": "hello", "special": false, "start": 0, "stop": 5}]]))]
pub(super) struct TokenizeResponse(Vec<Vec<Token>>);

/// Takes texts apart into tokens, however long they are.
#[utoipa::path(post, path = "/tokenize", tag = "embedding", request_body = TokenizeRequest,
    responses((status = 200, body = TokenizeResponse), EmbedErrors))]
pub(super) async fn tokenize(
    State(state): State<AppState>,
    Asked { model, body: request }: Asked<TokenizeRequest>,
) -> Result<JsonBody<TokenizeResponse>, ApiError> {
    let texts = match request.inputs {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    check_inputs(&state, "inputs", texts.iter().map(String::is_empty))?;
    let add_special_tokens = request.add_special_tokens.unwrap_or(true);
    let tokens = state.embedding.tokenize(&model, texts, add_special_tokens, request.prompt_name.as_deref()).await?;
    let tokens = tokens.into_iter().map(|tokens| tokens.into_iter().map(Token::from).collect());
    Ok(JsonBody(TokenizeResponse(tokens.collect())))
}
