//! Advanced Matrix Extensions: products of whole tiles, where the CPU has them and the operating system lets the process
//! use them. The order of the tiles is written once, over [`Tiles`]: in hardware, and emulated for the tests of CPUs without.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::{COLUMNS, MOST_ROWS, Tile};
use crate::kernels::matmul::Accumulate;

/// Rows of a tile; also its columns in words.
const SIDE: usize = 16;

/// True where CPUID names AMX-TILE and AMX-BF16, the operating system saves tiles, and Linux grants them on request.
pub(super) fn is_available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| is_in_cpu() && is_permitted())
}

fn is_in_cpu() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    /// Tile configuration and tile data, in the register of what the operating system saves.
    const TILE_STATE: u64 = 0b11 << 17;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: the instruction is there where OSXSAVE is set.
    let saved = unsafe { xcr0() };
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && saved & TILE_STATE == TILE_STATE
}

#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller has looked at OSXSAVE.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the tiles' state, which a process has to do once before it uses them.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of the process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Eight registers of up to 16 rows of 16 words.
trait Tiles {
    /// Sets the rows of tiles 0 to 7.
    unsafe fn configure(&mut self, rows: [u8; 8]);
    /// Fills tile `T` from rows that are `stride` words apart.
    unsafe fn load<const T: usize>(&mut self, rows: *const u32, stride: usize);
    /// Writes tile `T` to rows that are `stride` words apart.
    unsafe fn store<const T: usize>(&mut self, rows: *mut f32, stride: usize);
    /// Sets tile `T` to zero.
    unsafe fn zero<const T: usize>(&mut self);
    /// Adds to tile `C` the product of `A` (rows of pairs) and `B` (pairs of rows).
    unsafe fn multiply<const C: usize, const A: usize, const B: usize>(&mut self);
    /// Ends the use of tiles.
    unsafe fn release(&mut self);
}

/// As [`super::Unit::tile`], which has checked the lengths.
pub(super) fn tile(left: &[u32], rows: usize, panel: &[u32], pairs: usize, tile: Tile<'_>) {
    // SAFETY: the caller has checked that the CPU has tiles, and the lengths of all three slices.
    unsafe { tile_with(&mut Hardware, left, rows, panel, pairs, tile) }
}

/// Up to 32 rows: two tiles of rows by two of columns, for each half of the panel.
unsafe fn tile_with(
    tiles: &mut impl Tiles,
    left: &[u32],
    rows: usize,
    panel: &[u32],
    pairs: usize,
    Tile { result, row_stride, into }: Tile<'_>,
) {
    debug_assert!((1..=MOST_ROWS).contains(&rows));
    let (upper, lower) = (rows.min(SIDE), rows.saturating_sub(SIDE));
    let (upper_rows, lower_rows, side) = (upper as u8, lower.max(1) as u8, SIDE as u8);
    // SAFETY: `upper` and `lower` rows of `pairs` words lie in `left`, `pairs` rows of COLUMNS words in the panel, as
    // many rows of COLUMNS numbers in the result; `pairs` is a multiple of SIDE.
    unsafe {
        tiles.configure([upper_rows, upper_rows, lower_rows, lower_rows, upper_rows, lower_rows, side, side]);
        for column in (0..COLUMNS).step_by(2 * SIDE) {
            let above = result.as_mut_ptr().add(column);
            let below = if lower > 0 { above.add(SIDE * row_stride) } else { above };
            if into == Accumulate::Add {
                tiles.load::<0>(above.cast(), row_stride);
                tiles.load::<1>(above.add(SIDE).cast(), row_stride);
            } else {
                tiles.zero::<0>();
                tiles.zero::<1>();
            }
            if into == Accumulate::Add && lower > 0 {
                tiles.load::<2>(below.cast(), row_stride);
                tiles.load::<3>(below.add(SIDE).cast(), row_stride);
            } else {
                tiles.zero::<2>();
                tiles.zero::<3>();
            }
            for pair in (0..pairs).step_by(SIDE) {
                let words = panel.as_ptr().add(pair * COLUMNS + column);
                tiles.load::<6>(words, COLUMNS);
                tiles.load::<7>(words.add(SIDE), COLUMNS);
                tiles.load::<4>(left.as_ptr().add(pair), pairs);
                tiles.multiply::<0, 4, 6>();
                tiles.multiply::<1, 4, 7>();
                if lower > 0 {
                    tiles.load::<5>(left.as_ptr().add(SIDE * pairs + pair), pairs);
                    tiles.multiply::<2, 5, 6>();
                    tiles.multiply::<3, 5, 7>();
                }
            }
            tiles.store::<0>(above, row_stride);
            tiles.store::<1>(above.add(SIDE), row_stride);
            if lower > 0 {
                tiles.store::<2>(below, row_stride);
                tiles.store::<3>(below.add(SIDE), row_stride);
            }
        }
        tiles.release();
    }
}

/// The CPU's own tiles.
struct Hardware;

/// What LDTILECFG reads: palette 1, then each tile's bytes per row and rows.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// One instruction on the tile whose number is a constant; instructions name tiles in their text.
macro_rules! for_tile {
    ($tile:expr, $before:literal, $after:literal $(, $operand:ident($kind:ident) $value:expr)*) => {
        match $tile {
            0 => asm!(concat!($before, "tmm0", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            1 => asm!(concat!($before, "tmm1", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            2 => asm!(concat!($before, "tmm2", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            3 => asm!(concat!($before, "tmm3", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            4 => asm!(concat!($before, "tmm4", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            5 => asm!(concat!($before, "tmm5", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            6 => asm!(concat!($before, "tmm6", $after), $($operand = $kind(reg) $value,)* options(nostack)),
            _ => asm!(concat!($before, "tmm7", $after), $($operand = $kind(reg) $value,)* options(nostack)),
        }
    };
}

// SAFETY of all: the caller vouches for the CPU, the configuration and the rows; the compiler uses no tiles itself.
impl Tiles for Hardware {
    #[inline(always)]
    unsafe fn configure(&mut self, rows: [u8; 8]) {
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        configuration.bytes[..8].fill((4 * SIDE) as u16);
        configuration.rows[..8].copy_from_slice(&rows);
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack)) };
    }

    #[inline(always)]
    unsafe fn load<const T: usize>(&mut self, rows: *const u32, stride: usize) {
        unsafe { for_tile!(T, "tileloadd ", ", [{rows} + {bytes}]", rows(in) rows, bytes(in) 4 * stride) };
    }

    #[inline(always)]
    unsafe fn store<const T: usize>(&mut self, rows: *mut f32, stride: usize) {
        unsafe { for_tile!(T, "tilestored [{rows} + {bytes}], ", "", rows(in) rows, bytes(in) 4 * stride) };
    }

    #[inline(always)]
    unsafe fn zero<const T: usize>(&mut self) {
        unsafe { for_tile!(T, "tilezero ", "") };
    }

    #[inline(always)]
    unsafe fn multiply<const C: usize, const A: usize, const B: usize>(&mut self) {
        unsafe {
            match (C, A, B) {
                (0, 4, 6) => asm!("tdpbf16ps tmm0, tmm4, tmm6", options(nostack)),
                (1, 4, 7) => asm!("tdpbf16ps tmm1, tmm4, tmm7", options(nostack)),
                (2, 5, 6) => asm!("tdpbf16ps tmm2, tmm5, tmm6", options(nostack)),
                (3, 5, 7) => asm!("tdpbf16ps tmm3, tmm5, tmm7", options(nostack)),
                _ => unreachable!("no other tiles are multiplied"),
            }
        }
    }

    #[inline(always)]
    unsafe fn release(&mut self) {
        unsafe { asm!("tilerelease", options(nostack)) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::portable;
    use super::*;

    /// The instructions as Intel's manual describes them.
    #[derive(Default)]
    struct Emulated {
        rows: [usize; 8],
        tiles: [[[u32; SIDE]; SIDE]; 8],
        released: bool,
    }

    impl Tiles for Emulated {
        unsafe fn configure(&mut self, rows: [u8; 8]) {
            assert!(rows.iter().all(|rows| (1..=16).contains(rows)), "LDTILECFG faults on other numbers of rows");
            *self = Self { rows: rows.map(usize::from), ..Self::default() };
        }

        unsafe fn load<const T: usize>(&mut self, rows: *const u32, stride: usize) {
            self.tiles[T] = Default::default();
            for row in 0..self.rows[T] {
                for word in 0..SIDE {
                    self.tiles[T][row][word] = unsafe { rows.add(row * stride + word).read() };
                }
            }
        }

        unsafe fn store<const T: usize>(&mut self, rows: *mut f32, stride: usize) {
            for row in 0..self.rows[T] {
                for word in 0..SIDE {
                    unsafe { rows.add(row * stride + word).write(f32::from_bits(self.tiles[T][row][word])) };
                }
            }
        }

        unsafe fn zero<const T: usize>(&mut self) {
            self.tiles[T] = Default::default();
        }

        unsafe fn multiply<const C: usize, const A: usize, const B: usize>(&mut self) {
            assert_eq!((self.rows[C], self.rows[B]), (self.rows[A], SIDE), "TDPBF16PS faults on other shapes");
            for row in 0..self.rows[C] {
                for pair in 0..self.rows[B] {
                    for column in 0..SIDE {
                        let (a, b) =
                            (portable::pair(self.tiles[A][row][pair]), portable::pair(self.tiles[B][pair][column]));
                        let sum = f32::from_bits(self.tiles[C][row][column]) + a.0 * b.0 + a.1 * b.1;
                        self.tiles[C][row][column] = sum.to_bits();
                    }
                }
            }
        }

        unsafe fn release(&mut self) {
            self.released = true;
        }
    }

    /// Words whose halves are numbers of few bits, so that sums are exact in any order.
    fn words(count: usize, step: usize) -> Vec<u32> {
        let number = |index: usize| ((index % 17) as f32 - 8.0).to_bits() >> 16;
        (0..count).map(|index| number(index * step) | number(index * step + 5) << 16).collect()
    }

    #[test]
    fn emulated_tiles_give_the_same_products_as_plain_rust() {
        for pairs in [16, 48] {
            for rows in 1..=MOST_ROWS {
                let (left, panel) = (words(rows * pairs, 3), words(pairs * COLUMNS, 7));
                for into in [Accumulate::Replace, Accumulate::Add] {
                    let row_stride = COLUMNS + 9;
                    let start: Vec<f32> = (0..rows * row_stride).map(|place| place as f32).collect();
                    let (mut expected, mut found) = (start.clone(), start);
                    portable::tile(&left, rows, &panel, pairs, Tile { result: &mut expected, row_stride, into });
                    let mut tiles = Emulated::default();
                    let tile = Tile { result: &mut found, row_stride, into };
                    // SAFETY: all slices have their full lengths.
                    unsafe { tile_with(&mut tiles, &left, rows, &panel, pairs, tile) };
                    assert_eq!(found, expected, "{rows} rows, {pairs} pairs, {into:?}");
                    assert!(tiles.released);
                }
            }
        }
    }
}
