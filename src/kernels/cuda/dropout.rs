//! Dropout masks as bits on the device.

use crate::kernels::dropout::{scale_of, threshold_of};

use super::{Buffer, CudaError, Device, View};

/// Bits of a mask that a warp draws at once, and words that hold them.
const GROUP_BITS: usize = 256;
const GROUP_WORDS: usize = GROUP_BITS / 32;

/// What names the masks of one dropout layer, beside the place in the micro-batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// The job's seed.
    pub(crate) seed: u64,
    /// The layer's number.
    pub(crate) number: u32,
    /// The share that is dropped.
    pub(crate) rate: f32,
}

impl Site {
    /// The factor of what is kept.
    pub(crate) fn scale(&self) -> f32 {
        scale_of(threshold_of(self.rate))
    }

    /// True where nothing is dropped, so that no mask is needed.
    pub(crate) fn is_off(&self) -> bool {
        threshold_of(self.rate) == 0
    }

    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// Words of the mask of a row with so many columns.
pub(crate) fn row_words(columns: usize) -> usize {
    columns.div_ceil(GROUP_BITS) * GROUP_WORDS
}

/// Where each sequence's bits of the probabilities' mask begin, in groups for each head, and the end.
pub(crate) fn mask_starts(lengths: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let mut starts = vec![0];
    for length in lengths {
        let groups = (length * length).div_ceil(GROUP_BITS) as u32;
        starts.push(starts.last().copied().unwrap_or_default() + groups);
    }
    starts
}

/// Words of the probabilities' mask of sequences whose [`mask_starts`] end with `groups`.
pub(crate) fn probability_words(groups: u32, heads: usize) -> usize {
    groups as usize * heads * GROUP_WORDS
}

/// Draws the masks of rows of `columns` numbers to `mask`, `[rows, row_words(columns)]`; `units` and `micro_batches`
/// (`[rows]`) tell each row's place.
///
/// # Errors
/// As the device says.
pub(crate) fn draw_rows(
    device: &Device,
    site: Site,
    columns: usize,
    (units, micro_batches): (View<u32>, View<u32>),
    mask: &Buffer<u32>,
) -> Result<(), CudaError> {
    let (words, [key0, key1]) = (row_words(columns), site.key());
    let mask = mask.view().part(0, units.len() * words);
    let threads = (words / GROUP_WORDS).min(8) * 32;
    let arguments = [
        mask.into(),
        units.into(),
        micro_batches.into(),
        words.into(),
        site.number.into(),
        key0.into(),
        key1.into(),
        threshold_of(site.rate).into(),
    ];
    device.launch("dropout_rows", [units.len(), 1, 1], threads, 0, &arguments)
}

/// Draws the masks of all heads' probabilities. `starts` are [`mask_starts`], `[sequences + 1]`; `units` and
/// `micro_batches` (`[sequences]`) tell each sequence's place.
///
/// # Errors
/// As the device says.
pub(crate) fn draw_probabilities(
    device: &Device,
    site: Site,
    heads: usize,
    starts: View<u32>,
    (units, micro_batches): (View<u32>, View<u32>),
    mask: &Buffer<u32>,
) -> Result<(), CudaError> {
    let [key0, key1] = site.key();
    let arguments = [
        mask.view().into(),
        starts.into(),
        units.into(),
        micro_batches.into(),
        heads.into(),
        site.number.into(),
        key0.into(),
        key1.into(),
        threshold_of(site.rate).into(),
    ];
    device.launch("dropout_probabilities", [units.len() * heads, 1, 1], 128, 0, &arguments)
}
