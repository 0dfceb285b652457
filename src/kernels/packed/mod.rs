//! Matrix products of packed factors, with float32 sums: of float32 factors, or of factors rounded to bfloat16, on the
//! CPU's own units for them.
//!
//! Factors are packed into words. In float32 a word is a number; in bfloat16 it holds two neighbours along the inner
//! dimension (the lower one in the low half), as the instructions take them. The left factor is packed by rows
//! ([`Rows`]), the right one in panels of a unit's own width ([`Panels`]); both are padded with zeros to a multiple of
//! [`WORDS`] along the inner dimension.
//!
//! Each number of a result is summed in the order of the inner dimension, whatever rows and columns are computed with it.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod portable;

pub(crate) use pack::{Panels, Rows};

use super::matmul::Accumulate;
use super::team::Team;
use super::{room, with_scratch};

/// The most columns of a panel: those of the units of bfloat16.
const COLUMNS: usize = 64;
/// Both factors are padded to a multiple of so many words along the inner dimension: what one AMX tile takes.
pub(crate) const WORDS: usize = 16;
/// The most rows that a unit computes at once.
const MOST_ROWS: usize = 32;

/// What computes products of packed factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// float32: fused multiply-adds of AVX-512 registers.
    Float32,
    /// float32: fused multiply-adds of AVX registers (FMA).
    Float32Avx2,
    /// bfloat16: Advanced Matrix Extensions, tiles of 16 rows of 32 numbers.
    Amx,
    /// bfloat16: dot products of pairs in AVX-512 registers (AVX512-BF16).
    Avx512,
    /// bfloat16: plain Rust, for any CPU; right, but slower than float32.
    Portable,
}

impl Unit {
    /// The best for float32 that this CPU has.
    #[must_use]
    pub fn for_float32() -> Option<Self> {
        [Self::Float32, Self::Float32Avx2].into_iter().find(|unit| unit.is_available())
    }

    /// The best for bfloat16 that this CPU has in hardware, and that the operating system lets the process use.
    #[must_use]
    pub fn for_bf16() -> Option<Self> {
        [Self::Amx, Self::Avx512].into_iter().find(|unit| unit.is_available())
    }

    /// True where this CPU can run it; looked up once.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Float32 => avx512::has_float32(),
            #[cfg(target_arch = "x86_64")]
            Self::Float32Avx2 => avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => avx512::has_bf16() && amx::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::has_bf16(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Float32 | Self::Float32Avx2 | Self::Amx | Self::Avx512 => false,
            Self::Portable => true,
        }
    }

    /// True where it is faster than float32 in AVX-512: told by the CPU's kind rather than measured, so that the same job
    /// on the same machine computes the same numbers.
    pub(crate) fn is_faster(self) -> bool {
        match self {
            Self::Amx => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_bf16_fast(),
            _ => false,
        }
    }

    /// True where its numbers are float32.
    pub(crate) fn is_float32(self) -> bool {
        matches!(self, Self::Float32 | Self::Float32Avx2)
    }

    /// Numbers in a word.
    pub(super) fn numbers(self) -> usize {
        if self.is_float32() { 1 } else { 2 }
    }

    /// Columns of a panel. Units of float32 numbers take two registers across, of 16 numbers or of 8: a wider panel would
    /// be read piece by piece, with gaps between them that do without most of the first-level cache.
    fn columns(self) -> usize {
        match self {
            Self::Float32 => 32,
            Self::Float32Avx2 => 16,
            Self::Amx | Self::Avx512 | Self::Portable => COLUMNS,
        }
    }

    /// Words of a factor along an inner dimension, with the padding.
    fn words(self, inner: usize) -> usize {
        inner.div_ceil(self.numbers()).next_multiple_of(WORDS)
    }

    /// Rows that are computed at once.
    fn tile_rows(self) -> usize {
        match self {
            Self::Amx => MOST_ROWS,
            Self::Float32 => 12,
            Self::Float32Avx2 | Self::Avx512 | Self::Portable => 6,
        }
    }

    /// Rows of a tile where there are `rows` in all: as even as can be, since a tile of one row takes as long as one of
    /// two.
    fn tile_height(self, rows: usize) -> usize {
        let (most, whole) = (self.tile_rows(), if self == Self::Amx { MOST_ROWS / 2 } else { 1 });
        let tiles = rows.div_ceil(most).max(1);
        rows.div_ceil(tiles).next_multiple_of(whole).max(1)
    }

    /// Writes `rows` (at most [`Unit::tile_rows`]) rows of one panel's columns.
    fn tile(self, left: &[u32], rows: usize, panel: &[u32], words: usize, tile: Tile<'_>) {
        assert!((1..=self.tile_rows()).contains(&rows) && left.len() >= rows * words, "the rows are packed");
        let columns = self.columns();
        assert!(panel.len() >= words * columns && words.is_multiple_of(WORDS), "the panel is packed");
        assert!(tile.result.len() >= (rows - 1) * tile.row_stride + columns, "the tile lies in the result");
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Float32 => avx512::tile::<false>(left, rows, panel, words, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Float32Avx2 => avx2::tile(left, rows, panel, words, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::tile(left, rows, panel, words, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::tile::<true>(left, rows, panel, words, tile),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Float32 | Self::Float32Avx2 | Self::Amx | Self::Avx512 => unreachable!("it is not available"),
            Self::Portable => portable::tile(left, rows, panel, words, tile),
        }
    }
}

/// Where a tile of a result goes: rows of a panel's width, `row_stride` apart.
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
    check(unit, left, right, result);
    let (columns, words) = (right.columns(), right.words());
    let (height, panel_width) = (unit.tile_height(left.rows()), unit.columns());
    for (number, panel) in right.panels(unit).enumerate() {
        let first_column = number * panel_width;
        let width = panel_width.min(columns - first_column);
        for first in (0..left.rows()).step_by(height) {
            let rows = height.min(left.rows() - first);
            let left_words = left.after(first);
            let place = &mut result[first * columns + first_column..];
            if width == panel_width {
                unit.tile(left_words, rows, panel, words, Tile { result: place, row_stride: columns, into });
                continue;
            }
            // The last panel is wider than the result: computed beside it.
            let mut edge = [0.0; MOST_ROWS * COLUMNS];
            let tile = Tile { result: &mut edge, row_stride: panel_width, into: Accumulate::Replace };
            unit.tile(left_words, rows, panel, words, tile);
            for (row, edge) in edge.chunks_exact(panel_width).take(rows).enumerate() {
                for (value, product) in place[row * columns..][..width].iter_mut().zip(edge) {
                    *value = if into == Accumulate::Add { *value + product } else { *product };
                }
            }
        }
    }
}

/// As [`multiply`], the same numbers, by the threads of a team: each takes whole panels, so that together they read the
/// right factor once.
///
/// # Panics
/// Where the shapes do not fit each other.
pub(crate) fn multiply_by_team(team: &Team, unit: Unit, left: Rows<'_>, right: &Panels, result: &mut [f32]) {
    check(unit, left, right, result);
    let (rows, columns, words) = (left.rows(), right.columns(), right.words());
    let (height, panel_width) = (unit.tile_height(rows), unit.columns());
    with_scratch(|[products]| {
        // A panel's products beside the others', so that each is a thread's own while it is written.
        let products = room(products, columns.div_ceil(panel_width) * rows * panel_width);
        let parts = products.chunks_exact_mut(rows * panel_width);
        team.for_each(right.panels(unit).zip(parts), |(panel, part)| {
            for first in (0..rows).step_by(height) {
                let place = &mut part[first * panel_width..];
                let tile = Tile { result: place, row_stride: panel_width, into: Accumulate::Replace };
                unit.tile(left.after(first), height.min(rows - first), panel, words, tile);
            }
        });
        for (number, part) in products.chunks_exact(rows * panel_width).enumerate() {
            let first_column = number * panel_width;
            let width = panel_width.min(columns - first_column);
            for (row, part) in part.chunks_exact(panel_width).enumerate() {
                result[row * columns + first_column..][..width].copy_from_slice(&part[..width]);
            }
        }
    });
}

fn check(unit: Unit, left: Rows<'_>, right: &Panels, result: &[f32]) {
    assert!(unit.is_available(), "{unit:?} is chosen only where the CPU has it");
    assert_eq!(left.words(), right.words(), "both factors have one inner dimension");
    assert_eq!(result.len(), left.rows() * right.columns(), "the result has the factors' rows and columns");
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::matmul::Layout;
    use super::super::team::with_team;
    use super::*;

    const UNITS: [Unit; 5] = [Unit::Float32, Unit::Float32Avx2, Unit::Amx, Unit::Avx512, Unit::Portable];

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 1013) as f32 * 0.013 - 6.5).collect()
    }

    fn rounded(unit: Unit, value: f32) -> f64 {
        f64::from(if unit.is_float32() { value } else { bf16::from_f32(value).to_f32() })
    }

    /// Each unit that this CPU has, over shapes with every kind of edge, factors as they are and turned, against
    /// float64 sums of the rounded factors.
    #[test]
    fn products_are_those_of_the_rounded_factors() {
        for unit in UNITS.into_iter().filter(|unit| unit.is_available()) {
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
                                    rounded(unit, at(turned, &left, i, k, rows, inner))
                                        * rounded(unit, at(turned, &right, k, j, inner, columns))
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

    /// However the panels are divided among threads.
    #[test]
    fn a_team_gives_the_same_bits() {
        for unit in UNITS.into_iter().filter(|unit| unit.is_available()) {
            for (rows, inner, columns) in [(1, 3, 5), (7, 33, 65), (13, 96, 200), (40, 64, 128)] {
                let (left, right) = (numbers(rows * inner, 7), numbers(inner * columns, 11));
                let (mut panels, mut words) = (Panels::default(), Vec::new());
                panels.pack(unit, &right, Layout::dense(inner, columns));
                let packed = Rows::pack(unit, &left, Layout::dense(rows, inner), &mut words);
                let (mut alone, mut by_team) = (vec![0.0; rows * columns], vec![f32::NAN; rows * columns]);
                multiply(unit, packed, &panels, &mut alone, Accumulate::Replace);
                with_team(|team| multiply_by_team(team, unit, packed, &panels, &mut by_team));
                assert_eq!(by_team, alone, "{unit:?} {rows}×{inner}×{columns}");
            }
        }
    }

    /// A row's products do not depend on the rows beside it, so neither on how rows are divided among threads.
    #[test]
    fn a_row_alone_gives_the_same_bits() {
        for unit in [Unit::Float32, Unit::Float32Avx2, Unit::Avx512].into_iter().filter(|unit| unit.is_available()) {
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
}
