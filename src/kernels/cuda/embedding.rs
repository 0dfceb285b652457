//! Sums of embedding rows, normalised and dropped out, and the way their gradient goes back into the tables.

use super::norm::{Kept, NormPlaces, ROW_WARPS, RowMask, Shape, WARP_COLUMNS, instance};
use super::{Address, Buffer, CudaError, Device, View, kernel};

/// Tokens that one warp sums in order; more of one row are summed by several.
const MOST_TOKENS: usize = 64;
/// What stands for no slot.
const NO_SLOT: u32 = u32::MAX;

/// What [`embed`] reads. Tables are float32 with rows of `columns`, from multiples of 16 bytes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedding {
    /// Rows of `words`, u32, `[rows]`.
    pub(crate) ids: Address,
    /// Rows of `position_table`, u32, `[rows]`.
    pub(crate) positions: Address,
    /// `[vocabulary, columns]`.
    pub(crate) words: Address,
    /// `[most positions, columns]`.
    pub(crate) position_table: Address,
    /// The first token type's, `[columns]`.
    pub(crate) token_type: Address,
    /// The norm's weights.
    pub(crate) norm: NormPlaces,
    /// Added to the variance.
    pub(crate) epsilon: f32,
    /// What is dropped of the norm's output.
    pub(crate) mask: RowMask,
}

/// `output = dropout(norm(words[id] + positions[position] + token_type))`, `[rows, columns]`. Backward is
/// [`super::norm::norm_dropout_backward`], then [`add_gathered`] for each table.
///
/// # Errors
/// As the device says.
pub(crate) fn embed(
    device: &Device,
    shape: Shape,
    from: &Embedding,
    kept: Kept,
    output: Address,
) -> Result<(), CudaError> {
    if shape.rows == 0 {
        return Ok(());
    }
    let arguments = [
        kept.normalized.into(),
        kept.inverse.into(),
        output.into(),
        from.ids.into(),
        from.positions.into(),
        from.words.into(),
        from.position_table.into(),
        from.token_type.into(),
        from.norm.weight.into(),
        from.norm.shift.into(),
        from.mask.words().into(),
        shape.rows.into(),
        shape.columns.into(),
        from.mask.row_words().into(),
        from.mask.scale().into(),
        from.epsilon.into(),
    ];
    let blocks = shape.rows.div_ceil(ROW_WARPS);
    device.launch(instance!(shape, "embed"), [blocks, 1, 1], 32 * ROW_WARPS, 0, &arguments)
}

/// Rows of scratch that [`add_gathered`] takes at most for so many tokens: a row of several segments has at least half
/// of [`MOST_TOKENS`] tokens for each.
pub(crate) fn most_slots(tokens: usize) -> usize {
    tokens / (MOST_TOKENS / 2)
}

/// Which tokens' gradients are added to which rows of a table, made on the host when a batch is packed. Tokens of a row
/// are summed in ascending order in segments of at most 64; the sums of a row with several go to consecutive slots,
/// and are added in a second stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GatherPlan {
    /// What the device needs of it: the tokens, grouped, `[tokens]`; where each segment begins among them, and the end,
    /// `[segments + 1]`; each segment's row and slot, `[segments]`; the rows of several segments, `[merged]`; where the
    /// slots of each begin, and the end, `[merged + 1]`.
    words: Vec<u32>,
    tokens: usize,
    segments: usize,
    merged: usize,
    slots: usize,
}

impl GatherPlan {
    /// Groups tokens by their ids, `[tokens]`.
    pub(crate) fn new(ids: &[u32]) -> Self {
        // By counting: where each row's tokens begin.
        let mut places = vec![0_u32; ids.iter().max().map_or(0, |most| *most as usize + 1) + 1];
        for id in ids {
            places[*id as usize + 1] += 1;
        }
        for row in 1..places.len() {
            places[row] += places[row - 1];
        }
        let mut words = vec![0; ids.len()];
        for (token, id) in ids.iter().enumerate() {
            let place = &mut places[*id as usize];
            words[*place as usize] = token as u32;
            *place += 1;
        }
        // Each row's beginning has moved to its end.
        let (mut starts, mut rows, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let (mut merged_rows, mut merged_starts, mut used) = (Vec::new(), Vec::new(), 0_u32);
        let mut first = 0;
        for (row, end) in places.iter().enumerate() {
            let tokens = first..*end;
            first = *end;
            let several = tokens.len() > MOST_TOKENS;
            if several {
                merged_rows.push(row as u32);
                merged_starts.push(used);
            }
            for start in tokens.step_by(MOST_TOKENS) {
                starts.push(start);
                rows.push(row as u32);
                slots.push(if several { used } else { NO_SLOT });
                used += u32::from(several);
            }
        }
        starts.push(ids.len() as u32);
        merged_starts.push(used);
        let (segments, merged) = (rows.len(), merged_rows.len());
        for part in [&starts, &rows, &slots, &merged_rows, &merged_starts] {
            words.extend_from_slice(part);
        }
        Self { words, tokens: ids.len(), segments, merged, slots: used as usize }
    }

    /// What is to be copied to the device for [`add_gathered`].
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }
}

/// Adds each token's row of `d_rows` (`[tokens, columns]`) to its row of a table's `gradient` (float32), as `plan`
/// says, whose words lie on the device at `words`. Partial sums go to `scratch`.
///
/// # Errors
/// As the device says.
///
/// # Panics
/// Where the plan is that of other tokens.
pub(crate) fn add_gathered(
    device: &Device,
    shape: Shape,
    plan: &GatherPlan,
    words: View<u32>,
    d_rows: Address,
    gradient: Address,
    scratch: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    assert_eq!((plan.tokens, plan.words.len()), (shape.rows, words.len()), "the plan of these tokens");
    if plan.segments == 0 {
        return Ok(());
    }
    let mut first = 0;
    let mut part = |length: usize| {
        first += length;
        words.part(first - length, length)
    };
    let (tokens, starts) = (part(plan.tokens), part(plan.segments + 1));
    let (rows, slots) = (part(plan.segments), part(plan.segments));
    let (merged_rows, merged_starts) = (part(plan.merged), part(plan.merged + 1));
    scratch.grow(plan.slots * shape.columns)?;
    let across = shape.columns.div_ceil(WARP_COLUMNS);
    let arguments = [
        gradient.into(),
        scratch.view().into(),
        d_rows.into(),
        tokens.into(),
        starts.into(),
        rows.into(),
        slots.into(),
        plan.segments.into(),
        shape.columns.into(),
    ];
    let grid = [plan.segments.div_ceil(ROW_WARPS), across, 1];
    device.launch(kernel!(shape.numbers, "gather_rows"), grid, 32 * ROW_WARPS, 0, &arguments)?;
    if plan.merged == 0 {
        return Ok(());
    }
    let arguments = [
        gradient.into(),
        scratch.view().into(),
        merged_rows.into(),
        merged_starts.into(),
        plan.merged.into(),
        shape.columns.into(),
    ];
    device.launch("merge_gathered", [plan.merged.div_ceil(ROW_WARPS), across, 1], 32 * ROW_WARPS, 0, &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_grouped_in_order_and_long_groups_divided() {
        let plan = GatherPlan::new(&[2, 0, 2, 5]);
        assert_eq!((plan.tokens, plan.segments, plan.merged, plan.slots), (4, 3, 0, 0));
        assert_eq!(plan.words, [&[1, 0, 2, 3][..], &[0, 1, 3, 4], &[0, 2, 5], &[NO_SLOT; 3], &[], &[0]].concat());

        let mut ids = vec![7; 65];
        ids[3] = 1;
        ids.extend([7; 65]);
        let plan = GatherPlan::new(&ids);
        assert_eq!((plan.segments, plan.merged, plan.slots), (4, 1, 3));
        let (tokens, rest) = plan.words.split_at(130);
        assert_eq!(tokens[..4], [3, 0, 1, 2]);
        assert!(tokens[1..].is_sorted());
        assert_eq!(rest, [&[0, 1, 65, 129, 130][..], &[1, 7, 7, 7], &[NO_SLOT, 0, 1, 2], &[7], &[0, 3]].concat());

        assert_eq!(GatherPlan::new(&[]).words, [0, 0]);
    }

    #[test]
    fn slots_are_no_more_than_there_is_room_for() {
        for of_each in [1, 64, 65, 66, 128, 129, 1000] {
            let ids: Vec<u32> = (0..7).flat_map(|id| vec![id; of_each]).collect();
            assert!(GatherPlan::new(&ids).slots <= most_slots(ids.len()), "{of_each}");
        }
    }
}
