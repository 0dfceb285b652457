//! Text to token ids, the same for training, evaluation and serving.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use super::text_normalization::TextNormalization;

/// The tokenizer could not be read or could not read a text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenizationError(String);

/// The end of a text that is cut off where the text is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutEnd {
    /// The beginning is dropped.
    Left,
    /// The end is dropped, as sentence-transformers does.
    Right,
}

/// One token of a text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// The piece of the text that it stands for; a special token's own name.
    pub text: String,
    /// True for tokens put round the text, which stand for none of it.
    pub special: bool,
    /// The piece's bytes in the text; none for special tokens.
    pub span: Option<std::ops::Range<usize>>,
}

/// A model's tokenizer with its truncation.
#[derive(Clone)]
pub struct TextTokenizer {
    /// Without truncation and padding of its own: this type cuts, and packed batches need no padding.
    tokenizer: Arc<Tokenizer>,
    max_seq_length: usize,
    vocab_size: usize,
    /// Special tokens that stand before and after every text.
    frame: (Arc<[u32]>, Arc<[u32]>),
}

impl TextTokenizer {
    /// Reads `tokenizer.json`; texts will be cut to `max_seq_length` tokens, special tokens included.
    ///
    /// # Errors
    /// Where the file is missing or is not a tokenizer.
    pub fn from_file(path: &Path, max_seq_length: usize) -> Result<Self, TokenizationError> {
        let json = std::fs::read(path).map_err(|error| TokenizationError(format!("{}: {error}", path.display())))?;
        Self::from_json(&json, max_seq_length, TextNormalization::default())
            .map_err(|TokenizationError(message)| TokenizationError(format!("{}: {message}", path.display())))
    }

    /// As [`TextTokenizer::from_file`], from the file's bytes, with what other files say of normalising.
    ///
    /// # Errors
    /// Where the bytes are not a tokenizer, or not one that can encode any text.
    pub fn from_json(
        json: &[u8],
        max_seq_length: usize,
        normalization: TextNormalization,
    ) -> Result<Self, TokenizationError> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|error| TokenizationError(format!("not a tokenizer.json of the tokenizers library: {error}")))?;
        normalization.apply(&mut tokenizer).map_err(TokenizationError)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        let highest = tokenizer.get_vocab(true).into_values().max();
        let vocab_size = highest.ok_or_else(|| TokenizationError("the tokenizer knows no token".into()))? as usize + 1;
        let frame = (Arc::from([]), Arc::from([]));
        let tokenizer = Self { tokenizer: Arc::new(tokenizer), max_seq_length, vocab_size, frame };
        tokenizer.check()?;
        let tokens = tokenizer.tokens("a", true)?;
        let special = |token: &&Token| token.special;
        let before = tokens.iter().take_while(special).map(|token| token.id).collect();
        let mut after: Vec<u32> = tokens.iter().rev().take_while(special).map(|token| token.id).collect();
        after.reverse();
        Ok(Self { frame: (before, after.into()), ..tokenizer })
    }

    /// The same tokenizer with another limit.
    #[must_use]
    pub fn with_max_seq_length(&self, max_seq_length: usize) -> Self {
        Self { max_seq_length, ..self.clone() }
    }

    /// The most tokens that a text becomes.
    #[must_use]
    pub fn max_seq_length(&self) -> usize {
        self.max_seq_length
    }

    /// Every token id is below this.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Token ids of each text, special tokens included, in order; on all cores.
    ///
    /// # Errors
    /// Where the tokenizer refuses a text.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Vec<u32>>, TokenizationError> {
        texts.par_iter().map(|text| self.encode_cut(text.as_ref(), CutEnd::Right)).collect()
    }

    /// Token ids of one text, special tokens included, cut at the end given.
    ///
    /// # Errors
    /// Where the tokenizer refuses the text.
    pub fn encode_cut(&self, text: &str, end: CutEnd) -> Result<Vec<u32>, TokenizationError> {
        let mut content = self.content(text)?;
        let direction = match end {
            CutEnd::Left => TruncationDirection::Left,
            CutEnd::Right => TruncationDirection::Right,
        };
        content.truncate(self.max_seq_length.saturating_sub(self.special_tokens()), 0, direction);
        self.with_special_tokens(content)
    }

    /// Token ids of one text, special tokens included, however long it is.
    ///
    /// # Errors
    /// Where the tokenizer refuses the text.
    pub fn encode_uncut(&self, text: &str) -> Result<Vec<u32>, TokenizationError> {
        self.with_special_tokens(self.content(text)?)
    }

    /// The tokens of one text, however long it is, each with the piece of the text that it stands for.
    ///
    /// # Errors
    /// Where the tokenizer refuses the text.
    pub fn tokens(&self, text: &str, add_special_tokens: bool) -> Result<Vec<Token>, TokenizationError> {
        let encoding = self.tokenizer.encode(text, add_special_tokens).map_err(failed)?;
        let token = |index: usize| {
            let special = encoding.get_special_tokens_mask()[index] == 1;
            let (start, end) = encoding.get_offsets()[index];
            // A piece may end inside a character where the vocabulary has single bytes.
            let piece = || String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned();
            Token {
                id: encoding.get_ids()[index],
                text: if special { encoding.get_tokens()[index].clone() } else { piece() },
                special,
                span: (!special).then_some(start..end),
            }
        };
        Ok((0..encoding.len()).map(token).collect())
    }

    /// The text of token ids, as far as the tokenizer keeps it.
    ///
    /// # Errors
    /// Where an id is not in the vocabulary, or the tokenizer refuses them.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizationError> {
        self.check_vocabulary(ids)?;
        self.tokenizer.decode(ids, skip_special_tokens).map_err(failed)
    }

    /// Tells whether this tokenizer may have made these ids of a text: all of them are in its vocabulary, and the special
    /// tokens stand round them that it puts round every text. Ids of another tokenizer often pass the first test, hardly
    /// ever both.
    ///
    /// # Errors
    /// Where it cannot have made them, with the reason.
    pub fn check_own(&self, ids: &[u32]) -> Result<(), TokenizationError> {
        let hint = "send text instead, or token ids of POST /tokenize; LangChain's OpenAIEmbeddings sends text with \
                    check_embedding_ctx_length=False";
        self.check_vocabulary(ids).map_err(|TokenizationError(message)| {
            TokenizationError(format!("{message}, so another tokenizer made these; {hint}"))
        })?;
        let (before, after) = &self.frame;
        let is_framed = ids.len() >= before.len() + after.len() && ids.starts_with(before) && ids.ends_with(after);
        if is_framed {
            return Ok(());
        }
        let name = |ids: &[u32]| {
            let names = ids.iter().map(|id| self.tokenizer.id_to_token(*id).unwrap_or_else(|| id.to_string()));
            names.collect::<Vec<_>>().join(" ")
        };
        let frame = format!("`{} … {}`", name(before), name(after));
        Err(TokenizationError(format!(
            "the model's tokenizer puts {frame} round every text, so another one made these token ids; {hint}"
        )))
    }

    /// Tells whether all ids are in the vocabulary.
    ///
    /// # Errors
    /// Where one is not.
    pub fn check_vocabulary(&self, ids: &[u32]) -> Result<(), TokenizationError> {
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => {
                let size = self.vocab_size;
                Err(TokenizationError(format!("token id {id} is not in the model's vocabulary of {size}")))
            }
            None => Ok(()),
        }
    }

    /// How many tokens a text has before truncation, special tokens included.
    ///
    /// # Errors
    /// Where the tokenizer refuses the text.
    pub fn count(&self, text: &str) -> Result<usize, TokenizationError> {
        Ok(self.content(text)?.len() + self.special_tokens())
    }

    /// Encodes one text that no vocabulary has: this shows the special tokens, whose ids tokenizer.json gives apart from
    /// the vocabulary, and a missing token for the unknown.
    fn check(&self) -> Result<(), TokenizationError> {
        let ids = self.encode_uncut("a \u{10FFFD}")?;
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => {
                Err(TokenizationError(format!("the tokenizer gives token id {id}, which is not in its vocabulary")))
            }
            None => Ok(()),
        }
    }

    fn content(&self, text: &str) -> Result<Encoding, TokenizationError> {
        self.tokenizer.encode_fast(text, false).map_err(failed)
    }

    fn with_special_tokens(&self, content: Encoding) -> Result<Vec<u32>, TokenizationError> {
        Ok(self.tokenizer.post_process(content, None, true).map_err(failed)?.get_ids().to_vec())
    }

    /// Special tokens put round one text.
    fn special_tokens(&self) -> usize {
        self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false))
    }
}

impl fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the vocabulary, which is thousands of lines.
        f.debug_struct("TextTokenizer")
            .field("max_seq_length", &self.max_seq_length)
            .field("vocab_size", &self.vocab_size)
            .finish_non_exhaustive()
    }
}

fn failed(error: tokenizers::Error) -> TokenizationError {
    TokenizationError(format!("the tokenizer failed: {error}"))
}
