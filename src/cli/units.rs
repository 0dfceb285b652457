//! Numbers, times and bytes as people read them.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1.5 GiB`.
pub(super) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// `6,300`.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A moment of the API (RFC 3339, UTC) in this machine's time zone; one that is none as it came.
pub(super) fn moment(utc: &str) -> String {
    let Ok(moment) = utc.parse::<Timestamp>() else { return utc.to_owned() };
    moment.to_zoned_datetime(TimeZone::system()).strftime("%F %T").to_string()
}

/// `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 04 h`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{minutes} min {:02} s", whole % 60),
        3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

/// The seconds between two moments of the API; none where one of them is none.
pub(super) fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let words = [0.4, 59.6, 200.0, 7500.0, 3.0 * 86_400.0 + 4.0 * 3600.0, -1.0].map(duration);
        assert_eq!(words, ["0 s", "1 min 00 s", "3 min 20 s", "2 h 05 min", "3 d 04 h", "0 s"]);
    }

    #[test]
    fn moments_that_are_none_do_no_harm() {
        assert_eq!(moment("yesterday"), "yesterday");
        assert_eq!(seconds_between("2026-01-01T00:00:00Z", "2026-01-01T00:01:00.500Z"), Some(60.5));
        assert_eq!(seconds_between("2026-01-01T00:00:00Z", "?"), None);
    }
}
