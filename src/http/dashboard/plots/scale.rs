//! Values to places, and round values to write along an axis.

use super::super::format;

/// Places values along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Equal steps are equal factors.
    by_factor: bool,
}

impl Scale {
    /// Puts `low` at `from` and `high` at `to`.
    pub(super) fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low, high, from, to, by_factor: false }
    }

    /// The same with equal room for equal factors; both ends must be above 0.
    pub(super) fn by_factor(self) -> Self {
        Self { by_factor: true, ..self }
    }

    /// Where a value stands.
    pub(super) fn place(&self, value: f64) -> f64 {
        let on = |value: f64| if self.by_factor { value.log2() } else { value };
        let (low, high) = (on(self.low), on(self.high));
        let share = if high > low { (on(value) - low) / (high - low) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }
}

/// Round values a round step apart, the first at or below `low` and the last at or above `high`; about `wanted` of them.
pub(super) fn ticks(low: f64, high: f64, wanted: usize, whole: bool) -> Vec<f64> {
    // One value alone gets some room.
    let (low, high) = if high > low { (low, high) } else { (low - room(low) / 2.0, high + room(low) / 2.0) };
    let mut step = round_step((high - low) / wanted.max(1) as f64);
    if whole {
        step = step.ceil().max(1.0);
    }
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    // Multiples of the step, not sums of it: errors do not add up.
    (0..=(last - first) as u64).map(|nth| (first + nth as f64) * step).collect()
}

fn room(value: f64) -> f64 {
    if value == 0.0 { 1.0 } else { value.abs() * 0.2 }
}

/// The next larger of 1, 2, 2.5, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| step <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power
}

/// How ticks are written: all with as many decimals as their step needs.
pub(super) fn labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let largest = ticks.iter().fold(0.0, |most: f64, tick| most.max(tick.abs()));
    if !step.is_finite() || largest == 0.0 || !(1e-3..1e7).contains(&largest) {
        return ticks.iter().map(|tick| scientific(*tick, step)).collect();
    }
    let decimals = (0..=6).find(|decimals| is_whole(step * 10f64.powi(*decimals))).unwrap_or(6) as usize;
    let grouped = decimals == 0 && largest >= 10_000.0 && ticks.iter().all(|tick| *tick >= 0.0);
    let text = |tick: &f64| if grouped { format::count(*tick as u64) } else { format!("{tick:.decimals$}") };
    ticks.iter().map(text).collect()
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

/// Very small and very large ticks: `1.5e-5`.
fn scientific(tick: f64, step: f64) -> String {
    if step.is_finite() && tick.abs() < step / 2.0 {
        return "0".into();
    }
    let text = format!("{tick:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (low, high, wanted, whole, expected) in [
            (0.0, 1.0, 5, false, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0][..]),
            (0.513, 0.584, 4, false, &[0.5, 0.52, 0.54, 0.56, 0.58, 0.6]),
            (0.0, 4.0, 5, true, &[0.0, 1.0, 2.0, 3.0, 4.0]),
            (0.0, 2.0, 8, true, &[0.0, 1.0, 2.0]),
            (0.0, 480.0, 5, true, &[0.0, 100.0, 200.0, 300.0, 400.0, 500.0]),
            (-3.0, 3.0, 3, false, &[-4.0, -2.0, 0.0, 2.0, 4.0]),
        ] {
            let ticks = ticks(low, high, wanted, whole);
            assert_eq!(ticks.len(), expected.len(), "{low} to {high}: {ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!((tick - expected).abs() < 1e-9, "{low} to {high}: {ticks:?}");
            }
        }
    }

    #[test]
    fn one_value_alone_stands_in_the_middle() {
        for value in [0.0, 5.0, -2.0, 1e-9] {
            let ticks = ticks(value, value, 4, false);
            assert!(ticks.len() >= 3 && ticks[0] < value && ticks[ticks.len() - 1] > value, "{value}: {ticks:?}");
        }
    }

    #[test]
    fn labels_have_the_decimals_of_their_step() {
        let labelled = |low, high, wanted| labels(&ticks(low, high, wanted, false));
        assert_eq!(labelled(0.0, 1.0, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labelled(0.51, 0.53, 4), ["0.510", "0.515", "0.520", "0.525", "0.530"]);
        assert_eq!(labelled(0.0, 2e-5, 4), ["0", "5e-6", "1e-5", "1.5e-5", "2e-5"]);
        assert_eq!(labelled(0.0, 40_000.0, 4), ["0", "10,000", "20,000", "30,000", "40,000"]);
        assert_eq!(labelled(0.0, 3.0, 3), ["0", "1", "2", "3"]);
    }

    #[test]
    fn values_are_placed_in_proportion() {
        let scale = Scale::new((0.0, 10.0), (100.0, 0.0));
        assert_eq!([scale.place(0.0), scale.place(2.5), scale.place(10.0)], [100.0, 75.0, 0.0]);
        let scale = Scale::new((64.0, 1024.0), (0.0, 100.0)).by_factor();
        assert_eq!([scale.place(64.0), scale.place(256.0), scale.place(1024.0)], [0.0, 50.0, 100.0]);
        assert_eq!(Scale::new((3.0, 3.0), (0.0, 10.0)).place(3.0), 5.0, "no room is no division by zero");
    }
}
