//! The API's reference: the OpenAPI document as Swagger UI shows it, whose files are part of this program.

use std::io::{Cursor, Read};
use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::html;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

use super::layout::{Section, page, script};
use crate::http::error::no_such_route;
use crate::http::extract::Path;
use crate::http::{ApiError, AppState};

/// Where the reference is; Swagger UI's files stand below it.
pub(super) const REFERENCE: &str = "/ui/api/reference";

/// Of Swagger UI's files, those that the page uses.
const FILES: [(&str, &str); 2] =
    [("swagger-ui-bundle.js", "text/javascript; charset=utf-8"), ("swagger-ui.css", "text/css; charset=utf-8")];
/// They change with the program alone.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=3600");

/// The files' contents, unpacked when the first of them is asked for.
static CONTENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut archive = zip::ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).expect("the crate holds an archive");
    FILES.map(|(name, _)| unpack(&mut archive, name)).into()
});

fn unpack(archive: &mut zip::ZipArchive<Cursor<&[u8]>>, name: &str) -> Vec<u8> {
    let end = format!("/dist/{name}");
    let path =
        archive.file_names().filter_map(Result::ok).find(|path| path.ends_with(&end)).map(|path| path.into_owned());
    let mut file = archive.by_name(&path.expect("Swagger UI has such a file")).expect("the archive is sound");
    let mut content = Vec::new();
    file.read_to_end(&mut content).expect("the archive is sound");
    content
}

/// Shows the reference.
pub(super) async fn get_reference(State(state): State<AppState>) -> Response {
    let body = html! {
        div class="head" {
            h1 { "API reference" }
            a class="end button" href="/openapi.json" { "openapi.json" }
        }
        link rel="stylesheet" href={ (REFERENCE) "/swagger-ui.css" };
        noscript { p class="notice info" { "The reference is shown by a script. Without scripts, read "
            a href="/openapi.json" { "openapi.json" } "." } }
        div id="reference" data-document="/openapi.json" {}
        script src={ (REFERENCE) "/swagger-ui-bundle.js" } defer {}
        (script("reference.js"))
    };
    page(&state, "API reference", Section::Api, &body)
}

/// One of Swagger UI's files.
pub(super) async fn get_file(Path(name): Path<String>, uri: Uri) -> Result<Response, ApiError> {
    let Some(place) = FILES.iter().position(|(known, _)| *known == name) else {
        return Err(no_such_route(uri).await);
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(FILES[place].1)),
        (header::CACHE_CONTROL, CACHE),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, CONTENTS[place].as_slice()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swagger_uis_files_are_in_its_archive() {
        assert!(CONTENTS.iter().all(|content| content.len() > 10_000));
        assert!(String::from_utf8_lossy(&CONTENTS[1]).contains(".swagger-ui"));
    }
}
