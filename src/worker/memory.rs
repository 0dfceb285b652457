//! The most memory that the process holds over a stretch of time. Linux tells; elsewhere there is no figure.

use std::fs;

/// Measures from its making on.
#[derive(Debug)]
pub struct PeakMemory {
    /// True where the kernel's own high-water mark was set back, so that it counts from here.
    mark_is_fresh: bool,
    /// The largest size seen by [`PeakMemory::sample`], for where it was not.
    sampled: Option<u64>,
}

impl PeakMemory {
    /// Sets the kernel's high-water mark back where that is permitted.
    #[must_use]
    pub fn start() -> Self {
        // 5 resets VmHWM; see proc_pid_clear_refs(5).
        let mark_is_fresh = fs::write("/proc/self/clear_refs", "5").is_ok();
        let mut peak = Self { mark_is_fresh, sampled: None };
        peak.sample();
        peak
    }

    /// Looks at the present size; needed now and then where the high-water mark could not be set back.
    pub fn sample(&mut self) {
        if !self.mark_is_fresh {
            self.sampled = self.sampled.max(resident("VmRSS:"));
        }
    }

    /// The largest resident size in bytes since the start, as far as known.
    #[must_use]
    pub fn bytes(&mut self) -> Option<u64> {
        self.sample();
        if self.mark_is_fresh { resident("VmHWM:") } else { self.sampled }
    }
}

/// What the process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Bytes held now.
    pub now: u64,
    /// The most bytes held since the running job began, or where the kernel's mark cannot be set back, since the start.
    pub peak: u64,
}

impl ProcessMemory {
    /// Reads it; none where the system does not tell.
    #[must_use]
    pub fn read() -> Option<Self> {
        Some(Self { now: resident("VmRSS:")?, peak: resident("VmHWM:")? })
    }
}

/// A line of /proc/self/status in bytes.
fn resident(field: &str) -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?, field)
}

fn parse(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_in_bytes() {
        let status = "Name:\tmatryo\nVmHWM:\t   14332 kB\nVmRSS:\t   9000 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(14_332 * 1024));
        assert_eq!(parse(status, "VmRSS:"), Some(9_000 * 1024));
        assert_eq!(parse(status, "VmSwap:"), None);
        assert_eq!(parse("VmHWM:\tmany kB", "VmHWM:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_was_touched_and_freed_counts() {
        const SIZE: usize = 64 << 20;
        let mut peak = PeakMemory::start();
        let before = resident("VmRSS:").expect("Linux tells");
        let held = vec![1u8; SIZE];
        peak.sample();
        assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), SIZE as u64);
        drop(held);
        // Other tests run in the same process and may free memory meanwhile, so half of it is asked for.
        let bytes = peak.bytes().expect("Linux tells");
        assert!(bytes >= before + SIZE as u64 / 2, "{bytes} after {before}");
    }
}
