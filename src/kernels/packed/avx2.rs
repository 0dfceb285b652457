//! AVX2 with FMA: fused multiply-adds of float32 numbers, 8 sums at a time, for CPUs without AVX-512.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::Tile;
use crate::kernels::matmul::Accumulate;

/// Sums in a register.
const LANES: usize = 8;
/// Registers across a panel.
const ACROSS: usize = 2;
/// Columns of a panel; [`super::Unit::columns`] says so too.
const COLUMNS: usize = ACROSS * LANES;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// As [`super::Unit::tile`], which has checked the lengths.
pub(super) fn tile(left: &[u32], rows: usize, panel: &[u32], words: usize, tile: Tile<'_>) {
    // SAFETY: the caller has checked that the CPU has the instructions, and that `rows` rows of `words` words, the panel
    // and `rows` rows of the result lie within their slices.
    unsafe {
        match rows {
            1 => numbers::<1>(left, panel, words, tile),
            2 => numbers::<2>(left, panel, words, tile),
            3 => numbers::<3>(left, panel, words, tile),
            4 => numbers::<4>(left, panel, words, tile),
            5 => numbers::<5>(left, panel, words, tile),
            6 => numbers::<6>(left, panel, words, tile),
            _ => unreachable!("a tile has 1 to 6 rows"),
        }
    }
}

/// Sums of products. Six rows by two registers of sums, two registers of the panel and one of the left side are 15 of the
/// 16 there are.
#[target_feature(enable = "avx2,fma")]
unsafe fn numbers<const ROWS: usize>(left: &[u32], panel: &[u32], words: usize, tile: Tile<'_>) {
    let (left, panel) = (left.as_ptr().cast::<f32>(), panel.as_ptr().cast::<f32>());
    let mut sums = [[_mm256_setzero_ps(); ACROSS]; ROWS];
    for word in 0..words {
        // SAFETY: `word` is below `words`; the panel has COLUMNS words for each, each row of the left side one. A word is a
        // number's bits.
        unsafe {
            let place = panel.add(word * COLUMNS);
            let across: [__m256; ACROSS] = std::array::from_fn(|part| _mm256_loadu_ps(place.add(part * LANES)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let number = _mm256_broadcast_ss(&*left.add(row * words + word));
                for (sum, across) in sums.iter_mut().zip(across) {
                    *sum = _mm256_fmadd_ps(number, across, *sum);
                }
            }
        }
    }
    let result = tile.result.as_mut_ptr();
    for (row, sums) in sums.iter().enumerate() {
        for (part, sum) in sums.iter().enumerate() {
            // SAFETY: the result has room for each row of COLUMNS numbers.
            unsafe {
                let place = result.add(row * tile.row_stride + part * LANES);
                let sum = match tile.into {
                    Accumulate::Add => _mm256_add_ps(_mm256_loadu_ps(place), *sum),
                    Accumulate::Replace => *sum,
                };
                _mm256_storeu_ps(place, sum);
            }
        }
    }
}
