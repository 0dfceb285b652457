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

    /// Packs sequences in the order given into batches of at most `tokens` tokens; a longer sequence has a batch of its
    /// own.
    pub fn within<'a>(sequences: impl IntoIterator<Item = &'a [u32]>, tokens: usize) -> Vec<Self> {
        let mut pack = Vec::new();
        let mut packed = 0;
        let mut batches = Vec::new();
        for sequence in sequences {
            if packed + sequence.len() > tokens && !pack.is_empty() {
                batches.push(Self::from_sequences(pack.drain(..)));
                packed = 0;
            }
            packed += sequence.len();
            pack.push(sequence);
        }
        if !pack.is_empty() {
            batches.push(Self::from_sequences(pack));
        }
        batches
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_keep_the_order_and_the_budget() {
        let sequences: Vec<Vec<u32>> = (1..60).map(|i| vec![i; 1 + (i as usize * 7) % 30]).collect();
        let slices = || sequences.iter().map(Vec::as_slice);
        for budget in [1, 29, 64, 100_000] {
            let packs = PackedBatch::within(slices(), budget);
            assert!(packs.iter().all(|pack| pack.tokens() <= budget || pack.sequences() == 1), "{budget}");
            let two_fit = |two: &[PackedBatch]| two[0].tokens() + two[1].cu_seqlens[1] <= budget;
            assert!(!packs.windows(2).any(two_fit), "{budget}: a pack ends only where the next sequence is too much");
            let ids: Vec<u32> = packs.iter().flat_map(|pack| &pack.input_ids).copied().collect();
            assert_eq!(ids, sequences.concat());
        }
        assert_eq!(PackedBatch::within(slices(), 100_000), [PackedBatch::from_sequences(slices())]);
        assert!(PackedBatch::within([], 10).is_empty());
    }
}
