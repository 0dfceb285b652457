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

/// The sequences' indices, longest first, cut into packs of at most `tokens` tokens (or one sequence).
pub fn longest_first<S: AsRef<[u32]>>(sequences: &[S], tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(sequences[*place].as_ref().len()));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut packed = tokens;
    for place in order {
        let length = sequences[place].as_ref().len();
        match packs.last_mut() {
            Some(pack) if packed + length <= tokens => pack.push(place),
            _ => {
                packs.push(vec![place]);
                packed = 0;
            }
        }
        packed += length;
    }
    packs
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

    #[test]
    fn packs_by_length_hold_every_sequence_once_and_keep_to_the_budget() {
        const BUDGET: usize = 4096;
        let sequences: Vec<Vec<u32>> = (0..500).map(|i| vec![1; 1 + (i * 37) % 700]).collect();
        let packs = longest_first(&sequences, BUDGET);
        let tokens = |pack: &Vec<usize>| pack.iter().map(|place| sequences[*place].len()).sum::<usize>();
        assert!(packs.iter().all(|pack| tokens(pack) <= BUDGET && !pack.is_empty()));
        let mut all = packs.concat();
        assert!(all.windows(2).all(|two| sequences[two[0]].len() >= sequences[two[1]].len()));
        all.sort_unstable();
        assert!(all.into_iter().eq(0..500));
        assert_eq!(longest_first(&[vec![1; BUDGET + 1], vec![1]], BUDGET).len(), 2);
        assert!(longest_first::<Vec<u32>>(&[], BUDGET).is_empty());
    }
}
