//! Sizes, times and numbers as people read them.

use jiff::Timestamp;
use maud::{Markup, html};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `1.2 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024 is shown as 1 of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(value < 99.95);
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `3 min 12 s`, from its two largest parts; `0.4 s` below ten seconds.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
    };
    match whole {
        0..MINUTE => format!("{whole} s"),
        MINUTE..HOUR => two(whole / MINUTE, "min", whole % MINUTE, "s"),
        HOUR..DAY => two(whole / HOUR, "h", whole % HOUR / MINUTE, "min"),
        _ => two(whole / DAY, "d", whole % DAY / HOUR, "h"),
    }
}

/// Seconds from one stored time to another; none where one of them is no time.
pub(super) fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

/// A stored time as `<time>`, shown relative to now; the whole of it shows on hover, and a script keeps it fresh.
pub(super) fn time(timestamp: &str) -> Markup {
    let parsed: Option<Timestamp> = timestamp.parse().ok();
    let shown = parsed.map_or_else(
        || timestamp.to_owned(),
        |then| ago(Timestamp::now().duration_since(then).as_secs_f64(), || then.strftime("%e %b %Y").to_string()),
    );
    let title = parsed.map_or_else(|| timestamp.to_owned(), |then| then.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    html! { time datetime=(timestamp) title=(title) data-relative { (shown.trim()) } }
}

/// How long ago, in the largest part alone; a date after a month.
fn ago(seconds: f64, date: impl FnOnce() -> String) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..10 => "just now".into(),
        10..MINUTE => format!("{seconds} s ago"),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ if seconds < 2 * DAY => "1 day ago".into(),
        _ if seconds < 30 * DAY => format!("{} days ago", seconds / DAY),
        _ => date(),
    }
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 row`, `2 rows`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A metric from 0 to 1, to four decimals.
pub(super) fn score(value: f64) -> String {
    format!("{value:.4}")
}

/// A difference of metrics with its sign: `+0.0123`, `−0.0040`, `±0`.
pub(super) fn delta(value: f64) -> String {
    let text = format!("{:.4}", value.abs());
    if text == "0.0000" {
        "±0".into()
    } else if value < 0.0 {
        format!("−{text}")
    } else {
        format!("+{text}")
    }
}

/// A share from 0 to 1: `99.4 %`.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A number of any size, to four significant digits: `0.00002`, `1.234`, `2e-8`.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..=6).contains(&magnitude) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trim_zeros(mantissa));
    }
    let decimals = usize::try_from((3 - magnitude).max(0)).unwrap_or(0);
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_fits() {
        for (given, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (90_868_376, "86.7 MiB"),
            (438_000_000, "418 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(given), expected, "{given}");
        }
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        for (given, expected) in [
            (0.0, "0.0 s"),
            (0.44, "0.4 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.6, "1 min"),
            (192.0, "3 min 12 s"),
            (3600.0, "1 h"),
            (3725.0, "1 h 2 min"),
            (90_061.0, "1 d 1 h"),
            (-1.0, "–"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(duration(given), expected, "{given}");
        }
    }

    #[test]
    fn times_are_relative_and_whole_on_hover() {
        let at = |seconds: f64| ago(seconds, || "a date".into());
        for (given, expected) in [
            (-5.0, "just now"),
            (59.0, "59 s ago"),
            (60.0, "1 min ago"),
            (7300.0, "2 h ago"),
            (90_000.0, "1 day ago"),
            (200_000.0, "2 days ago"),
            (2_592_000.0, "a date"),
        ] {
            assert_eq!(at(given), expected, "{given}");
        }
        let markup = time("2001-09-09T01:46:40.000Z").into_string();
        assert!(markup.contains("datetime=\"2001-09-09T01:46:40.000Z\""), "{markup}");
        assert!(markup.contains("title=\"2001-09-09 01:46:40 UTC\"") && markup.contains(">9 Sep 2001<"), "{markup}");
        assert!(time("<never>").into_string().contains("&lt;never&gt;"));
        assert_eq!(seconds_between("2001-09-09T01:46:40.000Z", "2001-09-09T01:46:41.500Z"), Some(1.5));
        assert_eq!(seconds_between("2001-09-09T01:46:40.000Z", "soon"), None);
    }

    #[test]
    fn numbers_are_grouped_signed_and_short() {
        for (given, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(given), expected);
        }
        assert_eq!((counted(1, "row", "rows"), counted(1200, "row", "rows")), ("1 row".into(), "1,200 rows".into()));
        assert_eq!(score(0.73125), "0.7312");
        assert_eq!([delta(0.0123), delta(-0.004), delta(0.00001)], ["+0.0123", "−0.0040", "±0"]);
        assert_eq!([percent(0.994), percent(1.0), percent(0.0)], ["99.4 %", "100 %", "0 %"]);
        for (given, expected) in [
            (0.0, "0"),
            (2e-5, "0.00002"),
            (1.98e-5, "0.0000198"),
            (1e-8, "1e-8"),
            (1.23456, "1.235"),
            (20.0, "20"),
            (150.04, "150"),
            (12_345.6, "12346"),
            (-0.5, "-0.5"),
            (1.5e9, "1.5e9"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(number(given), expected, "{given}");
        }
    }
}
