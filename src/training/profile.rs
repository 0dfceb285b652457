//! Clocks around the phases of a run, and what is counted in them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::domain::{PhaseSeconds, Profile};

/// What a run has spent so far; kept with its checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Seconds by phase.
    pub seconds: PhaseSeconds,
    /// Tokens trained on.
    pub tokens: u64,
    /// Floating-point operations of training steps, without those that are done again to save memory.
    pub operations: u64,
}

impl Spent {
    /// As it is reported.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let PhaseSeconds { pack, forward, loss, backward, optimizer, .. } = self.seconds;
        let training = pack + forward + loss + backward + optimizer;
        let per_second = |count: f64| if training > 0.0 { count / training } else { 0.0 };
        Profile {
            seconds: self.seconds,
            tokens: self.tokens,
            tokens_per_second: per_second(self.tokens as f64),
            gflops: per_second(self.operations as f64) / 1e9,
        }
    }
}

/// Reads the clock between one phase and the next.
#[derive(Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Adds the seconds since the start or the last lap to `seconds`.
    pub(super) fn lap(&mut self, seconds: &mut f64) {
        let now = Instant::now();
        *seconds += (now - self.0).as_secs_f64();
        self.0 = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_training_steps() {
        let seconds = PhaseSeconds {
            tokenize: 100.0,
            pack: 0.5,
            forward: 3.0,
            loss: 0.25,
            backward: 6.0,
            optimizer: 0.25,
            evaluate: 200.0,
            save: 300.0,
        };
        let profile = Spent { seconds, tokens: 500, operations: 40_000_000_000 }.profile();
        assert_eq!((profile.seconds, profile.tokens), (seconds, 500));
        assert_eq!((profile.tokens_per_second, profile.gflops), (50.0, 4.0));
        // A run that trained nothing has no rate, and JSON has no number for it.
        assert_eq!(Spent::default().profile(), Profile::default());
    }

    #[test]
    fn laps_add_up_to_the_whole() {
        let started = Instant::now();
        let mut watch = Stopwatch::start();
        let (mut first, mut second) = (1.0, 0.0);
        watch.lap(&mut first);
        watch.lap(&mut second);
        let whole = started.elapsed().as_secs_f64();
        assert!(first >= 1.0 && second >= 0.0 && first - 1.0 + second <= whole);
    }
}
