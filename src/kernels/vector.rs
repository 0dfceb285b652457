//! Loops over slices that compile to vector instructions, and the functions that they need.

/// Runs loops compiled for the widest vectors that this CPU has. Only what is inlined profits: the body itself always is,
/// which a closure handed to a function is not where it grows long, and then nothing but speed tells.
macro_rules! vectorized {
    ($body:expr) => {
        $crate::kernels::vector::dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorized;

/// Calls the closure from code compiled for the widest vectors that this CPU has; used by [`vectorized`].
#[inline(always)]
pub(crate) fn dispatch<R>(loops: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(loops)
}

const LANES: usize = 16;

/// Folds a slice in 16 lanes, which the compiler may keep in one register, then the lanes in order.
#[inline(always)]
fn fold(values: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> f32 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], block[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, *value);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = step(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |total, value| total + value)
}

/// The largest; minus infinity where there is none.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    fold(values, f32::NEG_INFINITY, |most, value| if value > most { value } else { most })
}

/// The dot product of two slices of one length.
#[inline(always)]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<LANES>();
    let (right_blocks, right_rest) = right.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += a * b;
    }
    sum(&lanes)
}

/// Adds `factor * source` to `target`.
#[inline(always)]
pub(crate) fn add_scaled(target: &mut [f32], factor: f32, source: &[f32]) {
    for (sum, value) in target.iter_mut().zip(source) {
        *sum += factor * value;
    }
}

/// e to the power of `x`, to a relative error of 1e-7; 0 below -87, and never infinite. The polynomial is that of the
/// Cephes library (`expf`), after splitting off the power of two. Multiply-adds are fused: an instruction on any CPU of the
/// last ten years, a slow call on older ones.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > 88.0 { 88.0 } else { x };
    let clamped = if clamped < -87.0 { -87.0 } else { clamped };
    let shifted = clamped.mul_add(LOG2_E, ROUND);
    let power = shifted - ROUND;
    let r = power.mul_add(-LN2_LOW, power.mul_add(-LN2_HIGH, clamped));
    let mut p: f32 = 1.987_569_1e-4;
    p = p.mul_add(r, 1.398_2e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // The low bits of `shifted` are the power of two, which belongs into a float's exponent field.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let value = y * scale;
    if x < -87.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_agree_with_plain_sums_at_every_length() {
        for length in [0, 1, 2, 15, 16, 17, 31, 32, 33, 100] {
            let left: Vec<f32> = (0..length).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
            let right: Vec<f32> = (0..length).map(|i| ((i * 5) % 13) as f32 - 6.0).collect();
            // Small integers: sums are exact in any order.
            assert_eq!(vectorized!(sum(&left)), left.iter().sum::<f32>());
            assert_eq!(vectorized!(dot(&left, &right)), left.iter().zip(&right).map(|(a, b)| a * b).sum::<f32>());
            assert_eq!(vectorized!(max(&left)), left.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }

    #[test]
    fn exp_is_right_to_a_ten_millionth() {
        for step in -870_000..=880_000 {
            let x = step as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let apart = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(apart < 1.5e-7, "exp({x}) is {} and should be {expected}", exp(x));
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-88.0), 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }
}
