//! How fast the run goes: pairs per second since the last log entry, and the time that is left.

use std::time::Instant;

/// Measures while steps run; evaluations and saving between epochs are left out.
#[derive(Debug)]
pub(super) struct StepMeter {
    /// When the stretch under way began.
    started: Instant,
    /// Seconds of earlier stretches since the last log entry.
    window_seconds: f64,
    window_pairs: usize,
    /// Seconds up to the last log entry, or the pause before it.
    seconds: f64,
    steps: u64,
}

impl StepMeter {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), window_seconds: 0.0, window_pairs: 0, seconds: 0.0, steps: 0 }
    }

    /// Steps begin, or go on after a pause.
    pub(super) fn resume(&mut self) {
        self.started = Instant::now();
    }

    /// Steps end for now.
    pub(super) fn pause(&mut self) {
        self.take_stretch();
    }

    /// A step over `pairs` pairs is done.
    pub(super) fn step(&mut self, pairs: usize) {
        self.window_pairs += pairs;
        self.steps += 1;
    }

    /// Pairs per second since the last call, and the seconds that `steps_left` steps will take.
    pub(super) fn read(&mut self, steps_left: u64) -> (f64, f64) {
        self.take_stretch();
        let pairs_per_second = self.window_pairs as f64 / self.window_seconds.max(1e-9);
        self.window_pairs = 0;
        self.window_seconds = 0.0;
        (pairs_per_second, self.seconds / self.steps.max(1) as f64 * steps_left as f64)
    }

    fn take_stretch(&mut self) {
        let now = Instant::now();
        let stretch = (now - self.started).as_secs_f64();
        self.started = now;
        self.window_seconds += stretch;
        self.seconds += stretch;
    }
}
