//! Rounding to bfloat16 and packing into the orders that the units read.

use half::bf16;
use rayon::prelude::*;

use super::{COLUMNS, INNER, Unit};
use crate::kernels::matmul::Layout;

/// Rows and words of a block that is turned at once.
const TURNED: usize = 16;

/// Words along the inner dimension, with the padding.
fn padded_pairs(inner: usize) -> usize {
    inner.next_multiple_of(INNER) / 2
}

fn word(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | u32::from(bf16::from_f32(high).to_bits()) << 16
}

/// A left factor, packed by rows: `[rows, pairs]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'w> {
    words: &'w [u32],
    rows: usize,
    pairs: usize,
}

impl<'w> Rows<'w> {
    /// Packs a matrix (`[rows, inner]` by its layout) on this thread; `words` grows where it must.
    pub(crate) fn pack(unit: Unit, values: &[f32], layout: Layout, words: &'w mut Vec<u32>) -> Self {
        let (rows, pairs) = (layout.rows, padded_pairs(layout.columns));
        let words = room(words, rows * pairs);
        pack_rows(unit, values, layout, words);
        Self { words, rows, pairs }
    }

    /// As [`Rows::pack`], on all threads.
    pub(crate) fn pack_in_parallel(unit: Unit, values: &[f32], layout: Layout, words: &'w mut Vec<u32>) -> Self {
        const BLOCK: usize = 6 * TURNED;
        let (rows, pairs) = (layout.rows, padded_pairs(layout.columns));
        let words = room(words, rows * pairs);
        words.par_chunks_mut(BLOCK * pairs).enumerate().for_each(|(block, words)| {
            pack_rows(unit, values, layout.rows_from(block * BLOCK, words.len() / pairs), words);
        });
        Self { words, rows, pairs }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// The words from a row on.
    pub(super) fn words_from(&self, row: usize) -> &'w [u32] {
        &self.words[row * self.pairs..]
    }

    /// `count` rows from `first` on.
    pub(crate) fn part(&self, first: usize, count: usize) -> Self {
        Self { words: &self.words[first * self.pairs..(first + count) * self.pairs], rows: count, pairs: self.pairs }
    }
}

fn room(words: &mut Vec<u32>, length: usize) -> &mut [u32] {
    if words.len() < length {
        words.resize(length, 0);
    }
    &mut words[..length]
}

fn pack_rows(unit: Unit, values: &[f32], layout: Layout, words: &mut [u32]) {
    let (inner, pairs) = (layout.columns, padded_pairs(layout.columns));
    if layout.column_stride == 1 {
        for (row, words) in words.chunks_exact_mut(pairs).enumerate() {
            let values = &values[layout.at(row, 0)..][..inner];
            let done = match unit {
                #[cfg(target_arch = "x86_64")]
                Unit::Amx | Unit::Avx512 => super::avx512::pair_neighbours(values, words),
                _ => 0,
            };
            for (word, q) in words[done..].iter_mut().zip(done..) {
                let number = |k: usize| values.get(k).copied().unwrap_or(0.0);
                *word = self::word(number(2 * q), number(2 * q + 1));
            }
        }
        return;
    }
    let mut turned = Turned { rows: 0, pairs: 0 };
    #[cfg(target_arch = "x86_64")]
    if matches!(unit, Unit::Amx | Unit::Avx512) && layout.row_stride == 1 {
        // Blocks of 16 rows by 16 words that are whole.
        turned = Turned { rows: layout.rows / TURNED * TURNED, pairs: inner / 2 / TURNED * TURNED };
        for row in (0..turned.rows).step_by(TURNED) {
            for pair in (0..turned.pairs).step_by(TURNED) {
                let block = &values[layout.at(row, 2 * pair)..];
                super::avx512::turn_block(block, layout.column_stride, &mut words[row * pairs + pair..], pairs);
            }
        }
    }
    for (row, words) in words.chunks_exact_mut(pairs).enumerate() {
        let done = if row < turned.rows { turned.pairs } else { 0 };
        for (word, q) in words[done..].iter_mut().zip(done..) {
            let number = |k: usize| if k < inner { values[layout.at(row, k)] } else { 0.0 };
            *word = self::word(number(2 * q), number(2 * q + 1));
        }
    }
}

/// The part of a matrix that was turned in whole blocks.
struct Turned {
    rows: usize,
    pairs: usize,
}

/// A right factor (`[inner, columns]`) in panels of [`COLUMNS`] columns, each `[pairs, COLUMNS]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panels {
    words: Vec<u32>,
    columns: usize,
    pairs: usize,
}

impl Panels {
    /// Packs a matrix (`[inner, columns]` by its layout), on all threads; room is kept from the last time.
    pub(crate) fn pack(&mut self, unit: Unit, values: &[f32], layout: Layout) {
        (self.columns, self.pairs) = (layout.columns, padded_pairs(layout.rows));
        let panel = self.pairs * COLUMNS;
        let words = room(&mut self.words, layout.columns.div_ceil(COLUMNS) * panel);
        words.par_chunks_mut(panel).enumerate().for_each(|(number, words)| {
            let first = number * COLUMNS;
            pack_panel(unit, values, layout.columns_from(first, COLUMNS.min(layout.columns - first)), words);
        });
    }

    pub(super) fn panels(&self) -> impl Iterator<Item = &[u32]> {
        let panel = self.pairs * COLUMNS;
        self.words[..self.columns.div_ceil(COLUMNS) * panel].chunks_exact(panel)
    }

    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

fn pack_panel(unit: Unit, values: &[f32], layout: Layout, words: &mut [u32]) {
    let (inner, width) = (layout.rows, layout.columns);
    for (q, words) in words.chunks_exact_mut(COLUMNS).enumerate() {
        let whole = 2 * q + 1 < inner && layout.column_stride == 1;
        let done = match unit {
            #[cfg(target_arch = "x86_64")]
            Unit::Amx | Unit::Avx512 if whole => {
                let row = |k: usize| &values[layout.at(k, 0)..][..width];
                super::avx512::pair_rows(row(2 * q), row(2 * q + 1), &mut words[..width])
            }
            _ => 0,
        };
        for (word, column) in words[done..].iter_mut().zip(done..) {
            let number = |k: usize| if k < inner && column < width { values[layout.at(k, column)] } else { 0.0 };
            *word = self::word(number(2 * q), number(2 * q + 1));
        }
    }
}
