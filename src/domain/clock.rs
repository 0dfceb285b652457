//! The one way timestamps are written.

/// Now, in UTC, as RFC 3339 with three decimals: of fixed width, so that text order is time order.
#[must_use]
pub fn utc_now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_fixed() {
        let now = utc_now();
        assert_eq!(now.len(), "2026-01-31T12:00:00.000Z".len(), "{now}");
        assert!(now.ends_with('Z'), "{now}");
    }
}
