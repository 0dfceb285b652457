//! Styles, scripts and the icon. An address holds a hash of the content, so that browsers may keep it for ever.

use std::sync::LazyLock;

use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http::ApiError;
use crate::http::error::no_such_route;
use crate::http::extract::Path;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file that pages use: its name, its type, and what it holds.
const FILES: [(&str, &str, &str); 9] = [
    ("app.js", JAVASCRIPT, include_str!("assets/app.js")),
    ("icon.svg", SVG, include_str!("assets/icon.svg")),
    ("live.js", JAVASCRIPT, include_str!("assets/live.js")),
    ("models.js", JAVASCRIPT, include_str!("assets/models.js")),
    ("new-job.js", JAVASCRIPT, include_str!("assets/new-job.js")),
    ("playground.js", JAVASCRIPT, include_str!("assets/playground.js")),
    ("reference.js", JAVASCRIPT, include_str!("assets/reference.js")),
    ("style.css", CSS, include_str!("assets/style.css")),
    ("upload.js", JAVASCRIPT, include_str!("assets/upload.js")),
];

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
    hash: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let asset = |(name, content_type, body): (&'static str, &'static str, &'static str)| {
        let hash = hex::encode(&Sha256::digest(body)[..8]);
        Asset { name, content_type, body, hash }
    };
    FILES.into_iter().map(asset).collect()
});

/// The address of a file of `FILES`.
///
/// # Panics
/// Where there is no such file, which the first test that renders the page tells.
pub(super) fn url(name: &str) -> String {
    let asset = ASSETS.iter().find(|asset| asset.name == name).expect("a page names only files that there are");
    format!("/assets/{}/{name}", asset.hash)
}

/// A file, where the hash is that of what it holds now.
pub(super) async fn get_asset(Path((hash, name)): Path<(String, String)>, uri: Uri) -> Result<Response, ApiError> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash) else {
        return Err(no_such_route(uri).await);
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, asset.body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_a_hash_of_the_content() {
        let url = url("style.css");
        let parts: Vec<&str> = url.split('/').collect();
        assert_eq!((parts[1], parts[2].len(), parts[3]), ("assets", 16, "style.css"));
    }

    #[test]
    fn no_file_names_another_host() {
        for (name, _, body) in FILES {
            let outside = body.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("//") || !outside.contains("http"), "{name} names another host");
        }
    }
}
