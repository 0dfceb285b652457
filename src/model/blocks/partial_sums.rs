//! Gradients that are sums over all rows, from the blocks of rows that tasks work on.

use std::ops::Range;

use crate::kernels::add_in_order;

/// One block's sums, side by side: vectors of lengths that the block's owner knows.
pub(super) struct PartialSums(Vec<f32>);

impl PartialSums {
    pub(super) fn new<const N: usize>(lengths: [usize; N]) -> Self {
        Self(vec![0.0; lengths.iter().sum()])
    }

    /// The vectors, of the lengths given to [`PartialSums::new`].
    pub(super) fn split<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [f32]; N] {
        let mut rest = &mut *self.0;
        lengths.map(|length| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            part
        })
    }

    /// The sums over all blocks, in their order, so that they do not depend on which thread was first.
    pub(super) fn total(blocks: &[Self]) -> Vec<f32> {
        let mut total = vec![0.0; blocks.first().map_or(0, |block| block.0.len())];
        add_in_order(blocks.iter().map(|block| &*block.0), &mut total);
        total
    }
}

/// Adds `sums` to the places of `gradients`, one after the other.
pub(super) fn add_to(gradients: &mut [f32], places: impl IntoIterator<Item = Range<usize>>, sums: &[f32]) {
    let mut first = 0;
    for place in places {
        let sums = &sums[first..first + place.len()];
        first += place.len();
        gradients[place].iter_mut().zip(sums).for_each(|(gradient, sum)| *gradient += sum);
    }
}
