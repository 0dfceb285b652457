//! When to try again.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// How often a delivery is tried, and how long between attempts: each wait is `factor` times the one before it, give or take
/// a fifth, so that deliveries that failed together do not come again together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The wait after the first attempt.
    pub first: Duration,
    /// What each further wait is multiplied by.
    pub factor: u32,
    /// Attempts in all.
    pub attempts: u32,
}

impl Default for Schedule {
    /// After 5 s, 20 s, 80 s, 5 min, 21 min, 85 min and 5.7 h: eight attempts over seven and a half hours.
    fn default() -> Self {
        Self { first: Duration::from_secs(5), factor: 4, attempts: 8 }
    }
}

impl Schedule {
    /// How long to wait after the attempt numbered `tried`, from 1; none where it was the last.
    #[must_use]
    pub(super) fn wait(&self, delivery: &str, tried: u32) -> Option<Duration> {
        if tried >= self.attempts {
            return None;
        }
        let wait = self.first.saturating_mul(self.factor.saturating_pow(tried.saturating_sub(1)));
        // A delivery's name is random, so this is as good as drawn.
        let drawn = Sha256::digest(format!("{delivery} {tried}"))[0];
        Some(wait.mul_f64(0.8 + 0.4 * f64::from(drawn) / 255.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_over_hours_and_scatter() {
        let schedule = Schedule::default();
        let waits: Vec<Duration> = (1..).map_while(|tried| schedule.wait("msg_1", tried)).collect();
        assert_eq!(waits.len(), 7);
        for (wait, seconds) in waits.iter().zip([5.0, 20.0, 80.0, 320.0, 1280.0, 5120.0, 20_480.0]) {
            assert!((0.8 * seconds..=1.2 * seconds).contains(&wait.as_secs_f64()), "{wait:?}");
        }
        assert_ne!(schedule.wait("msg_1", 3), schedule.wait("msg_2", 3));
    }
}
