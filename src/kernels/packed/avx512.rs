//! AVX-512: fused multiply-adds of float32 numbers, or AVX512-BF16's dot products of pairs, 16 sums at a time; and the
//! conversions that packing needs.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{COLUMNS, Tile};
use crate::kernels::matmul::Accumulate;

/// Sums in a register.
const LANES: usize = 16;
/// Registers across a panel of pairs.
const PAIRS_ACROSS: usize = COLUMNS / LANES;
/// Registers across a panel of numbers; [`super::Unit::columns`] says so too.
const NUMBERS_ACROSS: usize = 2;

pub(super) fn has_float32() -> bool {
    is_x86_feature_detected!("avx512f")
}

pub(super) fn has_bf16() -> bool {
    has_float32() && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16")
}

/// True where a dot product of pairs takes as long as a multiply-add of numbers: on AMD's CPUs (Zen 4). On Intel's, which
/// have AMX instead where it is let through to us, it takes twice as long and more (Emerald Rapids).
pub(super) fn is_bf16_fast() -> bool {
    // The maker's name, in the order in which CPUID gives its parts.
    let maker = __cpuid(0);
    [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

/// How far ahead of the sums a panel is fetched, in bytes: weights that stream through the caches come from the third level
/// or from memory, and take their time.
const AHEAD: usize = 4096;

/// As [`super::Unit::tile`], which has checked the lengths.
pub(super) fn tile<const PAIRS: bool>(left: &[u32], rows: usize, panel: &[u32], words: usize, tile: Tile<'_>) {
    // SAFETY: the caller has checked that the CPU has the instructions, and that `rows` rows of `words` words, the panel
    // and `rows` rows of the result lie within their slices.
    unsafe {
        match (PAIRS, rows) {
            (true, 1) => pairs::<1>(left, panel, words, tile),
            (true, 2) => pairs::<2>(left, panel, words, tile),
            (true, 3) => pairs::<3>(left, panel, words, tile),
            (true, 4) => pairs::<4>(left, panel, words, tile),
            (true, 5) => pairs::<5>(left, panel, words, tile),
            (true, 6) => pairs::<6>(left, panel, words, tile),
            (false, 1) => numbers::<1>(left, panel, words, tile),
            (false, 2) => numbers::<2>(left, panel, words, tile),
            (false, 3) => numbers::<3>(left, panel, words, tile),
            (false, 4) => numbers::<4>(left, panel, words, tile),
            (false, 5) => numbers::<5>(left, panel, words, tile),
            (false, 6) => numbers::<6>(left, panel, words, tile),
            (false, 7) => numbers::<7>(left, panel, words, tile),
            (false, 8) => numbers::<8>(left, panel, words, tile),
            (false, 9) => numbers::<9>(left, panel, words, tile),
            (false, 10) => numbers::<10>(left, panel, words, tile),
            (false, 11) => numbers::<11>(left, panel, words, tile),
            (false, 12) => numbers::<12>(left, panel, words, tile),
            _ => unreachable!("a tile has 1 to 6 rows of pairs, 1 to 12 of numbers"),
        }
    }
}

/// Sums of products of bfloat16 pairs. Six rows by four registers of sums, four registers of the panel and one of the
/// left side are 29 of the 32 there are.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pairs<const ROWS: usize>(left: &[u32], panel: &[u32], words: usize, tile: Tile<'_>) {
    let (left, panel) = (left.as_ptr(), panel.as_ptr());
    let mut sums = [[_mm512_setzero_ps(); PAIRS_ACROSS]; ROWS];
    for word in 0..words {
        // SAFETY: `word` is below `words`; the panel has COLUMNS words for each, each row of the left side one.
        unsafe {
            let place = panel.add(word * COLUMNS);
            fetch::<PAIRS_ACROSS>(place);
            let across: [__m512bh; PAIRS_ACROSS] =
                std::array::from_fn(|part| transmute(_mm512_loadu_si512(place.add(part * LANES).cast())));
            for (row, sums) in sums.iter_mut().enumerate() {
                let pair: __m512bh = transmute(_mm512_set1_epi32(left.add(row * words + word).read() as i32));
                for (sum, across) in sums.iter_mut().zip(across) {
                    *sum = _mm512_dpbf16_ps(*sum, pair, across);
                }
            }
        }
    }
    // SAFETY: as the caller checked.
    unsafe { write(&sums, tile) };
}

/// Has the words of a panel that will be wanted soon brought near. Beyond the panel lies the next one, or nothing, which
/// is no fault: nothing is read.
#[target_feature(enable = "avx512f")]
#[inline]
fn fetch<const ACROSS: usize>(place: *const u32) {
    for part in 0..ACROSS {
        _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(part * LANES).wrapping_byte_add(AHEAD).cast());
    }
}

/// Sums of products of float32 numbers. Twelve rows by two registers of sums, two registers of the panel and one of the
/// left side are 27 of the 32 there are. More rows and fewer columns than [`pairs`] takes, since these sums are made faster
/// than a panel of twice the bytes comes from the second-level cache, and each row more makes more of it.
#[target_feature(enable = "avx512f")]
unsafe fn numbers<const ROWS: usize>(left: &[u32], panel: &[u32], words: usize, tile: Tile<'_>) {
    let (left, panel) = (left.as_ptr().cast::<f32>(), panel.as_ptr().cast::<f32>());
    let mut sums = [[_mm512_setzero_ps(); NUMBERS_ACROSS]; ROWS];
    for word in 0..words {
        // SAFETY: as in `pairs`; a word is a number's bits.
        unsafe {
            let place = panel.add(word * NUMBERS_ACROSS * LANES);
            fetch::<NUMBERS_ACROSS>(place.cast());
            let across: [__m512; NUMBERS_ACROSS] = std::array::from_fn(|part| _mm512_loadu_ps(place.add(part * LANES)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let number = _mm512_set1_ps(left.add(row * words + word).read());
                for (sum, across) in sums.iter_mut().zip(across) {
                    *sum = _mm512_fmadd_ps(number, across, *sum);
                }
            }
        }
    }
    // SAFETY: as the caller checked.
    unsafe { write(&sums, tile) };
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn write<const ACROSS: usize, const ROWS: usize>(sums: &[[__m512; ACROSS]; ROWS], tile: Tile<'_>) {
    let result = tile.result.as_mut_ptr();
    for (row, sums) in sums.iter().enumerate() {
        for (part, sum) in sums.iter().enumerate() {
            // SAFETY: the result has room for each row of a panel's width.
            unsafe {
                let place = result.add(row * tile.row_stride + part * LANES);
                let sum = match tile.into {
                    Accumulate::Add => _mm512_add_ps(_mm512_loadu_ps(place), *sum),
                    Accumulate::Replace => *sum,
                };
                _mm512_storeu_ps(place, sum);
            }
        }
    }
}

/// Rounds neighbours to words: `words[i]` of `values[2 i]` and `values[2 i + 1]`. Returns how many words it wrote: all
/// that fill whole registers.
pub(super) fn pair_neighbours(values: &[f32], words: &mut [u32]) -> usize {
    let whole = (values.len() / 2).min(words.len()) / LANES;
    // SAFETY: units that convert this way are chosen where the CPU has the instructions, and `whole` registers of words
    // and twice as many of values lie within the slices.
    unsafe { neighbours(values.as_ptr(), words.as_mut_ptr(), whole) };
    whole * LANES
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn neighbours(values: *const f32, words: *mut u32, registers: usize) {
    for register in 0..registers {
        // SAFETY: as the caller checked.
        unsafe {
            let values = values.add(2 * register * LANES);
            let pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values.add(LANES)), _mm512_loadu_ps(values));
            _mm512_storeu_si512(words.add(register * LANES).cast(), transmute::<__m512bh, __m512i>(pairs));
        }
    }
}

/// Rounds two rows to words: `words[i]` of `low[i]` and `high[i]`. Returns how many it wrote, as [`pair_neighbours`].
pub(super) fn pair_rows(low: &[f32], high: &[f32], words: &mut [u32]) -> usize {
    let whole = low.len().min(high.len()).min(words.len()) / LANES;
    // SAFETY: as for `pair_neighbours`; `whole` registers lie within all three slices.
    unsafe { rows(low.as_ptr(), high.as_ptr(), words.as_mut_ptr(), whole) };
    whole * LANES
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn rows(low: *const f32, high: *const f32, words: *mut u32, registers: usize) {
    for place in (0..registers * LANES).step_by(LANES) {
        // SAFETY: as the caller checked.
        unsafe { store(words.add(place), two_rows(low.add(place), high.add(place))) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn two_rows(low: *const f32, high: *const f32) -> __m512i {
    // SAFETY: the caller vouches for 16 numbers at each.
    let (low, high) = unsafe { (_mm512_loadu_ps(low), _mm512_loadu_ps(high)) };
    let low: __m256i = unsafe { transmute(_mm512_cvtneps_pbh(low)) };
    let high: __m256i = unsafe { transmute(_mm512_cvtneps_pbh(high)) };
    _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high)))
}

#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn store(words: *mut u32, register: __m512i) {
    // SAFETY: the caller vouches for 16 words.
    unsafe { _mm512_storeu_si512(words.cast(), register) };
}

/// Turns a block of 16 rows of 16 words. Word `q` of row `r` (rows `words` apart) is made of the numbers of column `r` of
/// `values`, whose rows are `stride` apart: of rows `2 q` and `2 q + 1` where words are pairs, else of row `q`.
///
/// # Panics
/// Where the block does not lie within the slices.
pub(super) fn turn_block<const PAIRS: bool>(values: &[f32], stride: usize, result: &mut [u32], words: usize) {
    let rows = if PAIRS { 2 * LANES } else { LANES };
    assert!(values.len() >= (rows - 1) * stride + LANES && result.len() >= (LANES - 1) * words + LANES);
    let (values, result) = (values.as_ptr(), result.as_mut_ptr());
    // SAFETY: as for `pair_neighbours`; the assertion holds the block within the slices.
    unsafe {
        if PAIRS { turn_pairs(values, stride, result, words) } else { turn_numbers(values, stride, result, words) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn turn_pairs(values: *const f32, stride: usize, result: *mut u32, words: usize) {
    // SAFETY: the caller has checked the places of all 32 rows read and 16 rows written.
    unsafe {
        let rows = std::array::from_fn(|q| two_rows(values.add(2 * q * stride), values.add((2 * q + 1) * stride)));
        for (row, register) in transposed(rows).into_iter().enumerate() {
            store(result.add(row * words), register);
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn turn_numbers(values: *const f32, stride: usize, result: *mut u32, words: usize) {
    // SAFETY: the caller has checked the places of all 16 rows read and written.
    unsafe {
        let rows = std::array::from_fn(|q| _mm512_loadu_si512(values.add(q * stride).cast()));
        for (row, register) in transposed(rows).into_iter().enumerate() {
            store(result.add(row * words), register);
        }
    }
}

/// Turns a block of 16 rows of 16 words the other way: word `q` of row `r` of `values` (rows `stride` numbers apart), made
/// of neighbours where words are pairs, becomes word `r` of row `q` of the result (rows `words` apart).
///
/// # Panics
/// Where the block does not lie within the slices.
pub(super) fn turn_words<const PAIRS: bool>(values: &[f32], stride: usize, result: &mut [u32], words: usize) {
    let numbers = if PAIRS { 2 * LANES } else { LANES };
    assert!(values.len() >= (LANES - 1) * stride + numbers && result.len() >= (LANES - 1) * words + LANES);
    let (values, result) = (values.as_ptr(), result.as_mut_ptr());
    // SAFETY: as for `pair_neighbours`; the assertion holds the block within the slices.
    unsafe {
        if PAIRS { turn_neighbours(values, stride, result, words) } else { turn_numbers(values, stride, result, words) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn turn_neighbours(values: *const f32, stride: usize, result: *mut u32, words: usize) {
    // SAFETY: the caller has checked the places of all 16 rows read and written.
    unsafe {
        let rows = std::array::from_fn(|row| {
            let values = values.add(row * stride);
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                _mm512_loadu_ps(values.add(LANES)),
                _mm512_loadu_ps(values),
            ))
        });
        for (q, register) in transposed(rows).into_iter().enumerate() {
            store(result.add(q * words), register);
        }
    }
}

/// The transpose of 16 registers of 16 words: neighbours are exchanged at distances 1, 2, 4 and 8.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(r: [__m512i; LANES]) -> [__m512i; LANES] {
    let a: [__m512i; LANES] = std::array::from_fn(|i| {
        let (x, y) = (r[i & !1], r[i | 1]);
        if i & 1 == 0 { _mm512_unpacklo_epi32(x, y) } else { _mm512_unpackhi_epi32(x, y) }
    });
    // Within each 128-bit lane l, b[4 i + j] now holds column 4 l + j of rows 4 i to 4 i + 3.
    let b: [__m512i; LANES] = std::array::from_fn(|i| {
        let (x, y) = (a[(i & !3) + (i & 3) / 2], a[(i & !3) + (i & 3) / 2 + 2]);
        if i & 1 == 0 { _mm512_unpacklo_epi64(x, y) } else { _mm512_unpackhi_epi64(x, y) }
    });
    // Lanes are gathered: first those of rows 0 to 7 and 8 to 15, then both.
    std::array::from_fn(|column| {
        let (lane, j) = (column / 4, column % 4);
        let (top, bottom) = match lane / 2 {
            0 => (
                _mm512_shuffle_i32x4::<0b01_00_01_00>(b[j], b[4 + j]),
                _mm512_shuffle_i32x4::<0b01_00_01_00>(b[8 + j], b[12 + j]),
            ),
            _ => (
                _mm512_shuffle_i32x4::<0b11_10_11_10>(b[j], b[4 + j]),
                _mm512_shuffle_i32x4::<0b11_10_11_10>(b[8 + j], b[12 + j]),
            ),
        };
        if lane % 2 == 0 {
            _mm512_shuffle_i32x4::<0b10_00_10_00>(top, bottom)
        } else {
            _mm512_shuffle_i32x4::<0b11_01_11_01>(top, bottom)
        }
    })
}
