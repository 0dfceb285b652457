//! Keeps other sites' pages from having a visitor's browser do something here.
//!
//! Browsers say where a request comes from, and no page can change what they say; other clients say nothing, and pass.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::key::BySession;
use crate::http::{ApiError, AppState, ErrorCode, dashboard};

/// Types of bodies that a page may send to any site without asking that site first.
const UNASKED: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Refuses a foreign page's request to change something, where nothing but the browser vouches for it: at a page's address,
/// in a session, or on a server without a key.
pub(super) async fn require_same_origin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let needs_a_look = !request.method().is_safe()
        && (dashboard::is_page(request.method(), request.uri().path())
            || request.extensions().get::<BySession>().is_some()
            || (state.api_key.is_none() && is_unasked(headers)));
    if needs_a_look && is_foreign(headers) {
        return ApiError::new(ErrorCode::Forbidden, "another site's page may not ask for this").into_response();
    }
    next.run(request).await
}

fn is_unasked(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none_or(|content_type| {
        let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        UNASKED.iter().any(|unasked| essence.eq_ignore_ascii_case(unasked))
    })
}

/// True where the browser says that the request comes from a page of another origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        // `none`: the visitor's own doing, such as a bookmark.
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    // Browsers leave that header out on plain HTTP, but for this machine's own addresses.
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(Uri::authority).map(axum::http::uri::Authority::as_str);
    // An origin of `null` is nobody's.
    !matches!((origin, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_tell_where_a_request_comes_from() {
        for (pairs, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://a:8080"), ("host", "a:8080")], true),
            (&[("origin", "http://a:8080"), ("host", "a:8080")], false),
            (&[("origin", "https://A.example"), ("host", "a.example")], false),
            (&[("origin", "http://a:8081"), ("host", "a:8080")], true),
            (&[("origin", "null"), ("host", "a:8080")], true),
            (&[("origin", "http://a:8080")], true),
        ] {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>();
            assert_eq!(is_foreign(&headers), foreign, "{pairs:?}");
        }
    }
}
