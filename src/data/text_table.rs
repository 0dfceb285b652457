//! Each distinct text once, so that a text that many rows share is tokenised and embedded once.

use std::collections::HashMap;

use super::tokenization::{TextTokenizer, TokenizationError};

/// Texts handed to the tokenizer at once: enough for all cores, few enough to stop between.
const CHUNK: usize = 4096;

/// Distinct texts, numbered in the order in which they came.
#[derive(Debug, Default)]
pub struct TextTable<'a> {
    rows: HashMap<&'a str, u32>,
    texts: Vec<&'a str>,
}

impl<'a> TextTable<'a> {
    /// The text's number; a new one where the text is new.
    pub fn insert(&mut self, text: &'a str) -> u32 {
        let next = u32::try_from(self.texts.len()).expect("fewer than 2^32 texts");
        let row = *self.rows.entry(text).or_insert(next);
        if row == next {
            self.texts.push(text);
        }
        row
    }

    /// The text with this number.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn text(&self, row: u32) -> &'a str {
        self.texts[row as usize]
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Token ids of each text by its number; none where `keep_going`, asked now and then, says no.
    ///
    /// # Errors
    /// Where the tokenizer refuses a text.
    pub fn tokenize(
        &self,
        tokenizer: &TextTokenizer,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Vec<u32>>>, TokenizationError> {
        let mut sequences = Vec::with_capacity(self.len());
        for texts in self.texts.chunks(CHUNK) {
            if !keep_going() {
                return Ok(None);
            }
            sequences.extend(tokenizer.encode_batch(texts)?);
        }
        Ok(Some(sequences))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_number() {
        let mut table = TextTable::default();
        let rows: Vec<u32> = ["b", "a", "b", "", "a", ""].into_iter().map(|text| table.insert(text)).collect();
        assert_eq!(rows, [0, 1, 0, 2, 1, 2]);
        assert_eq!(table.len(), 3);
        assert_eq!(table.text(1), "a");
    }
}
