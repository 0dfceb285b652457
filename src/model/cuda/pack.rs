//! A packed batch on the device, with all that its kernels want to know of it, in one piece of memory and one copy.

use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::kernels::cuda::attention::AttentionPlan;
use crate::kernels::cuda::dropout::mask_starts;
use crate::kernels::cuda::embedding::GatherPlan;
use crate::kernels::cuda::{Buffer, CudaError, Device, View};
use crate::kernels::dropout::DropoutPlace;
use crate::model::DropoutKey;

/// The batch that is computed.
#[derive(Debug)]
pub(super) struct DevicePack {
    words: Buffer<u32>,
    room: Vec<u32>,
    pub(super) tokens: usize,
    pub(super) sequences: usize,
    ids: Range<usize>,
    positions: Range<usize>,
    cu_seqlens: Range<usize>,
    token_units: Range<usize>,
    token_micro_batches: Range<usize>,
    sequence_units: Range<usize>,
    sequence_micro_batches: Range<usize>,
    mask_starts: Range<usize>,
    attention_tiles: Range<usize>,
    id_words: Range<usize>,
    position_words: Range<usize>,
    pub(super) attention: AttentionPlan,
    pub(super) by_id: GatherPlan,
    pub(super) by_position: GatherPlan,
    /// Groups of the probabilities' mask for each head.
    pub(super) mask_groups: u32,
}

impl DevicePack {
    /// Room that grows with the first batches.
    pub(super) fn new(device: &Device) -> Result<Self, CudaError> {
        Ok(Self {
            words: Buffer::new(device, 0)?,
            room: Vec::new(),
            tokens: 0,
            sequences: 0,
            ids: 0..0,
            positions: 0..0,
            cu_seqlens: 0..0,
            token_units: 0..0,
            token_micro_batches: 0..0,
            sequence_units: 0..0,
            sequence_micro_batches: 0..0,
            mask_starts: 0..0,
            attention_tiles: 0..0,
            id_words: 0..0,
            position_words: 0..0,
            attention: AttentionPlan::default(),
            by_id: GatherPlan::default(),
            by_position: GatherPlan::default(),
            mask_groups: 0,
        })
    }

    /// Words of a batch of so many tokens and sequences, at most; memory for as many is taken before a batch comes.
    pub(super) fn most_words(tokens: usize, sequences: usize) -> usize {
        // Ids, positions, places of tokens; plans; what there is for each sequence. Beyond it the room grows.
        16 * tokens + 16 * sequences + 1024
    }

    /// Takes memory for batches of so many words.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn reserve(&mut self, words: usize) -> Result<(), CudaError> {
        self.words.grow(words)
    }

    /// Copies a batch to the device. What only backward needs is left out where `for_backward` is not set.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn upload(
        &mut self,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        for_backward: bool,
    ) -> Result<(), CudaError> {
        (self.tokens, self.sequences) = (batch.tokens(), batch.sequences());
        let lengths = || batch.cu_seqlens.windows(2).map(|ends| ends[1] - ends[0]);
        self.attention = AttentionPlan::new(lengths());
        let mut words = std::mem::take(&mut self.room);
        words.clear();
        self.ids = append(&mut words, batch.input_ids.iter().copied());
        self.positions = append(&mut words, batch.position_ids.iter().copied());
        self.cu_seqlens = append(&mut words, batch.cu_seqlens.iter().map(|end| *end as u32));
        self.attention_tiles = append(&mut words, self.attention.tiles().iter().copied());
        if let Some(key) = dropout {
            (self.token_units, self.token_micro_batches) = append_places(&mut words, &key.tokens, self.tokens);
            (self.sequence_units, self.sequence_micro_batches) =
                append_places(&mut words, &key.sequences, self.sequences);
            let starts = mask_starts(lengths());
            self.mask_groups = starts.last().copied().unwrap_or_default();
            self.mask_starts = append(&mut words, starts);
        }
        if for_backward {
            (self.by_id, self.by_position) = (GatherPlan::new(&batch.input_ids), GatherPlan::new(&batch.position_ids));
            self.id_words = append(&mut words, self.by_id.words().iter().copied());
            self.position_words = append(&mut words, self.by_position.words().iter().copied());
        }
        self.words.grow(words.len())?;
        self.words.write(0, &words)?;
        self.room = words;
        Ok(())
    }

    fn part(&self, range: &Range<usize>) -> View<u32> {
        self.words.view().part(range.start, range.len())
    }

    pub(super) fn ids(&self) -> View<u32> {
        self.part(&self.ids)
    }

    pub(super) fn positions(&self) -> View<u32> {
        self.part(&self.positions)
    }

    pub(super) fn cu_seqlens(&self) -> View<u32> {
        self.part(&self.cu_seqlens)
    }

    /// Each token's place in its micro-batch, and the micro-batch.
    pub(super) fn token_places(&self) -> (View<u32>, View<u32>) {
        (self.part(&self.token_units), self.part(&self.token_micro_batches))
    }

    /// Each sequence's place in its micro-batch, and the micro-batch.
    pub(super) fn sequence_places(&self) -> (View<u32>, View<u32>) {
        (self.part(&self.sequence_units), self.part(&self.sequence_micro_batches))
    }

    pub(super) fn mask_starts(&self) -> View<u32> {
        self.part(&self.mask_starts)
    }

    pub(super) fn attention_tiles(&self) -> View<u32> {
        self.part(&self.attention_tiles)
    }

    pub(super) fn id_words(&self) -> View<u32> {
        self.part(&self.id_words)
    }

    pub(super) fn position_words(&self) -> View<u32> {
        self.part(&self.position_words)
    }
}

fn append(words: &mut Vec<u32>, values: impl IntoIterator<Item = u32>) -> Range<usize> {
    let start = words.len();
    words.extend(values);
    // Each array starts at a multiple of 16 bytes.
    let end = words.len();
    words.resize(end.next_multiple_of(4), 0);
    start..end
}

/// Each row's number in its micro-batch, and that of the micro-batch.
fn append_places(words: &mut Vec<u32>, places: &[DropoutPlace], rows: usize) -> (Range<usize>, Range<usize>) {
    let ends = places.iter().skip(1).map(|place| place.start).chain([rows as u32]);
    let stretches = || places.iter().zip(ends.clone());
    let units = stretches().flat_map(|(place, end)| (place.start..end).map(|row| place.first + row - place.start));
    let units = append(words, units);
    let micro_batch = |place: &DropoutPlace| u32::try_from(place.micro_batch).expect("a run has fewer micro-batches");
    let micro_batches = stretches().flat_map(|(place, end)| (place.start..end).map(move |_| micro_batch(place)));
    (units, append(words, micro_batches))
}
