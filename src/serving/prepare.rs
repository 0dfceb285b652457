//! From a request's inputs to token ids, with everything that is wrong with them told at once.

use rayon::prelude::*;

use crate::data::tokenization::{CutEnd, TextTokenizer};
use crate::domain::FieldError;

use super::{EmbedError, EmbedInput, EmbedRequest};

/// Bad inputs that an error lists; one fault is often in all of them.
const MAX_LISTED: usize = 20;

/// Fewer inputs are tokenised sooner by one thread than others are woken.
const WORTH_SHARING: usize = 8;

/// How a request's texts become token ids.
#[derive(Debug)]
pub(super) struct Preparation<'m> {
    tokenizer: &'m TextTokenizer,
    prompt: Option<&'m str>,
    truncate: bool,
    end: CutEnd,
    own_token_ids: bool,
}

impl<'m> Preparation<'m> {
    /// Checks what a request asks of the model beside its inputs.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] with all fields that are wrong.
    pub(super) fn new(
        tokenizer: &'m TextTokenizer,
        prompts: &'m std::collections::BTreeMap<String, String>,
        full_dimension: usize,
        request: &EmbedRequest,
    ) -> Result<Self, EmbedError> {
        let mut errors = Vec::new();
        if request.inputs.is_empty() {
            errors.push(FieldError::new("inputs", "at least one text is expected"));
        }
        if let Some(dimensions) = request.dimensions.filter(|d| *d == 0 || *d > full_dimension) {
            let message = format!("{dimensions} is not from 1 to {full_dimension}, which is what the model gives");
            errors.push(FieldError::new("dimensions", message));
        }
        let prompt = match &request.prompt_name {
            None => None,
            Some(name) => prompts.get(name).map(String::as_str).or_else(|| {
                errors.push(FieldError::new("prompt_name", no_such_prompt(name, prompts.keys())));
                None
            }),
        };
        let has_ids = request.inputs.iter().any(|input| matches!(input, EmbedInput::TokenIds(_)));
        if prompt.is_some() && has_ids {
            errors.push(FieldError::new(
                "prompt_name",
                "a prompt goes before text; there are token ids among the inputs",
            ));
        }
        if errors.is_empty() {
            Ok(Self {
                tokenizer,
                prompt,
                truncate: request.truncate,
                end: request.truncation_direction,
                own_token_ids: request.own_token_ids,
            })
        } else {
            Err(EmbedError::Invalid(errors))
        }
    }

    /// Token ids of each input, on all cores where there are many.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] with the first inputs that are wrong; [`EmbedError::BadTokens`] where the tokenizer alone has
    /// something against them.
    pub(super) fn token_ids(&self, inputs: Vec<EmbedInput>) -> Result<Vec<Vec<u32>>, EmbedError> {
        let prepared: Vec<Result<Vec<u32>, Refusal>> = if inputs.len() < WORTH_SHARING {
            inputs.into_iter().map(|input| self.token_ids_of(input)).collect()
        } else {
            inputs.into_par_iter().map(|input| self.token_ids_of(input)).collect()
        };
        let mut sequences = Vec::with_capacity(prepared.len());
        let (mut errors, mut all_of_tokens) = (Vec::new(), true);
        for (index, result) in prepared.into_iter().enumerate() {
            match result {
                Ok(ids) => sequences.push(ids),
                Err(Refusal { message, of_tokens }) => {
                    all_of_tokens &= of_tokens;
                    errors.push(FieldError::new(format!("inputs[{index}]"), message));
                }
            }
            if errors.len() == MAX_LISTED {
                break;
            }
        }
        match errors.is_empty() {
            true => Ok(sequences),
            false if all_of_tokens => Err(EmbedError::BadTokens(errors)),
            false => Err(EmbedError::Invalid(errors)),
        }
    }

    fn token_ids_of(&self, input: EmbedInput) -> Result<Vec<u32>, Refusal> {
        let ids = match input {
            EmbedInput::Text(text) => {
                let text = match self.prompt {
                    Some(prompt) => format!("{prompt}{text}"),
                    None => text,
                };
                let ids = if self.truncate {
                    self.tokenizer.encode_cut(&text, self.end)
                } else {
                    self.tokenizer.encode_uncut(&text)
                };
                let ids = ids.map_err(|error| Refusal::of_tokens(error.to_string()))?;
                if ids.is_empty() {
                    return Err(Refusal::of_tokens("the model's tokenizer makes no token of this text"));
                }
                ids
            }
            EmbedInput::TokenIds(ids) => self.checked(ids)?,
        };
        let limit = self.tokenizer.max_seq_length();
        if ids.len() > limit {
            let tokens = ids.len();
            let message = format!("{tokens} tokens, but the model takes {limit} at most; `truncate: true` cuts them");
            return Err(Refusal { message, of_tokens: false });
        }
        Ok(ids)
    }

    fn checked(&self, mut ids: Vec<u32>) -> Result<Vec<u32>, Refusal> {
        if ids.is_empty() {
            return Err(Refusal { message: "at least one token id is expected".into(), of_tokens: false });
        }
        let check = if self.own_token_ids { TextTokenizer::check_own } else { TextTokenizer::check_vocabulary };
        check(self.tokenizer, &ids).map_err(|error| Refusal::of_tokens(error.to_string()))?;
        if self.truncate {
            cut(&mut ids, self.tokenizer.max_seq_length(), self.end);
        }
        Ok(ids)
    }
}

/// Why an input is refused.
struct Refusal {
    message: String,
    /// True where the tokenizer has something against it.
    of_tokens: bool,
}

impl Refusal {
    fn of_tokens(message: impl Into<String>) -> Self {
        Self { message: message.into(), of_tokens: true }
    }
}

/// Cuts token ids as they are: which of them are special is the client's affair.
fn cut(ids: &mut Vec<u32>, limit: usize, end: CutEnd) {
    match end {
        CutEnd::Right => ids.truncate(limit),
        CutEnd::Left => drop(ids.drain(..ids.len().saturating_sub(limit))),
    }
}

/// What to say of a prompt that the model does not have.
pub(super) fn no_such_prompt<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> String {
    let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    let name: String = name.chars().take(80).collect();
    if known.is_empty() {
        format!("the model has no prompt `{name}`; it has none at all")
    } else {
        format!("the model has no prompt `{name}`, only {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_are_cut_at_the_end_asked_for() {
        for (end, kept) in [(CutEnd::Right, [1, 2, 3]), (CutEnd::Left, [3, 4, 5])] {
            let mut ids = vec![1, 2, 3, 4, 5];
            cut(&mut ids, 3, end);
            assert_eq!(ids, kept);
            cut(&mut ids, 3, end);
            assert_eq!(ids, kept);
        }
    }
}
