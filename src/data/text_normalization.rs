//! What a model folder's other files say of its tokenizer, where they overrule tokenizer.json.
//!
//! transformers' `BertTokenizer` (models/bert/tokenization_bert.py) takes the vocabulary from tokenizer.json and makes
//! everything else anew from tokenizer_config.json. So that token ids are its, the same is done here where it can be
//! done by settings, and a tokenizer.json that differs by more is refused.

use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{ModelWrapper, PostProcessor, PreTokenizerWrapper, Tokenizer};

/// How text is normalised apart from what tokenizer.json says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextNormalization {
    /// Text is lower-cased before anything else.
    pub lower_case_first: bool,
    /// The settings of a `BertTokenizer`; none takes tokenizer.json as it is.
    pub bert: Option<BertNormalization>,
}

/// The settings of a BERT normaliser that tokenizer_config.json sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BertNormalization {
    /// Letters become lower case.
    pub lowercase: bool,
    /// Chinese characters become words of their own.
    pub handle_chinese_chars: bool,
    /// Accents are dropped; none drops them where letters become lower case.
    pub strip_accents: Option<bool>,
}

impl TextNormalization {
    pub(super) fn apply(self, tokenizer: &mut Tokenizer) -> Result<(), String> {
        let failed = |error: tokenizers::Error| error.to_string();
        if let Some(bert) = self.bert {
            check_is_bert(tokenizer)?;
            let wanted = BertNormalizer::new(true, bert.handle_chinese_chars, bert.strip_accents, bert.lowercase);
            tokenizer.with_normalizer(Some(wanted)).map_err(failed)?;
        }
        if self.lower_case_first {
            let mut steps: Vec<NormalizerWrapper> = vec![Lowercase.into()];
            steps.extend(tokenizer.get_normalizer().cloned());
            tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(failed)?;
        }
        Ok(())
    }
}

/// Checks the parts of a tokenizer that no setting of tokenizer_config.json tells apart.
fn check_is_bert(tokenizer: &Tokenizer) -> Result<(), String> {
    let normalizer = match tokenizer.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(bert)) => bert.clean_text,
        _ => false,
    };
    let pre_tokenizer = matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
    let model = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => {
            model.continuing_subword_prefix == "##" && model.max_input_chars_per_word == 100
        }
        _ => false,
    };
    let post_processor = tokenizer.get_post_processor().is_some_and(|processor| processor.added_tokens(false) == 2);
    let parts = [
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("model", model),
        ("post_processor", post_processor),
    ];
    match parts.iter().find(|(_, as_bert)| !as_bert) {
        None => Ok(()),
        Some((part, _)) => Err(format!(
            "tokenizer_config.json asks for a BertTokenizer, and `{part}` is not that of one; where tokenizer.json is \
             right, set `tokenizer_class` to `PreTrainedTokenizerFast`"
        )),
    }
}
