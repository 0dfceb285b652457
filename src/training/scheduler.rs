//! The learning rate as a pure function of the step, with the Hugging Face trainer's formulas.

use crate::domain::LrSchedulerType;

/// Linear warm-up from 0, then the job's curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrSchedule {
    /// What comes after the warm-up.
    pub kind: LrSchedulerType,
    /// Where the warm-up ends.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

impl LrSchedule {
    /// A schedule whose warm-up takes `warmup_ratio` of all steps, rounded up.
    #[must_use]
    pub fn new(kind: LrSchedulerType, peak: f64, warmup_ratio: f64, total_steps: u64) -> Self {
        Self { kind, peak, warmup_steps: (total_steps as f64 * warmup_ratio).ceil() as u64, total_steps }
    }

    /// The rate that step `step` uses, counted from 0; so the first step of a warm-up uses 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step as f64 / self.warmup_steps as f64);
        }
        let after = (self.total_steps - self.warmup_steps.min(self.total_steps)).max(1) as f64;
        let factor = match self.kind {
            LrSchedulerType::Cosine => {
                let progress = (step - self.warmup_steps) as f64 / after;
                0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            LrSchedulerType::Linear => self.total_steps.saturating_sub(step) as f64 / after,
            LrSchedulerType::Constant => 1.0,
        };
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with transformers 5:
    ///
    /// ```python
    /// optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=2e-5)
    /// scheduler = transformers.get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    /// for step in range(total):
    ///     rates.append(optimizer.param_groups[0]["lr"]); optimizer.step(); scheduler.step()
    /// ```
    #[test]
    fn rates_are_those_of_transformers() {
        use LrSchedulerType::{Constant, Cosine, Linear};
        let eight = [0, 1, 2, 3, 4, 5, 6, 7];
        let some = [0, 1, 5, 6, 7, 29, 51];
        type Case<'a> = (LrSchedulerType, u64, f64, u64, &'a [u64], &'a [f64]);
        let cases: [Case<'_>; 10] = [
            (
                Cosine,
                8,
                0.1,
                1,
                &eight,
                &[
                    0.0,
                    2e-05,
                    1.900968867902419e-05,
                    1.6234898018587336e-05,
                    1.2225209339563144e-05,
                    7.774790660436857e-06,
                    3.7651019814126656e-06,
                    9.903113209758098e-07,
                ],
            ),
            (
                Linear,
                8,
                0.1,
                1,
                &eight,
                &[
                    0.0,
                    2e-05,
                    1.7142857142857142e-05,
                    1.4285714285714287e-05,
                    1.1428571428571429e-05,
                    8.571428571428571e-06,
                    5.7142857142857145e-06,
                    2.8571428571428573e-06,
                ],
            ),
            (Constant, 8, 0.1, 1, &eight, &[0.0, 2e-05, 2e-05, 2e-05, 2e-05, 2e-05, 2e-05, 2e-05]),
            (
                Cosine,
                52,
                0.1,
                6,
                &some,
                &[
                    0.0,
                    3.3333333333333333e-06,
                    1.6666666666666667e-05,
                    2e-05,
                    1.9976687691905394e-05,
                    1e-05,
                    2.3312308094607382e-08,
                ],
            ),
            (
                Linear,
                52,
                0.1,
                6,
                &some,
                &[
                    0.0,
                    3.3333333333333333e-06,
                    1.6666666666666667e-05,
                    2e-05,
                    1.956521739130435e-05,
                    1e-05,
                    4.347826086956522e-07,
                ],
            ),
            (
                Cosine,
                5,
                0.0,
                0,
                &eight[..5],
                &[2e-05, 1.8090169943749477e-05, 1.3090169943749475e-05, 6.909830056250527e-06, 1.9098300562505266e-06],
            ),
            (
                Linear,
                5,
                0.0,
                0,
                &eight[..5],
                &[2e-05, 1.6000000000000003e-05, 1.2e-05, 8.000000000000001e-06, 4.000000000000001e-06],
            ),
            (Constant, 5, 0.0, 0, &eight[..5], &[2e-05; 5]),
            (Cosine, 3, 1.0, 3, &eight[..3], &[0.0, 6.666666666666667e-06, 1.3333333333333333e-05]),
            (Linear, 1, 0.1, 1, &eight[..1], &[0.0]),
        ];
        for (kind, total, ratio, warmup, steps, expected) in cases {
            let schedule = LrSchedule::new(kind, 2e-5, ratio, total);
            assert_eq!(schedule.warmup_steps, warmup);
            for (step, expected) in steps.iter().zip(expected) {
                let rate = schedule.at(*step);
                assert!((rate - expected).abs() < 1e-18, "{kind:?} of {total} at {step}: {rate}, not {expected}");
            }
        }
    }
}
