//! The masks in AVX-512, since compilers make gathers and scatters of the plain loops; the same numbers, bit for bit.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{DRAWS, LANES, MULTIPLIERS, Mask, ROUNDS, WEYL};

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Multiplies `values` by the mask and returns how many: those that fill whole blocks of `LANES * DRAWS`.
///
/// # Panics
/// Where the CPU has no AVX-512.
pub(super) fn apply(mask: Mask, values: &mut [f32]) -> usize {
    assert!(is_available(), "the caller looks at the CPU first");
    let blocks = values.len() / (LANES * DRAWS);
    // SAFETY: the CPU has the instructions, and `blocks` whole blocks lie within `values`.
    unsafe { apply_blocks(mask, values.as_mut_ptr(), blocks) };
    blocks * LANES * DRAWS
}

#[target_feature(enable = "avx512f")]
unsafe fn apply_blocks(mask: Mask, values: *mut f32, blocks: usize) {
    let all = |word: u32| _mm512_set1_epi32(word as i32);
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let (threshold, low, scale) = (all(mask.threshold), all(0xffff), _mm512_set1_ps(mask.scale));
    for block in 0..blocks {
        let counters = _mm512_add_epi32(all((block * LANES) as u32), lanes);
        let words = philox([counters, all(mask.unit), all(mask.site), all(mask.micro_batch)], mask.key);
        for (place, word) in words.into_iter().enumerate() {
            for (half, draws) in [_mm512_and_si512(word, low), _mm512_srli_epi32::<16>(word)].into_iter().enumerate() {
                let kept = _mm512_cmpge_epu32_mask(draws, threshold);
                // SAFETY: the caller vouches for `blocks` blocks of LANES * DRAWS numbers.
                unsafe {
                    let values = values.add((block * DRAWS + 2 * place + half) * LANES);
                    _mm512_storeu_ps(values, _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(values), scale));
                }
            }
        }
    }
}

/// As [`super::philox`].
#[target_feature(enable = "avx512f")]
#[inline]
fn philox([mut x0, mut x1, mut x2, mut x3]: [__m512i; 4], mut key: [u32; 2]) -> [__m512i; 4] {
    for _ in 0..ROUNDS {
        let (low, high) = (multiply(x0, MULTIPLIERS[0]), multiply(x2, MULTIPLIERS[1]));
        let keyed = key.map(|key| _mm512_set1_epi32(key as i32));
        x0 = _mm512_xor_si512(_mm512_xor_si512(high[1], x1), keyed[0]);
        x2 = _mm512_xor_si512(_mm512_xor_si512(low[1], x3), keyed[1]);
        (x1, x3) = (high[0], low[0]);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [x0, x1, x2, x3]
}

/// The low and the high halves of 16 products.
#[target_feature(enable = "avx512f")]
#[inline]
fn multiply(words: __m512i, by: u32) -> [__m512i; 2] {
    const ODD: u16 = 0xaaaa;
    let by = _mm512_set1_epi32(by as i32);
    let even = _mm512_mul_epu32(words, by);
    let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(words), by);
    [_mm512_mullo_epi32(words, by), _mm512_mask_blend_epi32(ODD, _mm512_srli_epi64::<32>(even), odd)]
}
