//! Packed batches: sequences end to end, without padding and so without masks.

/// Token ids of several sequences end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids, `[tokens]`.
    pub input_ids: Vec<u32>,
    /// Each token's place in its own sequence, `[tokens]`.
    pub position_ids: Vec<u32>,
    /// Where each sequence starts, and after the last one the end: `[sequences + 1]`.
    pub cu_seqlens: Vec<usize>,
}

impl PackedBatch {
    /// Packs sequences in the order given. An empty sequence is a mistake of the caller: tokenisers add special tokens.
    pub fn from_sequences<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut batch = Self { cu_seqlens: vec![0], ..Self::default() };
        for sequence in sequences {
            batch.input_ids.extend_from_slice(sequence);
            batch.position_ids.extend(0..u32::try_from(sequence.len()).expect("sequences are short"));
            batch.cu_seqlens.push(batch.input_ids.len());
        }
        batch
    }

    /// The number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The number of sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.cu_seqlens.len().saturating_sub(1)
    }
}
