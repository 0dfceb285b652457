//! Packing into the orders that the units read, and rounding where they want bfloat16.

use half::bf16;
use rayon::prelude::*;

use super::Unit;
use crate::kernels::matmul::Layout;

/// Rows and words of a block that is turned at once.
const TURNED: usize = 16;

impl Unit {
    /// The word at a place along the inner dimension, of the numbers that are there; 0 where there are none.
    fn word(self, place: usize, number: impl Fn(usize) -> Option<f32>) -> u32 {
        let number = |k: usize| number(k).unwrap_or(0.0);
        let rounded = |k: usize| u32::from(bf16::from_f32(number(k)).to_bits());
        if self.is_float32() { number(place).to_bits() } else { rounded(2 * place) | rounded(2 * place + 1) << 16 }
    }

    /// True where the CPU turns blocks with AVX-512's registers.
    #[cfg(target_arch = "x86_64")]
    fn turns_blocks(self) -> bool {
        matches!(self, Self::Float32 | Self::Amx | Self::Avx512)
    }
}

/// A left factor, packed by rows: `[rows, words]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'w> {
    packed: &'w [u32],
    rows: usize,
    words: usize,
}

impl<'w> Rows<'w> {
    /// Packs a matrix (`[rows, inner]` by its layout) on this thread; `buffer` grows where it must.
    pub(crate) fn pack(unit: Unit, values: &[f32], layout: Layout, buffer: &'w mut Vec<u32>) -> Self {
        let (rows, words) = (layout.rows, unit.words(layout.columns));
        let packed = room(buffer, rows * words);
        pack_rows(unit, values, layout, packed);
        Self { packed, rows, words }
    }

    /// As [`Rows::pack`], on all threads.
    pub(crate) fn pack_in_parallel(unit: Unit, values: &[f32], layout: Layout, buffer: &'w mut Vec<u32>) -> Self {
        const BLOCK: usize = 6 * TURNED;
        let (rows, words) = (layout.rows, unit.words(layout.columns));
        let packed = room(buffer, rows * words);
        packed.par_chunks_mut(BLOCK * words).enumerate().for_each(|(block, packed)| {
            pack_rows(unit, values, layout.rows_from(block * BLOCK, packed.len() / words), packed);
        });
        Self { packed, rows, words }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Words of a row.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// All words after the first `rows` rows.
    pub(super) fn after(&self, rows: usize) -> &'w [u32] {
        &self.packed[rows * self.words..]
    }

    /// `count` rows from `first` on.
    pub(crate) fn part(&self, first: usize, count: usize) -> Self {
        Self { packed: &self.packed[first * self.words..(first + count) * self.words], rows: count, words: self.words }
    }
}

fn room(words: &mut Vec<u32>, length: usize) -> &mut [u32] {
    if words.len() < length {
        words.resize(length, 0);
    }
    &mut words[..length]
}

fn pack_rows(unit: Unit, values: &[f32], layout: Layout, result: &mut [u32]) {
    assert!(unit.is_available(), "{unit:?} is chosen only where the CPU has it");
    let (inner, words) = (layout.columns, unit.words(layout.columns));
    if layout.column_stride == 1 {
        for (row, result) in result.chunks_exact_mut(words).enumerate() {
            let values = &values[layout.at(row, 0)..][..inner];
            let done = match unit {
                _ if unit.is_float32() => {
                    result[..inner].copy_from_slice(bytemuck::cast_slice(values));
                    inner
                }
                #[cfg(target_arch = "x86_64")]
                Unit::Amx | Unit::Avx512 => super::avx512::pair_neighbours(values, result),
                _ => 0,
            };
            for (word, place) in result[done..].iter_mut().zip(done..) {
                *word = unit.word(place, |k| values.get(k).copied());
            }
        }
        return;
    }
    let (mut turned_rows, mut turned_words) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if unit.turns_blocks() && layout.row_stride == 1 {
        // Blocks that are whole.
        turned_rows = layout.rows / TURNED * TURNED;
        turned_words = inner / unit.numbers() / TURNED * TURNED;
        // Along the rows of `values`, as they lie in memory.
        for word in (0..turned_words).step_by(TURNED) {
            for row in (0..turned_rows).step_by(TURNED) {
                let block = &values[layout.at(row, unit.numbers() * word)..];
                let result = &mut result[row * words + word..];
                match unit {
                    Unit::Float32 => super::avx512::turn_block::<false>(block, layout.column_stride, result, words),
                    _ => super::avx512::turn_block::<true>(block, layout.column_stride, result, words),
                }
            }
        }
    }
    for (row, result) in result.chunks_exact_mut(words).enumerate() {
        let done = if row < turned_rows { turned_words } else { 0 };
        for (word, place) in result[done..].iter_mut().zip(done..) {
            *word = unit.word(place, |k| (k < inner).then(|| values[layout.at(row, k)]));
        }
    }
}

/// A right factor (`[inner, columns]`) in panels of a unit's width, each `[words, width]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panels {
    packed: Vec<u32>,
    columns: usize,
    words: usize,
}

impl Panels {
    /// Packs a matrix (`[inner, columns]` by its layout), on all threads; room is kept from the last time.
    pub(crate) fn pack(&mut self, unit: Unit, values: &[f32], layout: Layout) {
        (self.columns, self.words) = (layout.columns, unit.words(layout.rows));
        let width = unit.columns();
        let panel = self.words * width;
        let packed = room(&mut self.packed, layout.columns.div_ceil(width) * panel);
        packed.par_chunks_mut(panel).enumerate().for_each(|(number, packed)| {
            let first = number * width;
            pack_panel(unit, values, layout.columns_from(first, width.min(layout.columns - first)), packed);
        });
    }

    /// The panels, as they were packed for `unit`.
    pub(super) fn panels(&self, unit: Unit) -> impl Iterator<Item = &[u32]> {
        let panel = self.words * unit.columns();
        self.packed[..self.columns.div_ceil(unit.columns()) * panel].chunks_exact(panel)
    }

    /// Words along the inner dimension.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.packed)
    }
}

fn pack_panel(unit: Unit, values: &[f32], layout: Layout, result: &mut [u32]) {
    assert!(unit.is_available(), "{unit:?} is chosen only where the CPU has it");
    let (inner, width, panel_width) = (layout.rows, layout.columns, unit.columns());
    let (mut turned_columns, mut turned_words) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if unit.turns_blocks() && layout.row_stride == 1 && layout.column_stride > 1 {
        // Blocks that are whole.
        turned_columns = width / TURNED * TURNED;
        turned_words = inner / unit.numbers() / TURNED * TURNED;
        for column in (0..turned_columns).step_by(TURNED) {
            for word in (0..turned_words).step_by(TURNED) {
                let block = &values[layout.at(unit.numbers() * word, column)..];
                let result = &mut result[word * panel_width + column..];
                match unit {
                    Unit::Float32 => {
                        super::avx512::turn_words::<false>(block, layout.column_stride, result, panel_width)
                    }
                    _ => super::avx512::turn_words::<true>(block, layout.column_stride, result, panel_width),
                }
            }
        }
    }
    for (place, result) in result.chunks_exact_mut(panel_width).enumerate() {
        let first = place * unit.numbers();
        let whole = first + unit.numbers() <= inner && layout.column_stride == 1;
        let row = |k: usize| &values[layout.at(k, 0)..][..width];
        let done = match unit {
            _ if place < turned_words => turned_columns,
            _ if whole && unit.is_float32() => {
                result[..width].copy_from_slice(bytemuck::cast_slice(row(first)));
                width
            }
            #[cfg(target_arch = "x86_64")]
            Unit::Amx | Unit::Avx512 if whole => {
                super::avx512::pair_rows(row(first), row(first + 1), &mut result[..width])
            }
            _ => 0,
        };
        for (word, column) in result[done..].iter_mut().zip(done..) {
            *word = unit.word(place, |k| (k < inner && column < width).then(|| values[layout.at(k, column)]));
        }
    }
}
