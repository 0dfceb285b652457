//! Which of several content types a client wants (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

use super::{ApiError, ErrorCode};

/// The type among `offered` that `Accept` prefers; the first where it has no preference or is absent.
///
/// # Errors
/// 406 where none of them is accepted.
pub(super) fn negotiate(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, ApiError> {
    let ranges: Vec<Range> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Ok(offered[0]);
    }
    let mut best = None;
    for offer in offered {
        // The most specific range decides.
        let deciding = ranges.iter().filter(|range| range.covers(offer)).max_by_key(|range| range.precision());
        let quality = deciding.map_or(0.0, |range| range.quality);
        if quality > 0.0 && best.is_none_or(|(_, most)| quality > most) {
            best = Some((*offer, quality));
        }
    }
    best.map(|(offer, _)| offer)
        .ok_or_else(|| ApiError::new(ErrorCode::NotAcceptable, format!("what is offered is {}", offered.join(", "))))
}

/// A media range with its weight.
struct Range {
    kind: String,
    subtype: String,
    quality: f32,
}

impl Range {
    /// None where it is not a range; what a client gets wrong is as if it had not said it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = weight.map_or(Some(1.0), |weight| weight.parse().ok())?;
        Some(Self { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), quality })
    }

    fn covers(&self, offer: &str) -> bool {
        let (kind, subtype) = offer.split_once('/').unwrap_or((offer, ""));
        let matches = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        matches(&self.kind, kind) && matches(&self.subtype, subtype)
    }

    fn precision(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_offered_is_chosen() {
        let offered = ["application/json", "text/csv", "text/markdown"];
        for (accept, expected) in [
            ("*/*", Some("application/json")),
            ("text/csv", Some("text/csv")),
            ("TEXT/CSV; q=0.5", Some("text/csv")),
            ("text/*", Some("text/csv")),
            ("text/csv;q=0.5, text/markdown", Some("text/markdown")),
            ("text/*, text/csv;q=0", Some("text/markdown")),
            ("text/html, */*;q=0.1", Some("application/json")),
            ("application/json;q=0, */*", Some("text/csv")),
            ("text/html", None),
            ("*/*;q=0", None),
            ("nonsense", Some("application/json")),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("it is a header"))]);
            assert_eq!(negotiate(&headers, &offered).ok(), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), &offered).ok(), Some("application/json"));
    }
}
