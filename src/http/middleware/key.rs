//! The API key: who may come in, by the key itself or by a session that was begun with it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::Secret;
use crate::http::{ApiError, AppState, ErrorCode, dashboard, model_path, session};

/// The header that a key may come in; `Authorization` is the usual one.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Needs no key, for load balancers and container runtimes; nor does what is needed to log in.
const OPEN_PATH: &str = "/health";

/// Marks a request that came in by a session: the browser sent the cookie by itself, perhaps at another site's wish.
#[derive(Debug, Clone, Copy)]
pub(super) struct BySession;

/// Lets a request pass where there is no key or it brings the right one, or a session's cookie.
pub(super) async fn require_key(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let Some(key) = &state.api_key else {
        return next.run(request).await;
    };
    let path = request.uri().path();
    let is_open = path == OPEN_PATH || dashboard::is_open(path);
    if is_open || is_same(given_key(request.headers()), key) {
        return next.run(request).await;
    }
    if session::goes_on(request.headers(), key) {
        request.extensions_mut().insert(BySession);
        return next.run(request).await;
    }
    if dashboard::is_page(request.method(), path) {
        return to_login(&request).into_response();
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

/// Leads to the log-in page, and from there back to the page that was asked for.
fn to_login(request: &Request) -> Redirect {
    match request.uri().path_and_query() {
        Some(page) if *request.method() == Method::GET && page != "/" => {
            Redirect::to(&format!("{}?next={}", dashboard::LOGIN, model_path::encode(page.as_str())))
        }
        _ => Redirect::to(dashboard::LOGIN),
    }
}

/// Compares digests in constant time: neither a common beginning nor the key's length shows in the time it takes.
pub(in crate::http) fn is_same(given: &[u8], key: &Secret) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(key.expose().as_bytes())).into()
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
        let key = Secret::new("abc");
        assert!(is_same(b"abc", &key));
        for other in [&b""[..], b"ab", b"abcd", b"ABC"] {
            assert!(!is_same(other, &key));
        }
    }
}
