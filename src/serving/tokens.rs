//! Texts to tokens and back, with a model's tokenizer; nothing is computed.

use crate::data::tokenization::Token;
use crate::domain::{FieldError, ModelReference};

use super::prepare::no_such_prompt;
use super::{EmbedError, EmbeddingService, off_thread};

/// Text that one request may have taken apart into tokens; the answer is a hundred times larger.
const MAX_TOKENIZE_BYTES: usize = 1 << 20;

impl EmbeddingService {
    /// The tokens of each text with the model's tokenizer, uncut, after one of the model's prompts where it is named.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn tokenize(
        &self,
        model: &ModelReference,
        texts: Vec<String>,
        add_special_tokens: bool,
        prompt_name: Option<&str>,
    ) -> Result<Vec<Vec<Token>>, EmbedError> {
        let place = self.0.place(texts.len())?;
        let invalid = |field: &str, message: String| EmbedError::Invalid(vec![FieldError::new(field, message)]);
        if texts.is_empty() {
            return Err(invalid("inputs", "at least one text is expected".into()));
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        if bytes > MAX_TOKENIZE_BYTES {
            return Err(invalid(
                "inputs",
                format!("{bytes} bytes of text, but {MAX_TOKENIZE_BYTES} at most are taken"),
            ));
        }
        let encoder = self.0.model(model).await?;
        let prompt = match prompt_name {
            None => String::new(),
            Some(name) => {
                let no_prompt = || invalid("prompt_name", no_such_prompt(name, encoder.prompts().keys()));
                encoder.prompts().get(name).cloned().ok_or_else(no_prompt)?
            }
        };
        off_thread(move || {
            let _place = place;
            let tokens = |(index, text): (usize, &String)| {
                let tokens = encoder.tokenizer().tokens(&format!("{prompt}{text}"), add_special_tokens);
                tokens.map_err(|error| invalid(&format!("inputs[{index}]"), error.to_string()))
            };
            texts.iter().enumerate().map(tokens).collect()
        })
        .await
    }

    /// The texts of token ids with the model's tokenizer.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`]; [`EmbedError::BadTokens`] where an id is not in the vocabulary.
    pub async fn decode(
        &self,
        model: &ModelReference,
        ids: Vec<Vec<u32>>,
        skip_special_tokens: bool,
    ) -> Result<Vec<String>, EmbedError> {
        let place = self.0.place(ids.len())?;
        let encoder = self.0.model(model).await?;
        off_thread(move || {
            let _place = place;
            let text = |(index, ids): (usize, &Vec<u32>)| {
                let text = encoder.tokenizer().decode(ids, skip_special_tokens);
                text.map_err(|error| {
                    EmbedError::BadTokens(vec![FieldError::new(format!("ids[{index}]"), error.to_string())])
                })
            };
            ids.iter().enumerate().map(text).collect()
        })
        .await
    }
}
