//! Matrix products whose factors are rounded to bfloat16 and whose sums are float32, on the CPU's own units for them.
//!
//! Both factors are packed first. A word holds two neighbours along the inner dimension (the lower one in the low half),
//! as the instructions take them. The left factor is packed by rows ([`Rows`]), the right one in panels of [`COLUMNS`]
//! columns ([`Panels`]); both are padded with zeros to a multiple of [`INNER`] along the inner dimension.
//!
//! Each number of a result is summed in the order of the inner dimension, whatever rows and columns are computed with it.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod portable;

use std::sync::OnceLock;

pub(crate) use pack::{Panels, Rows};

use super::matmul::Accumulate;

/// Columns of a panel.
pub(crate) const COLUMNS: usize = 64;
/// Both factors are padded to a multiple of this along the inner dimension: what one AMX tile takes.
pub(crate) const INNER: usize = 32;
/// The most rows that a unit computes at once.
const MOST_ROWS: usize = 32;

/// What computes products of bfloat16 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Advanced Matrix Extensions: tiles of 16 rows of 32 numbers.
    Amx,
    /// The dot products of pairs in AVX-512 registers (AVX512-BF16).
    Avx512,
    /// Plain Rust, for any CPU: right, but slower than float32.
    Portable,
}

impl Unit {
    /// The best that this CPU has in hardware, and that the operating system lets the process use.
    #[must_use]
    pub fn in_hardware() -> Option<Self> {
        static FOUND: OnceLock<Option<Unit>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let units = [Self::Amx, Self::Avx512];
            units.into_iter().find(|unit| unit.is_available())
        })
    }

    /// True where this CPU can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => avx512::is_available() && amx::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512 => false,
            Self::Portable => true,
        }
    }

    /// Rows that are computed at once.
    fn tile_rows(self) -> usize {
        match self {
            Self::Amx => MOST_ROWS,
            Self::Avx512 | Self::Portable => 6,
        }
    }

    /// Writes `rows` (at most [`Unit::tile_rows`]) rows of one panel's columns.
    fn tile(self, left: &[u32], rows: usize, panel: &[u32], pairs: usize, tile: Tile<'_>) {
        assert!((1..=self.tile_rows()).contains(&rows) && left.len() >= rows * pairs, "the rows are packed");
        assert!(panel.len() >= pairs * COLUMNS && pairs.is_multiple_of(INNER / 2), "the panel is packed");
        assert!(tile.result.len() >= (rows - 1) * tile.row_stride + COLUMNS, "the tile lies in the result");
        debug_assert!(self.is_available(), "{self:?} was chosen where the CPU has it");
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::tile(left, rows, panel, pairs, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::tile(left, rows, panel, pairs, tile),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512 => unreachable!("it is not available"),
            Self::Portable => portable::tile(left, rows, panel, pairs, tile),
        }
    }
}

/// Where a tile of a result goes: rows of [`COLUMNS`] numbers, `row_stride` apart.
struct Tile<'a> {
    result: &'a mut [f32],
    row_stride: usize,
    into: Accumulate,
}

/// `result = left right`, or added to it, on this thread. `result` is `[rows, columns]`, dense.
///
/// # Panics
/// Where the shapes do not fit each other.
pub(crate) fn multiply(unit: Unit, left: Rows<'_>, right: &Panels, result: &mut [f32], into: Accumulate) {
    let columns = right.columns();
    assert_eq!(left.pairs(), right.pairs(), "both factors have one inner dimension");
    assert_eq!(result.len(), left.rows() * columns, "the result has the factors' rows and columns");
    let pairs = right.pairs();
    for (number, panel) in right.panels().enumerate() {
        let first_column = number * COLUMNS;
        let width = COLUMNS.min(columns - first_column);
        for first in (0..left.rows()).step_by(unit.tile_rows()) {
            let rows = unit.tile_rows().min(left.rows() - first);
            let words = left.words_from(first);
            let place = &mut result[first * columns + first_column..];
            if width == COLUMNS {
                unit.tile(words, rows, panel, pairs, Tile { result: place, row_stride: columns, into });
                continue;
            }
            // The last panel is wider than the result: computed beside it.
            let mut edge = [0.0; MOST_ROWS * COLUMNS];
            let tile = Tile { result: &mut edge, row_stride: COLUMNS, into: Accumulate::Replace };
            unit.tile(words, rows, panel, pairs, tile);
            for (row, edge) in edge.chunks_exact(COLUMNS).take(rows).enumerate() {
                for (value, product) in place[row * columns..][..width].iter_mut().zip(edge) {
                    *value = if into == Accumulate::Add { *value + product } else { *product };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::matmul::Layout;
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 1013) as f32 * 0.013 - 6.5).collect()
    }

    fn rounded(value: f32) -> f64 {
        f64::from(bf16::from_f32(value).to_f32())
    }

    /// Each unit that this CPU has, over shapes with every kind of edge, factors as they are and turned, against
    /// float64 sums of the rounded factors.
    #[test]
    fn products_are_those_of_the_rounded_factors() {
        let units = [Unit::Amx, Unit::Avx512, Unit::Portable].into_iter().filter(|unit| unit.is_available());
        for unit in units {
            for (rows, inner, columns) in [
                (1, 1, 1),
                (2, 3, 5),
                (6, 32, 64),
                (7, 33, 65),
                (31, 40, 63),
                (45, 96, 130),
                (96, 70, 64),
                (17, 130, 200),
            ] {
                let (left, right) = (numbers(rows * inner, 7), numbers(inner * columns, 11));
                for turned in [false, true] {
                    let at = |turn: bool, values: &[f32], i: usize, j: usize, height: usize, width: usize| {
                        values[if turn { j * height + i } else { i * width + j }]
                    };
                    let layout = |rows: usize, columns: usize| {
                        if turned { Layout::dense(columns, rows).transposed() } else { Layout::dense(rows, columns) }
                    };
                    let mut words = Vec::new();
                    let packed = Rows::pack(unit, &left, layout(rows, inner), &mut words);
                    let mut panels = Panels::default();
                    panels.pack(unit, &right, layout(inner, columns));
                    for into in [Accumulate::Replace, Accumulate::Add] {
                        let mut result = vec![3.0; rows * columns];
                        multiply(unit, packed, &panels, &mut result, into);
                        for (place, value) in result.iter().enumerate() {
                            let (i, j) = (place / columns, place % columns);
                            let product: f64 = (0..inner)
                                .map(|k| {
                                    rounded(at(turned, &left, i, k, rows, inner))
                                        * rounded(at(turned, &right, k, j, inner, columns))
                                })
                                .sum();
                            let expected = product + if into == Accumulate::Add { 3.0 } else { 0.0 };
                            let apart = (f64::from(*value) - expected).abs();
                            assert!(apart < 1e-3, "{unit:?} {rows}×{inner}×{columns} at {i},{j}: {value}, {expected}");
                        }
                    }
                }
            }
        }
    }

    /// A row's products do not depend on the rows beside it, so neither on how rows are divided among threads.
    #[test]
    fn a_row_alone_gives_the_same_bits() {
        let Some(unit) = Unit::in_hardware() else { return };
        let (rows, inner, columns) = (20, 64, 128);
        let (left, right) = (numbers(rows * inner, 7), numbers(inner * columns, 11));
        let (mut panels, mut words) = (Panels::default(), Vec::new());
        panels.pack(unit, &right, Layout::dense(inner, columns));
        let mut all = vec![0.0; rows * columns];
        let packed = Rows::pack(unit, &left, Layout::dense(rows, inner), &mut words);
        multiply(unit, packed, &panels, &mut all, Accumulate::Replace);
        for row in 0..rows {
            let mut alone = vec![0.0; columns];
            let packed = Rows::pack(unit, &left[row * inner..][..inner], Layout::dense(1, inner), &mut words);
            multiply(unit, packed, &panels, &mut alone, Accumulate::Replace);
            assert_eq!(alone, all[row * columns..][..columns]);
        }
    }
}
