//! The one way timestamps are written.

use std::time::Duration;

/// Now, in UTC, as RFC 3339 with three decimals: of fixed width, so that text order is time order.
#[must_use]
pub fn utc_now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// The time after `wait` from now, written as [`utc_now`] does it.
#[must_use]
pub fn utc_after(wait: Duration) -> String {
    let wait = jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX);
    format!("{:.3}", jiff::Timestamp::now().saturating_add(wait).unwrap_or(jiff::Timestamp::MAX))
}

/// How long it is from now until a timestamp that [`utc_now`] wrote; nothing where it has passed.
///
/// # Errors
/// Where the text is no timestamp.
pub fn wait_until(timestamp: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::Timestamp, _> = timestamp.parse();
    let at = parsed.map_err(|error| format!("`{timestamp}` is not a timestamp: {error}"))?;
    Ok(at.duration_since(jiff::Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
}

/// The whole seconds since 1970 of a timestamp that [`utc_now`] wrote.
///
/// # Errors
/// Where the text is no timestamp.
pub fn unix_seconds(timestamp: &str) -> Result<i64, String> {
    let parsed: Result<jiff::Timestamp, _> = timestamp.parse();
    parsed.map(jiff::Timestamp::as_second).map_err(|error| format!("`{timestamp}` is not a timestamp: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_fixed() {
        let now = utc_now();
        assert_eq!(now.len(), "2026-01-31T12:00:00.000Z".len(), "{now}");
        assert!(now.ends_with('Z'), "{now}");
        assert_eq!(unix_seconds("2001-09-09T01:46:40.999Z"), Ok(1_000_000_000));
        assert!(unix_seconds("yesterday").is_err());
        assert!(utc_now() < utc_after(Duration::from_secs(1)));
        assert!(wait_until(&utc_after(Duration::from_hours(1))).is_ok_and(|wait| wait > Duration::from_secs(3500)));
        assert_eq!(wait_until("2001-09-09T01:46:40.999Z"), Ok(Duration::ZERO));
    }
}
