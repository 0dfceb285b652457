//! The one way timestamps are written.

/// Now, in UTC, as RFC 3339 with three decimals: of fixed width, so that text order is time order.
#[must_use]
pub fn utc_now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
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
    }
}
