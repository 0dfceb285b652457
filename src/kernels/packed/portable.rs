//! Products of bfloat16 pairs in plain Rust: what the other units are held against, and the way out on a CPU without.

use super::{COLUMNS, Tile};
use crate::kernels::matmul::Accumulate;
use crate::kernels::vector::vectorized;

/// A word's two numbers.
#[inline(always)]
pub(super) fn pair(word: u32) -> (f32, f32) {
    (f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000))
}

pub(super) fn tile(left: &[u32], rows: usize, panel: &[u32], words: usize, tile: Tile<'_>) {
    vectorized!(plain_tile(left, rows, panel, words, tile));
}

#[inline(always)]
fn plain_tile(left: &[u32], rows: usize, panel: &[u32], words: usize, tile: Tile<'_>) {
    for row in 0..rows {
        let result = &mut tile.result[row * tile.row_stride..][..COLUMNS];
        let mut sums = [0.0; COLUMNS];
        for (word, panel) in left[row * words..][..words].iter().zip(panel.chunks_exact(COLUMNS)) {
            let (low, high) = pair(*word);
            for (sum, word) in sums.iter_mut().zip(panel) {
                let (panel_low, panel_high) = pair(*word);
                *sum += low * panel_low + high * panel_high;
            }
        }
        for (value, sum) in result.iter_mut().zip(sums) {
            *value = if tile.into == Accumulate::Add { *value + sum } else { sum };
        }
    }
}
