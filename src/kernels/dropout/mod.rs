//! Dropout masks from a counter-based generator: the same key and place give the same mask at any time, on any thread,
//! so that backward and a resumed run make them anew instead of keeping them.
//!
//! The generator is Philox 4x32 with 7 rounds (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as
//! 1, 2, 3"), whose 128 bits make eight 16-bit draws. The rate is thereby rounded to a multiple of 1/65536, and the
//! scale of what is kept follows the rounded rate.

#[cfg(target_arch = "x86_64")]
mod avx512;

use super::vector::vectorized;

/// Rounds; 7 is the least number that passes BigCrush, by the paper.
const ROUNDS: usize = 7;
const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
/// Counters worked on side by side.
const LANES: usize = 16;
/// Draws of one counter.
const DRAWS: usize = 8;

/// The 16-bit draw below which is dropped at a rate.
pub(crate) fn threshold_of(rate: f32) -> u32 {
    ((rate * 65536.0).round() as u32).min(65535)
}

/// The factor of what is kept.
pub(crate) fn scale_of(threshold: u32) -> f32 {
    65536.0 / (65536 - threshold) as f32
}

/// Where a stretch of a pack's rows (tokens, or sequences) lies: masks are named by a row's place in its micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutPlace {
    /// The stretch's first row in the pack.
    pub start: u32,
    /// The micro-batch's number since the start of the run.
    pub micro_batch: u64,
    /// The number of the first row in the micro-batch.
    pub first: u32,
}

/// The stretches of a pack, ascending, the first from row 0 on.
#[derive(Debug, Clone, Copy)]
enum Places<'a> {
    One(DropoutPlace),
    Many(&'a [DropoutPlace]),
}

/// Where masks come from: one dropout layer over the rows of a pack, each of which has one unit or several (heads).
#[derive(Debug, Clone, Copy)]
pub struct DropoutStream<'a> {
    seed: u64,
    site: u32,
    /// A 16-bit draw below this drops.
    threshold: u32,
    scale: f32,
    places: Places<'a>,
    units_per_row: u32,
}

impl DropoutStream<'static> {
    /// The masks of dropout layer `site` in a micro-batch; none where `rate` rounds to 0.
    #[must_use]
    pub fn new(seed: u64, micro_batch: u64, site: u32, rate: f32) -> Option<Self> {
        let place = DropoutPlace { start: 0, micro_batch, first: 0 };
        DropoutStream::with(seed, Places::One(place), site, rate, 1)
    }
}

impl<'a> DropoutStream<'a> {
    /// The masks of dropout layer `site` over the rows that `places` tell of, with so many units each; none where `rate`
    /// rounds to 0.
    ///
    /// # Panics
    /// Where the first place does not start at 0.
    #[must_use]
    pub fn over(seed: u64, places: &'a [DropoutPlace], site: u32, rate: f32, units_per_row: usize) -> Option<Self> {
        assert!(places.first().is_some_and(|place| place.start == 0), "every row has a place");
        Self::with(seed, Places::Many(places), site, rate, units_per_row as u32)
    }

    fn with(seed: u64, places: Places<'a>, site: u32, rate: f32, units_per_row: u32) -> Option<Self> {
        let threshold = threshold_of(rate);
        let scale = scale_of(threshold);
        (threshold > 0).then_some(Self { seed, site, threshold, scale, places, units_per_row })
    }

    /// What the generator takes for a unit of the pack.
    fn mask(&self, unit: u32) -> Mask {
        let (row, within) = (unit / self.units_per_row, unit % self.units_per_row);
        let place = match self.places {
            Places::One(place) => place,
            Places::Many(places) => places[places.partition_point(|place| place.start <= row) - 1],
        };
        let Self { seed, site, threshold, scale, .. } = *self;
        // The micro-batch's high half is mixed into the key; runs of 2^32 micro-batches are beyond reach anyway.
        let key = [seed as u32, (seed >> 32) as u32 ^ (place.micro_batch >> 32) as u32];
        let unit = (place.first + row - place.start) * self.units_per_row + within;
        Mask { key, unit, site, micro_batch: place.micro_batch as u32, threshold, scale }
    }

    /// Multiplies `values` by the mask of `unit` (a row, say): dropped ones become 0, the others grow by the scale.
    pub(crate) fn apply(&self, unit: u32, values: &mut [f32]) {
        let mask = self.mask(unit);
        let done = mask.apply_in_hardware(values);
        vectorized!({
            let mut factors = [0.0; LANES * DRAWS];
            for (number, values) in values[done..].chunks_mut(LANES * DRAWS).enumerate() {
                mask.factors((done / DRAWS + number * LANES) as u32, &mut factors);
                for (value, factor) in values.iter_mut().zip(&factors) {
                    *value *= factor;
                }
            }
        });
    }
}

/// One unit's mask: what the generator is keyed with and counts, and what becomes of its draws.
#[derive(Debug, Clone, Copy)]
struct Mask {
    key: [u32; 2],
    unit: u32,
    site: u32,
    micro_batch: u32,
    threshold: u32,
    scale: f32,
}

impl Mask {
    /// Does what whole blocks there are where the CPU has AVX-512; returns how many values that were.
    fn apply_in_hardware(self, values: &mut [f32]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            return avx512::apply(self, values);
        }
        0
    }

    /// The factors of `LANES` counters from `block` on. Draw `d` of lane `l` lies at `d * LANES + l`, which keeps the
    /// loops in whole registers.
    #[inline(always)]
    fn factors(self, block: u32, factors: &mut [f32; LANES * DRAWS]) {
        let mut words = [[0_u32; LANES], [self.unit; LANES], [self.site; LANES], [self.micro_batch; LANES]];
        for (lane, word) in words[0].iter_mut().enumerate() {
            *word = block + lane as u32;
        }
        philox(&mut words, self.key);
        for (place, word) in words.iter().enumerate() {
            for lane in 0..LANES {
                let keep = |draw: u32| if draw < self.threshold { 0.0 } else { self.scale };
                factors[2 * place * LANES + lane] = keep(word[lane] & 0xffff);
                factors[(2 * place + 1) * LANES + lane] = keep(word[lane] >> 16);
            }
        }
    }
}

/// Encrypts `LANES` counters; `words[w][l]` is word `w` of counter `l`.
#[inline(always)]
fn philox(words: &mut [[u32; LANES]; 4], mut key: [u32; 2]) {
    for _ in 0..ROUNDS {
        let [x0, x1, x2, x3] = *words;
        for lane in 0..LANES {
            let low = u64::from(x0[lane]) * u64::from(MULTIPLIERS[0]);
            let high = u64::from(x2[lane]) * u64::from(MULTIPLIERS[1]);
            words[0][lane] = (high >> 32) as u32 ^ x1[lane] ^ key[0];
            words[1][lane] = high as u32;
            words[2][lane] = (low >> 32) as u32 ^ x3[lane] ^ key[1];
            words[3][lane] = low as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the Random123 library (`kat_vectors`, `philox4x32 7`).
    #[test]
    fn philox_gives_the_known_answers() {
        let cases: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
            ([0; 4], [0; 2], [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a],
            ),
        ];
        for (counter, key, expected) in cases {
            let mut words = counter.map(|word| [word; LANES]);
            philox(&mut words, key);
            assert_eq!(words.map(|word| word[LANES - 1]), expected);
        }
    }

    /// Whole blocks may be computed in hardware; the plain loops give the same bits.
    #[test]
    fn hardware_and_plain_loops_agree() {
        let stream = DropoutStream::new(7, 1 << 33 | 3, 1, 0.3).expect("the rate is above 0");
        for length in [1, LANES * DRAWS, LANES * DRAWS + 1, 5 * LANES * DRAWS + 77] {
            let (mut values, mut plain) = (vec![1.0; length], vec![1.0; length]);
            stream.apply(7, &mut values);
            let mut factors = [0.0; LANES * DRAWS];
            for (number, values) in plain.chunks_mut(LANES * DRAWS).enumerate() {
                stream.mask(7).factors((number * LANES) as u32, &mut factors);
                values.copy_from_slice(&factors[..values.len()]);
            }
            assert_eq!(values, plain);
        }
    }

    #[test]
    fn the_rate_and_the_mean_are_right_and_streams_differ() {
        let stream = DropoutStream::new(7, 3, 1, 0.1).expect("the rate is above 0");
        let mask = |stream: &DropoutStream<'_>, unit: u32, length: usize| {
            let mut values = vec![1.0; length];
            stream.apply(unit, &mut values);
            values
        };
        let values: Vec<f32> = (0..1000).flat_map(|unit| mask(&stream, unit, 1000)).collect();
        let dropped = values.iter().filter(|value| **value == 0.0).count();
        // A million draws: the standard deviation is 300.
        assert!((98_500..101_500).contains(&dropped), "{dropped}");
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        assert!((mean - 1.0).abs() < 2e-3, "{mean}");

        assert_eq!(mask(&stream, 5, 777), mask(&stream, 5, 777));
        // A prefix of a unit's mask is the mask of a shorter unit.
        assert_eq!(mask(&stream, 5, 777)[..100], mask(&stream, 5, 100));
        for other in [(8, 3, 1), (7, 4, 1), (7, 3, 2), (7, 3 + (1 << 32), 1)] {
            let other = DropoutStream::new(other.0, other.1, other.2, 0.1).expect("the rate is above 0");
            assert_ne!(mask(&stream, 5, 777), mask(&other, 5, 777));
        }
        assert_ne!(mask(&stream, 5, 777), mask(&stream, 6, 777));
        // A pack of two stretches, the second of another micro-batch, with three units a row.
        let places =
            [(0, 3, 11), (4, 4, 2)].map(|(start, micro_batch, first)| DropoutPlace { start, micro_batch, first });
        let pack = DropoutStream::over(7, &places, 1, 0.1, 3).expect("the rate is above 0");
        let next = DropoutStream::new(7, 4, 1, 0.1).expect("the rate is above 0");
        assert_eq!(mask(&pack, 3 * 3 + 2, 777), mask(&stream, 14 * 3 + 2, 777));
        assert_eq!(mask(&pack, 4 * 3, 777), mask(&next, 2 * 3, 777));
        assert_eq!(mask(&pack, 9 * 3 + 1, 777), mask(&next, 7 * 3 + 1, 777));
        assert!(DropoutStream::new(1, 1, 1, 0.0).is_none());
    }
}
