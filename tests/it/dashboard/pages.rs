//! What holds for every page: its headers, its parts, and that it names no other host.

use axum::body::Body;
use axum::http::{Method, header};

use crate::helpers::test_app::{Answer, TestApp, request};

/// Every address in a page's attributes.
fn addresses(page: &str) -> Vec<&str> {
    let starts = ["href=\"", "src=\"", "action=\""];
    let all = starts.iter().flat_map(|start| page.split(start).skip(1));
    all.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Checks what every page must keep to.
#[track_caller]
pub(crate) fn check_page(answer: &Answer) {
    let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let page = answer.text();
    for address in addresses(page) {
        assert!(address.starts_with('/') && !address.starts_with("//") || address.starts_with('#'), "{address}");
    }
    for forbidden in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    assert!(!page.replace("src=\"/assets/", "").contains("<script>"), "an inline script in {page}");
    assert_eq!(page.matches("<h1").count(), 1, "{page}");
    for part in ["<html lang=\"en\">", "href=\"#main\"", "<nav aria-label=\"Main\">", "<main id=\"main\"", "<title>"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
}

#[tokio::test]
async fn the_home_page_says_where_to_begin() {
    let app = TestApp::start().await;
    let answer = app.browse("/").await;
    check_page(&answer);
    let page = answer.expect_page(200);
    assert!(page.contains("aria-current=\"page\">Home<") && page.contains("There is no job yet"), "{page}");
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_the_hash_of_what_they_hold() {
    let app = TestApp::start().await;
    let home = app.browse("/").await;
    let assets: Vec<&str> = addresses(home.text()).into_iter().filter(|path| path.starts_with("/assets/")).collect();
    assert!(assets.len() >= 3, "{assets:?}");
    for path in &assets {
        let asset = app.get(path).await;
        assert_eq!(asset.status.as_u16(), 200, "{path}");
        assert!(asset.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    app.get("/assets/0000000000000000/style.css").await.expect_error(404, "not_found");
    app.get(&assets[0].replace('.', "x")).await.expect_error(404, "not_found");
}

#[tokio::test]
async fn who_looks_for_a_page_that_is_not_there_reads_a_page() {
    let app = TestApp::start().await;
    for path in ["/ui/nothing", "/nowhere", "/ui"] {
        let answer = app.browse(path).await;
        check_page(&answer);
        assert!(answer.expect_page(404).contains("Not found"), "{path}");
    }
    app.browse("/v1/jobs/7").await.expect_error(404, "not_found");
    app.browse("/embed/x").await.expect_tei_error(404, "Validation");
    app.get("/nowhere").await.expect_error(404, "not_found");
    app.get("/ui/nothing").await.expect_page(404);
    let hostile = app.browse("/ui/%3Cscript%3Ealert(1)").await;
    assert!(!hostile.expect_page(404).contains("<script>alert"));
    let put = app.send(request(Method::PUT, "/ui/login").body(Body::empty()).unwrap()).await;
    put.expect_page(405);
    assert_eq!(put.headers[header::ALLOW], "GET,HEAD,POST");
    let head = app.send(request(Method::HEAD, "/ui/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
}

#[tokio::test]
async fn a_page_that_fails_says_under_which_id_the_log_tells_why() {
    let app = TestApp::start().await;
    app.state.store.close().await;
    let answer = app.browse("/").await;
    let id = answer.headers["x-request-id"].to_str().unwrap();
    let page = answer.expect_page(500);
    assert!(page.contains("Something went wrong") && page.contains(id) && !page.contains("pool"), "{page}");
    app.get("/v1/jobs").await.expect_error(500, "internal");
}
