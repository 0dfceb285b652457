//! Micro-batches' losses and gradients, in bounded memory.
//!
//! In-batch negatives tie all pairs of a micro-batch together, but only through their embeddings. So a micro-batch of
//! more tokens than the activations of which may be kept is computed in packs, as gradient caching does it (Gao, Zhang,
//! Han and Callan 2021; sentence-transformers' CachedMultipleNegativesRankingLoss): embed each pack and keep nothing,
//! take the loss and its gradient by all embeddings at once, then for each pack go forward again, with the same dropout
//! masks, and back. Sums may round differently; the mathematics is the same. The last pack is still kept when its
//! turn to go back comes first, so that a micro-batch of one pack is computed once, and is no case of its own.
//!
//! The other way round, several micro-batches may be one pass where an engine is the faster for it: the loss is then
//! block-diagonal, each micro-batch's pairs meeting only their own.

use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::model::{DropoutKey, DropoutPart};

use super::TrainError;
use super::engine::{Engine, GroupSize, Limits};
use super::profile::{Spent, Stopwatch};

/// A micro-batch's place in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    /// Its number since the start of the run.
    number: u64,
    pairs: usize,
    tokens: usize,
}

/// Micro-batches that are computed as one, ready to be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    members: Vec<Member>,
    /// In the order of the sequences.
    packs: Vec<PackedBatch>,
}

/// A micro-batch's token ids: its number since the start of the run, its anchors' sequences, and after them the positives'
/// in the same order.
pub type MicroBatch<'a> = (u64, Vec<&'a [u32]>);

impl Group {
    /// Packs micro-batches as they come: as many into a group as `limits` lets be computed as one, each pack within its
    /// limit (or one sequence).
    pub fn pack<'a>(micro_batches: impl IntoIterator<Item = MicroBatch<'a>>, limits: Limits) -> Vec<Self> {
        let mut groups: Vec<(usize, Vec<MicroBatch<'a>>)> = Vec::new();
        for micro_batch in micro_batches {
            let tokens = micro_batch.1.iter().map(|sequence| sequence.len()).sum::<usize>();
            match groups.last_mut() {
                Some((sum, group)) if *sum + tokens <= limits.group => {
                    *sum += tokens;
                    group.push(micro_batch);
                }
                _ => groups.push((tokens, vec![micro_batch])),
            }
        }
        groups.into_iter().map(|(_, micro_batches)| Self::of(&micro_batches, limits.pack)).collect()
    }

    fn of(micro_batches: &[MicroBatch<'_>], pack_tokens: usize) -> Self {
        let member = |(number, sequences): &MicroBatch<'_>| Member {
            number: *number,
            pairs: sequences.len() / 2,
            tokens: sequences.iter().map(|sequence| sequence.len()).sum(),
        };
        let sequences = micro_batches.iter().flat_map(|(_, sequences)| sequences.iter().copied());
        Self { members: micro_batches.iter().map(member).collect(), packs: PackedBatch::within(sequences, pack_tokens) }
    }

    /// The same micro-batches within other limits.
    #[must_use]
    pub fn within(&self, limits: Limits) -> Vec<Self> {
        let sequences =
            |pack: &PackedBatch| pack.cu_seqlens.windows(2).map(|ends| ends[0]..ends[1]).collect::<Vec<_>>();
        let packs = self.packs.iter();
        let mut sequences =
            packs.flat_map(|pack| sequences(pack).into_iter().map(|place| &pack.input_ids[place])).collect::<Vec<_>>();
        let mut micro_batches: Vec<MicroBatch<'_>> = Vec::new();
        for member in &self.members {
            let rest = sequences.split_off(2 * member.pairs);
            micro_batches.push((member.number, std::mem::replace(&mut sequences, rest)));
        }
        Self::pack(micro_batches, limits)
    }

    /// How many packs it is computed in.
    #[must_use]
    pub fn packs(&self) -> usize {
        self.packs.len()
    }

    /// How many micro-batches it holds.
    #[must_use]
    pub fn micro_batches(&self) -> usize {
        self.members.len()
    }

    /// How large it is.
    #[must_use]
    pub fn size(&self) -> GroupSize {
        GroupSize {
            sequences: self.packs.iter().map(PackedBatch::sequences).sum(),
            pack_sequences: self.packs.iter().map(PackedBatch::sequences).max().unwrap_or_default(),
            pack_tokens: self.packs.iter().map(PackedBatch::tokens).max().unwrap_or_default(),
        }
    }

    /// Each pack with the places of its sequences and the dropout masks of its place, where there is a seed.
    fn placed(&self, seed: Option<u64>) -> Vec<Placed<'_>> {
        let (mut sequence, mut token) = (0, 0);
        let place = |pack| {
            let sequences = sequence..sequence + PackedBatch::sequences(pack);
            let tokens = token..token + pack.tokens();
            (sequence, token) = (sequences.end, tokens.end);
            Placed { pack, dropout: seed.map(|seed| self.dropout(seed, &sequences, &tokens)), sequences }
        };
        self.packs.iter().map(place).collect()
    }

    /// The masks of the group's sequences and tokens in these ranges.
    fn dropout(&self, seed: u64, sequences: &Range<usize>, tokens: &Range<usize>) -> DropoutKey {
        let (mut sequence, mut token) = (0, 0);
        let mut parts = Vec::new();
        for member in &self.members {
            let (end, end_token) = (sequence + 2 * member.pairs, token + member.tokens);
            if sequence < sequences.end && end > sequences.start {
                parts.push(DropoutPart {
                    micro_batch: member.number,
                    sequence: sequence.saturating_sub(sequences.start),
                    token: token.saturating_sub(tokens.start),
                    first_sequence: sequences.start.saturating_sub(sequence),
                    first_token: tokens.start.saturating_sub(token),
                });
            }
            (sequence, token) = (end, end_token);
        }
        DropoutKey::of(seed, parts)
    }

    /// Adds `share` times the gradient of each micro-batch's loss, and the losses likewise, to the engine's step. `seed`
    /// names the dropout masks; without one there are none. Time and work are added to `spent`. `keep_going` is asked before
    /// each pack.
    ///
    /// # Errors
    /// [`TrainError::Cancelled`] where `keep_going` says no, [`TrainError::OutOfMemory`] where the engine has too little for
    /// such packs, before anything is added; and as the engine says.
    pub fn compute(
        &self,
        engine: &mut dyn Engine,
        seed: Option<u64>,
        share: f64,
        spent: &mut Spent,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        let go_on = || if keep_going() { Ok(()) } else { Err(TrainError::Cancelled) };
        let packs = self.placed(seed);
        let mut watch = Stopwatch::start();
        engine.begin(self.size())?;
        let last = packs.len() - 1;
        for (number, Placed { pack, sequences, dropout }) in packs.iter().enumerate() {
            go_on()?;
            engine.forward(pack, dropout.as_ref(), sequences.clone(), number == last)?;
        }
        watch.lap(&mut spent.seconds.forward);
        let pairs: Vec<usize> = self.members.iter().map(|member| member.pairs).collect();
        engine.loss(&pairs, share)?;
        watch.lap(&mut spent.seconds.loss);
        for (number, Placed { pack, sequences, dropout }) in packs.iter().enumerate().rev() {
            if number != last {
                go_on()?;
                engine.forward(pack, dropout.as_ref(), sequences.clone(), true)?;
                watch.lap(&mut spent.seconds.forward);
            }
            engine.backward(pack, sequences.clone())?;
            watch.lap(&mut spent.seconds.backward);
            spent.tokens += pack.tokens() as u64;
            // Backward multiplies by the weights and by the inputs, so it takes twice what forward takes.
            spent.operations += 3 * engine.encoder().forward_operations(pack);
        }
        Ok(())
    }
}

/// A pack at its place in the group.
struct Placed<'a> {
    pack: &'a PackedBatch,
    sequences: Range<usize>,
    dropout: Option<DropoutKey>,
}
