//! Rows into micro-batches, as sentence-transformers' `BatchSamplers.NO_DUPLICATES` and `BATCH_SAMPLER` do it: a pure
//! function of rows, seed and epoch.
//!
//! Three things differ from sentence-transformers 6.2, on purpose:
//! - Every batch that the rows make is trained on. There the trainer stops after rows / batch size batches, so rows
//!   that duplicates pushed past that are dropped without a word.
//! - A deferred row is not looked at again before the text that blocked it is free; there, each batch walks past
//!   every deferred row again, which is quadratic where one passage answers many questions. The batches are the same.
//! - Epochs are seeded by a hash of seed and epoch instead of their sum (see [`super::shuffle`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::domain::{BatchSampler, Pair};

use super::shuffle::shuffled;

/// Divides rows into micro-batches, anew for each epoch. Each row comes exactly once per epoch, and the last short
/// batch is kept, even if it is a single row, which has no negatives, loss 0 and no gradient.
#[derive(Debug, Clone)]
pub struct PairSampler {
    kind: BatchSampler,
    batch_size: usize,
    seed: u64,
    /// The texts of each row, numbered so that equal texts have equal numbers; the lower number first.
    texts: Vec<[u32; 2]>,
    distinct_texts: usize,
}

impl PairSampler {
    /// Reads the rows' texts; they need not outlive this call.
    #[must_use]
    pub fn new(pairs: &[Pair], kind: BatchSampler, batch_size: usize, seed: u64) -> Self {
        let mut numbers: HashMap<&str, u32> = HashMap::with_capacity(pairs.len() * 2);
        let mut number = |text| {
            let next = u32::try_from(numbers.len()).expect("fewer than 2^32 texts");
            *numbers.entry(text).or_insert(next)
        };
        let texts = pairs
            .iter()
            .map(|pair| {
                let (anchor, positive) = (number(pair.anchor.as_str()), number(pair.positive.as_str()));
                [anchor.min(positive), anchor.max(positive)]
            })
            .collect();
        Self { kind, batch_size: batch_size.max(1), seed, texts, distinct_texts: numbers.len() }
    }

    /// The micro-batches of an epoch (from 1), as indices of rows.
    #[must_use]
    pub fn epoch(&self, epoch: u32) -> Vec<Vec<u32>> {
        let order = shuffled(self.texts.len(), "training batches", self.seed, epoch.into());
        match self.kind {
            BatchSampler::BatchSampler => order.chunks(self.batch_size).map(<[u32]>::to_vec).collect(),
            BatchSampler::NoDuplicates => NoDuplicates::new(&self.texts, self.distinct_texts, order).batches(self),
        }
    }

    /// How many micro-batches an epoch has. Where texts repeat, only making them tells, and it may differ by epoch.
    #[must_use]
    pub fn batches_in_epoch(&self, epoch: u32) -> usize {
        if self.kind == BatchSampler::BatchSampler || self.distinct_texts == 2 * self.texts.len() {
            return self.texts.len().div_ceil(self.batch_size);
        }
        self.epoch(epoch).len()
    }
}

/// A place in the shuffled order, and the group of the row that stands there.
type Candidate = Reverse<(u32, u32)>;

/// Takes rows in shuffled order, each into the first batch where neither of its texts stands yet.
///
/// Rows with the same two texts form a group, of which only the first row left can be next. A group waits in one
/// of three places: among the candidates, or parked at one of its texts while that text blocks it. When a batch
/// ends, the texts in it (at most two for each row) each send their first parked group back to the candidates; if that
/// one turns out to be blocked by its other text, the next one parked follows.
struct NoDuplicates {
    order: Vec<u32>,
    /// Each group's two texts.
    groups: Vec<[u32; 2]>,
    /// Each group's places in the order that are left, the first at the end.
    places: Vec<Vec<u32>>,
    /// Each group that is free to try, and the text that it was parked at before.
    candidates: BinaryHeap<(Candidate, Option<u32>)>,
    /// The groups parked at each text.
    parked: Vec<BinaryHeap<Candidate>>,
    /// The last batch that each text stood in, from 1.
    last_batch: Vec<u32>,
}

impl NoDuplicates {
    fn new(texts: &[[u32; 2]], distinct_texts: usize, order: Vec<u32>) -> Self {
        let mut numbers: HashMap<[u32; 2], usize> = HashMap::with_capacity(texts.len());
        let mut groups = Vec::new();
        let mut places: Vec<Vec<u32>> = Vec::new();
        for (place, row) in order.iter().enumerate().rev() {
            let pair = texts[*row as usize];
            let group = *numbers.entry(pair).or_insert_with(|| {
                groups.push(pair);
                places.push(Vec::new());
                groups.len() - 1
            });
            places[group].push(u32::try_from(place).expect("fewer than 2^32 rows"));
        }
        let first = |(group, places): (usize, &Vec<u32>)| {
            let place = *places.last().expect("a group has a row");
            (Reverse((place, u32::try_from(group).expect("fewer than 2^32 groups"))), None)
        };
        let candidates = places.iter().enumerate().map(first).collect();
        let parked = std::iter::repeat_with(BinaryHeap::new).take(distinct_texts).collect();
        Self { order, groups, places, candidates, parked, last_batch: vec![0; distinct_texts] }
    }

    fn batches(mut self, sampler: &PairSampler) -> Vec<Vec<u32>> {
        let mut batches = Vec::with_capacity(self.order.len().div_ceil(sampler.batch_size));
        loop {
            let number = u32::try_from(batches.len() + 1).expect("fewer than 2^32 batches");
            let batch = self.next_batch(number, sampler.batch_size);
            if batch.is_empty() {
                return batches;
            }
            for row in &batch {
                let [low, high] = sampler.texts[*row as usize];
                self.release(low);
                if high != low {
                    self.release(high);
                }
            }
            batches.push(batch);
        }
    }

    fn next_batch(&mut self, number: u32, size: usize) -> Vec<u32> {
        let mut batch = Vec::new();
        while batch.len() < size
            && let Some((Reverse((place, group)), parked_at)) = self.candidates.pop()
        {
            let texts = self.groups[group as usize];
            if let Some(blocking) = texts.into_iter().find(|text| self.last_batch[*text as usize] == number) {
                self.parked[blocking as usize].push(Reverse((place, group)));
                if let Some(free) = parked_at.filter(|text| self.last_batch[*text as usize] != number) {
                    self.release(free);
                }
                continue;
            }
            batch.push(self.order[place as usize]);
            for text in texts {
                self.last_batch[text as usize] = number;
            }
            let places = &mut self.places[group as usize];
            places.pop();
            if let Some(next) = places.last() {
                self.parked[texts[0] as usize].push(Reverse((*next, group)));
            }
        }
        batch
    }

    /// Lets the first group parked at a text be tried again.
    fn release(&mut self, text: u32) {
        if let Some(candidate) = self.parked[text as usize].pop() {
            self.candidates.push((candidate, Some(text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn pair(anchor: impl ToString, positive: impl ToString) -> Pair {
        Pair { id: String::new(), anchor: anchor.to_string(), positive: positive.to_string() }
    }

    /// The definition, as plainly as it can be put: quadratic where texts repeat.
    fn by_definition(sampler: &PairSampler, epoch: u32) -> Vec<Vec<u32>> {
        let mut left = shuffled(sampler.texts.len(), "training batches", sampler.seed, epoch.into());
        let mut batches = Vec::new();
        while !left.is_empty() {
            let (mut batch, mut seen) = (Vec::new(), HashSet::new());
            left.retain(|row| {
                let texts = sampler.texts[*row as usize];
                if batch.len() == sampler.batch_size || texts.iter().any(|text| seen.contains(text)) {
                    return true;
                }
                seen.extend(texts);
                batch.push(*row);
                false
            });
            batches.push(batch);
        }
        batches
    }

    fn check(pairs: &[Pair], kind: BatchSampler, batch_size: usize, seed: u64, epoch: u32) {
        let sampler = PairSampler::new(pairs, kind, batch_size, seed);
        let batches = sampler.epoch(epoch);
        assert_eq!(batches.len(), sampler.batches_in_epoch(epoch));
        let mut rows: Vec<u32> = batches.concat();
        rows.sort_unstable();
        assert!(rows.into_iter().map(|row| row as usize).eq(0..pairs.len()), "each row comes once");
        assert!(batches.iter().all(|batch| (1..=batch_size).contains(&batch.len())));
        if kind == BatchSampler::NoDuplicates {
            assert_eq!(batches, by_definition(&sampler, epoch));
            for batch in &batches {
                let texts: Vec<HashSet<&str>> = batch
                    .iter()
                    .map(|row| [&pairs[*row as usize].anchor, &pairs[*row as usize].positive])
                    .map(|texts| texts.into_iter().map(String::as_str).collect())
                    .collect();
                let all: HashSet<&str> = texts.iter().flatten().copied().collect();
                assert_eq!(all.len(), texts.iter().map(HashSet::len).sum::<usize>(), "no text stands twice");
            }
        }
    }

    proptest! {
        #[test]
        fn batches_are_those_of_the_definition(
            // Few texts, so that anchors repeat, positives repeat, and one row's anchor is another's positive.
            texts in proptest::collection::vec((0..12_u8, 0..12_u8), 0..120),
            batch_size in 1..10_usize,
            seed in any::<u64>(),
            epoch in 1..5_u32,
            shuffle_only in any::<bool>(),
        ) {
            let pairs: Vec<Pair> = texts.into_iter().map(|(anchor, positive)| pair(anchor, positive)).collect();
            let kind = if shuffle_only { BatchSampler::BatchSampler } else { BatchSampler::NoDuplicates };
            check(&pairs, kind, batch_size, seed, epoch);
        }
    }

    #[test]
    fn without_repeats_batches_are_full_and_epochs_differ() {
        let pairs: Vec<Pair> = (0..100).map(|row| pair(format!("q{row}"), format!("p{row}"))).collect();
        let sampler = PairSampler::new(&pairs, BatchSampler::NoDuplicates, 32, 42);
        let sizes: Vec<usize> = sampler.epoch(1).iter().map(Vec::len).collect();
        assert_eq!(sizes, [32, 32, 32, 4]);
        assert_eq!(sampler.epoch(1), sampler.epoch(1));
        assert_ne!(sampler.epoch(1), sampler.epoch(2));
    }

    #[test]
    fn many_repeats_stay_cheap() {
        // Two hubs that most rows name, and rows that bounce between them: walking past every deferred row for every
        // batch would be 10^10 looks, minutes of it.
        let rows = 150_000;
        let pairs: Vec<Pair> = (0..rows)
            .map(|row| match row % 4 {
                0 => pair("hub a", "hub b"),
                1 => pair("hub a", "side"),
                2 => pair("hub b", format!("p{row}")),
                _ => pair(format!("q{row}"), "hub a"),
            })
            .collect();
        let sampler = PairSampler::new(&pairs, BatchSampler::NoDuplicates, 32, 7);
        let started = std::time::Instant::now();
        assert_eq!(sampler.epoch(1).concat().len(), rows);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
