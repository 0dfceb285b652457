//! The API key: who may come in.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::{ApiError, AppState, ErrorCode};

/// The header that a key may come in; `Authorization` is the usual one.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The one path that needs no key, for load balancers and container runtimes.
const OPEN_PATH: &str = "/health";

/// Lets a request pass where there is no key or it brings the right one.
pub(super) async fn require_key(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(key) = &state.api_key else {
        return next.run(request).await;
    };
    if request.uri().path() == OPEN_PATH || is_same(given_key(request.headers()), key.expose()) {
        return next.run(request).await;
    }
    let message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`";
    let challenge = HeaderValue::from_static("Bearer realm=\"matryo\"");
    ApiError::new(ErrorCode::Unauthorized, message).with_header(header::WWW_AUTHENTICATE, challenge).into_response()
}

fn given_key(headers: &HeaderMap) -> &[u8] {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes)).unwrap_or_default()
}

/// Compares digests in constant time: neither a common beginning nor the key's length shows in the time it takes.
fn is_same(given: &[u8], key: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(key.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_key_is_read_from_either_header() {
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "Bearer abc")), b"abc");
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "bearer  abc ")), b"abc");
        assert_eq!(given_key(&headers(API_KEY, "abc")), b"abc");
        assert_eq!(given_key(&headers(header::AUTHORIZATION, "Basic abc")), b"");
        assert_eq!(given_key(&HeaderMap::new()), b"");
    }

    #[test]
    fn only_the_key_itself_is_the_key() {
        assert!(is_same(b"abc", "abc"));
        for other in [&b""[..], b"ab", b"abcd", b"ABC"] {
            assert!(!is_same(other, "abc"));
        }
    }
}
