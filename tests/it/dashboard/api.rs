//! The API page: its code runs as it stands there.

use std::process::Command;

use matryo::domain::Secret;
use serde_json::Value;

use super::pages::check_page;
use crate::helpers::models::add_base_model;
use crate::helpers::test_app::{TestApp, request};
use crate::helpers::tiny_model::TinyModel;

/// The code in the element of this id, as a reader sees it.
fn code(page: &str, id: &str) -> String {
    let start = page.split(&format!("<code id=\"{id}\">")).nth(1).expect("the page has such code");
    let code = start.split("</code>").next().expect("it ends");
    [("&quot;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(code.to_owned(), |text, (entity, char)| text.replace(entity, char))
}

#[tokio::test]
async fn without_a_model_it_says_so() {
    let app = TestApp::start().await;
    let answer = app.browse("/ui/api").await;
    check_page(&answer);
    assert!(answer.expect_page(200).contains("There is no model yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_for_a_shell_runs_as_it_is_printed() {
    const KEY: &str = "s3cret";
    let app = TestApp::start_with(|state| state.api_key = Some(Secret::new(KEY))).await;
    // A name that a shell and a string would both take apart.
    let name = "it's \"odd\" $(exit 1)";
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    add_base_model(&app, name, &TinyModel::default()).await;
    let address = app.listen().await;
    for (model, dimensions, length) in [("tiny", "", 32), ("it%27s+%22odd%22+%24(exit+1)", "32", 32)] {
        let path = format!("/ui/api?model={model}&dimensions={dimensions}");
        let request = request(axum::http::Method::GET, &path)
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {KEY}"));
        let answer = app.send(request.body(axum::body::Body::empty()).unwrap()).await;
        check_page(&answer);
        let page = answer.expect_page(200);
        assert!(!page.contains(KEY), "the key stands on no page");
        let curl = code(page, "curl");
        let run = tokio::task::spawn_blocking(move || {
            Command::new("sh").args(["-c", &curl]).env("MATRYO_API_KEY", KEY).output().expect("there is a shell")
        });
        let output = run.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"));
        assert_eq!(body["data"][0]["embedding"].as_array().map(Vec::len), Some(length), "{body}");
    }
}

#[tokio::test]
async fn the_reference_brings_its_own_files() {
    let app = TestApp::start().await;
    let answer = app.browse("/ui/api/reference").await;
    check_page(&answer);
    let page = answer.expect_page(200);
    for (name, content_type) in [("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")] {
        let path = format!("/ui/api/reference/{name}");
        assert!(page.contains(&path), "{page}");
        let file = app.get(&path).await;
        assert!(file.status.is_success() && file.body.len() > 10_000, "{path}: {}", file.status);
        assert!(file.headers["content-type"].to_str().unwrap().starts_with(content_type));
    }
    app.get("/ui/api/reference/index.html").await.expect_page(404);
}
