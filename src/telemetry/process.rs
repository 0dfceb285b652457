//! The process's own figures, from `/proc`, under the names that Prometheus's client libraries have agreed on. Where
//! there is no `/proc` they are absent.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Linux counts processor time for programs in hundredths of a second, on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what the process uses now.
pub(super) fn register(registry: &mut Registry) {
    if let Some(seconds) = read("/proc/self/stat").and_then(|stat| cpu_seconds(&stat)) {
        let help = "Processor time used, in user and system mode";
        registry.register_with_unit("process_cpu", help, Unit::Seconds, ConstCounter::new(seconds));
    }
    if let Some(seconds) = start_time() {
        let help = "When the process started, since the Unix epoch";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, ConstGauge::new(seconds));
    }
    let status = read("/proc/self/status").unwrap_or_default();
    for (name, help, field) in [
        ("process_resident_memory", "Memory that is held now", "VmRSS:"),
        ("process_virtual_memory", "Addresses that are taken now", "VmSize:"),
    ] {
        if let Some(kibibytes) = number_after(&status, field) {
            registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(kibibytes * 1024));
        }
    }
    if let Some(threads) = number_after(&status, "Threads:") {
        registry.register("process_threads", "Threads", ConstGauge::new(threads));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The one that lists them is among them.
        let count = i64::try_from(files.count()).unwrap_or(i64::MAX) - 1;
        registry.register("process_open_fds", "Open file descriptors", ConstGauge::new(count));
    }
    if let Some(limit) = read("/proc/self/limits").and_then(|limits| number_after(&limits, "Max open files")) {
        registry.register("process_max_fds", "Most file descriptors that may be open", ConstGauge::new(limit));
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The first number after a line's beginning.
fn number_after(text: &str, field: &str) -> Option<i64> {
    text.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` from the third on: the second is the program's name, which may hold spaces.
fn stat_fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// Fields 14 and 15 of proc_pid_stat(5).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields = stat_fields(stat)?;
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}

/// Field 22 of proc_pid_stat(5) counts from the system's start.
fn start_time() -> Option<f64> {
    let stat = read("/proc/self/stat")?;
    let ticks: f64 = stat_fields(&stat)?.get(22 - 3)?.parse().ok()?;
    let booted = number_after(&read("/proc/stat")?, "btime ")?;
    Some(booted as f64 + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_a_name_with_spaces() {
        let stat = "77 (a ) name) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 8 0 12345 9 9";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(stat_fields(stat).expect("it has fields")[22 - 3], "12345");
        assert_eq!(number_after("Name:\tx\nVmRSS:\t    9000 kB\n", "VmRSS:"), Some(9000));
        assert_eq!(number_after("Max open files            1024    4096    files\n", "Max open files"), Some(1024));
    }
}
