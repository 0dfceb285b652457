//! Model names in paths, which hold slashes: `/v1/models/org/name/load` means what `/v1/models/org%2Fname/load` does.
//!
//! The router's parameters end at a slash, so the slashes of a name are encoded before the router sees the path. What
//! stands last is taken for a route of its own where it is one of [`Names::actions`]; a model whose name ends so is
//! asked for with its slashes encoded.

use axum::extract::Request;
use axum::http::Uri;

/// Paths that hold a name.
struct Names {
    /// What stands before the name.
    prefix: &'static str,
    /// What may stand after it.
    actions: &'static [&'static str],
}

const NAMES: [Names; 3] = [
    Names { prefix: "/v1/models/", actions: &["events", "pull", "load", "unload"] },
    Names { prefix: "/v1/aliases/", actions: &["rollback"] },
    Names { prefix: "/models/", actions: &["embed", "embed_all", "similarity", "tokenize", "decode", "info"] },
];

/// Encodes the slashes of a name in a request's path.
pub(super) fn encode_slashes(mut request: Request) -> Request {
    if let Some(path) = encoded(request.uri().path()) {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        // Only slashes were replaced, by what a path may hold.
        if let Ok(uri) = format!("{path}{query}").parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// A name as a segment of a path.
pub(super) fn encode(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' => {
                segment.push(char::from(byte));
            }
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

/// A path as the router wants it; none where it is so already.
fn encoded(path: &str) -> Option<String> {
    let Names { prefix, actions } = NAMES.iter().find(|names| path.starts_with(names.prefix))?;
    let rest = &path[prefix.len()..];
    let (name, action) = match rest.rsplit_once('/') {
        Some((name, action)) if actions.contains(&action) => (name, Some(action)),
        Some(_) => (rest, None),
        None => return None,
    };
    if !name.contains('/') {
        return None;
    }
    let action = action.map(|action| format!("/{action}")).unwrap_or_default();
    Some(format!("{prefix}{}{action}", name.replace('/', "%2F")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_segment() {
        assert_eq!(encode("org/name v1.5"), "org%2Fname%20v1.5");
        assert_eq!(encode("job:7@epoch-2"), "job:7@epoch-2");
        assert_eq!(encode("é?#"), "%C3%A9%3F%23");
    }

    #[test]
    fn a_names_slashes_are_encoded_and_no_others() {
        for (path, expected) in [
            ("/v1/models/org/name", Some("/v1/models/org%2Fname")),
            ("/v1/models/org/name/events", Some("/v1/models/org%2Fname/events")),
            ("/v1/models/tiny/events", None),
            ("/v1/models/events", None),
            ("/v1/models/org%2Fname/load", None),
            ("/v1/models", None),
            ("/models/org/name", Some("/models/org%2Fname")),
            ("/models/job:1@epoch-2/embed", None),
            ("/models/a/b/c/embed", Some("/models/a%2Fb%2Fc/embed")),
            ("/v1/aliases/team/search/rollback", Some("/v1/aliases/team%2Fsearch/rollback")),
            ("/v1/jobs/1/events", None),
        ] {
            assert_eq!(encoded(path).as_deref(), expected, "{path}");
        }
    }
}
