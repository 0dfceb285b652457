//! Softmax attention over packed sequences on the device: which blocks there are for a batch, and the launches.

use super::{Address, Argument, CudaError, Device, Numbers, View};

/// Rows that a warp owns.
const WARP_ROWS: usize = 16;
/// Rows that a block may own: longer sequences are of several blocks.
const BLOCK_ROWS: [usize; 3] = [16, 32, 64];
/// Numbers that tell a block its tile.
const TILE_WORDS: usize = 4;

/// One sequence's place.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    number: usize,
    start: usize,
    length: usize,
}

/// Blocks of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    /// Rows that each owns.
    rows: usize,
    /// Its first tile's number.
    first: usize,
    /// Its tiles.
    tiles: usize,
    /// Tokens of its longest sequence.
    longest: usize,
}

/// Which blocks work on a batch's sequences: made on the host when the batch is packed, uploaded once for all layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttentionPlan {
    /// Each tile's sequence, that one's first token and length, and the tile's first row: `[tiles, 4]`.
    tiles: Vec<u32>,
    groups: Vec<Group>,
}

impl AttentionPlan {
    /// Blocks for sequences of these lengths. A sequence of up to 16 or 32 tokens gets a smaller block, of which more
    /// run at once; a launch for few of them would cost more than it saves, so that few go with the longer ones. Of each
    /// size the longest sequences go first, so that no long one comes last.
    pub(crate) fn new(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut end = 0;
        let mut sequences: Vec<_> = Vec::new();
        for (number, length) in lengths.into_iter().enumerate().filter(|(_, length)| *length > 0) {
            sequences.push(Sequence { number, start: end, length });
            end += length;
        }
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.length));
        let mut plan = Self::default();
        // By rising length: those that wait for a block's size that is worth a launch.
        let mut waiting = &sequences[..];
        let mut groups = Vec::new();
        for rows in BLOCK_ROWS {
            let longer = waiting.partition_point(|sequence| sequence.length > rows);
            let longer = if rows == BLOCK_ROWS[BLOCK_ROWS.len() - 1] { 0 } else { longer };
            let (rest, fitting) = waiting.split_at(longer);
            if fitting.is_empty() || (!rest.is_empty() && fitting.len() * 8 < sequences.len()) {
                continue;
            }
            groups.push((rows, fitting));
            waiting = rest;
        }
        // The largest blocks first: they take longest.
        for (rows, sequences) in groups.into_iter().rev() {
            let first = plan.tiles.len() / TILE_WORDS;
            for Sequence { number, start, length } in sequences {
                let rows = (0..*length).step_by(rows);
                plan.tiles.extend(rows.flat_map(|row| [*number, *start, *length, row].map(|value| value as u32)));
            }
            let longest = sequences.first().map_or(0, |sequence| sequence.length);
            plan.groups.push(Group { rows, first, tiles: plan.tiles.len() / TILE_WORDS - first, longest });
        }
        plan
    }

    /// What the device gets: `[tiles, 4]`.
    pub(crate) fn tiles(&self) -> &[u32] {
        &self.tiles
    }
}

/// The masks of all heads' probabilities, as `dropout::draw_probabilities` draws them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedProbabilities {
    /// Bits, 1 where a probability is kept.
    pub(crate) mask: View<u32>,
    /// `dropout::mask_starts`, `[sequences + 1]`.
    pub(crate) starts: View<u32>,
    /// The factor of what is kept.
    pub(crate) scale: f32,
}

/// What attention is computed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention<'a> {
    /// Numbers of activations.
    pub(crate) numbers: Numbers,
    /// Heads.
    pub(crate) heads: usize,
    /// Each head's size, for which there must be kernels ([`is_supported`]).
    pub(crate) head_size: usize,
    /// Tokens of all sequences.
    pub(crate) tokens: usize,
    /// The plan made from the sequences' lengths.
    pub(crate) plan: &'a AttentionPlan,
    /// [`AttentionPlan::tiles`].
    pub(crate) tiles: View<u32>,
    /// None where nothing is dropped.
    pub(crate) dropout: Option<DroppedProbabilities>,
}

/// Whether there are kernels for heads of this size. Heads of 128 have none in float32: a warp's rows would not fit its
/// registers.
pub(crate) fn is_supported(numbers: Numbers, head_size: usize) -> bool {
    matches!((numbers, head_size), (_, 16 | 32 | 64) | (Numbers::Bf16, 128))
}

/// The name of a kernel's instance.
macro_rules! instance {
    ($attention:expr, $name:literal) => {
        match ($attention.numbers, $attention.head_size) {
            (Numbers::Bf16, 16) => concat!($name, "_16_bf16"),
            (Numbers::Bf16, 32) => concat!($name, "_32_bf16"),
            (Numbers::Bf16, 64) => concat!($name, "_64_bf16"),
            (Numbers::Bf16, 128) => concat!($name, "_128_bf16"),
            (Numbers::Float32, 16) => concat!($name, "_16_f32"),
            (Numbers::Float32, 32) => concat!($name, "_32_f32"),
            (Numbers::Float32, 64) => concat!($name, "_64_f32"),
            (_, size) => panic!("no attention kernel for heads of {size}: `is_supported` tells"),
        }
    };
}

impl Attention<'_> {
    /// Bytes of shared memory of a group's blocks: as many tiles as `Tile` in `attention_tiles.cu` describes, two where
    /// one is copied while another is worked on.
    fn shared(&self, group: &Group) -> usize {
        let row = self.head_size * self.numbers.bytes();
        let rows = group.rows.min(if row <= 128 { 64 } else { 32 });
        let tile = 2 * rows * (row + 16) + 16 * group.rows + 8 * rows;
        if group.longest <= rows { tile } else { 2 * tile }
    }

    /// Launches a kernel for each group of tiles; `arguments` makes its arguments from the group's tiles.
    fn launch(
        &self,
        device: &Device,
        kernel: &'static str,
        arguments: impl Fn(View<u32>) -> Vec<Argument>,
    ) -> Result<(), CudaError> {
        let dropout = self.dropout.as_ref();
        let common: [Argument; 5] = [
            self.tokens.into(),
            dropout.map_or(Address::NONE, |dropout| dropout.mask.address()).into(),
            dropout.map_or(Address::NONE, |dropout| dropout.starts.address()).into(),
            (1.0 / (self.head_size as f32).sqrt()).into(),
            dropout.map_or(1.0, |dropout| dropout.scale).into(),
        ];
        for group in &self.plan.groups {
            let mut arguments = arguments(self.tiles.part(TILE_WORDS * group.first, TILE_WORDS * group.tiles));
            arguments.extend(common);
            let threads = group.rows / WARP_ROWS * 32;
            device.launch(kernel, [group.tiles, self.heads, 1], threads, self.shared(group), &arguments)?;
        }
        Ok(())
    }
}

/// `context = dropout(softmax(query keyᵀ / √head_size)) value`, per sequence and head. `qkv` is `[tokens, 3 * hidden]`,
/// `context` `[tokens, hidden]`; `log_sums` (float32, `[heads, tokens]`, or none where there is no backward) gets the
/// logarithm of each softmax's sum.
///
/// # Errors
/// As the device says.
pub(crate) fn attention(
    device: &Device,
    attention: &Attention<'_>,
    qkv: Address,
    context: Address,
    log_sums: Option<View<f32>>,
) -> Result<(), CudaError> {
    let log_sums = log_sums.map_or(Address::NONE, |log_sums| log_sums.address());
    attention.launch(device, instance!(attention, "attention_forward"), |tiles| {
        vec![qkv.into(), tiles.into(), context.into(), log_sums.into()]
    })
}

/// What forward of attention leaves for backward.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionKept {
    /// Query, key and value, `[tokens, 3 * hidden]`.
    pub(crate) qkv: Address,
    /// Forward's result, `[tokens, hidden]`.
    pub(crate) context: Address,
    /// Of forward, `[heads, tokens]`.
    pub(crate) log_sums: View<f32>,
}

/// From the gradient by the context, `[tokens, hidden]`, writes the one by query, key and value,
/// `[tokens, 3 * hidden]`. `deltas` is room for `[heads, tokens]`. Dropout must be that of forward.
///
/// # Errors
/// As the device says.
pub(crate) fn attention_backward(
    device: &Device,
    attention: &Attention<'_>,
    kept: AttentionKept,
    d_context: Address,
    deltas: View<f32>,
    d_qkv: Address,
) -> Result<(), CudaError> {
    let AttentionKept { qkv, context, log_sums } = kept;
    let log_sums = Argument::from(log_sums);
    // The gradients by queries come first: they leave the deltas that those by keys read.
    attention.launch(device, instance!(attention, "attention_d_query"), |tiles| {
        let (given, made) = ([qkv, context, d_context], [deltas.into(), d_qkv.into()]);
        [&given.map(Argument::from)[..], &[tiles.into(), log_sums], &made].concat()
    })?;
    attention.launch(device, instance!(attention, "attention_d_key"), |tiles| {
        let (given, made) = ([qkv, d_context], [deltas.into(), d_qkv.into()]);
        [&given.map(Argument::from)[..], &[tiles.into(), log_sums], &made].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(plan: &AttentionPlan, lengths: &[usize]) {
        let mut rows: Vec<_> = lengths.iter().map(|length| vec![0; *length]).collect();
        let mut tiles = 0;
        for group in &plan.groups {
            assert_eq!(group.first, tiles);
            tiles += group.tiles;
            for tile in plan.tiles[4 * group.first..][..4 * group.tiles].chunks(4) {
                let [sequence, start, length, first] = [0, 1, 2, 3].map(|place| tile[place] as usize);
                assert_eq!((start, length), (lengths[..sequence].iter().sum(), lengths[sequence]));
                assert!(first < length && length <= group.longest);
                rows[sequence].iter_mut().skip(first).take(group.rows).for_each(|times| *times += 1);
            }
        }
        assert_eq!(4 * tiles, plan.tiles.len());
        assert!(rows.iter().flatten().all(|times| *times == 1), "{plan:?}");
    }

    #[test]
    fn every_row_has_one_tile() {
        for lengths in [&[][..], &[1], &[0, 64, 65, 0], &[512, 16, 17, 32, 33, 1, 1, 1, 129], &[15; 100], &[7, 40]] {
            covered(&AttentionPlan::new(lengths.iter().copied()), lengths);
        }
    }

    #[test]
    fn short_sequences_get_smaller_blocks_where_they_are_many() {
        let rows = |lengths: &[usize]| -> Vec<_> {
            AttentionPlan::new(lengths.iter().copied()).groups.iter().map(|group| group.rows).collect()
        };
        assert_eq!(rows(&[15; 9]), [16]);
        assert_eq!(rows(&[120, 10, 20, 130]), [64, 32, 16]);
        // One of sixteen is no launch of its own.
        assert_eq!(rows(&[&[120; 15][..], &[10]].concat()), [64]);
        assert_eq!(rows(&[&[30; 15][..], &[10]].concat()), [32]);
        // The longest first.
        assert_eq!(AttentionPlan::new([40, 120]).tiles(), [1, 40, 120, 0, 1, 40, 120, 64, 0, 0, 40, 0]);
    }
}
