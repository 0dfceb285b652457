//! Who may look at pages, and whose forms count.

use axum::body::Body;
use axum::http::{Method, header};
use matryo::domain::Secret;
use serde_json::json;

use crate::helpers::test_app::{Answer, TestApp, request, urlencoded};

async fn locked() -> TestApp {
    TestApp::start_with(|state| state.api_key = Some(Secret::new("s3cret"))).await
}

/// The cookie of an answer as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

async fn log_in(app: &TestApp) -> String {
    cookie(&app.submit_form("/ui/login", &[("key", "s3cret")]).await)
}

async fn send(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(request(method, path), |request, (name, value)| request.header(*name, *value));
    app.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_person_logs_in_with_the_key_and_out_again() {
    let app = locked().await;
    assert_eq!(app.browse("/").await.expect_redirect(), "/ui/login");
    let asked = app.browse("/ui/jobs?status=failed").await;
    assert_eq!(asked.expect_redirect(), "/ui/login?next=%2Fui%2Fjobs%3Fstatus%3Dfailed");
    let form = app.browse(asked.expect_redirect()).await;
    let form = form.expect_page(200);
    assert!(form.contains("value=\"/ui/jobs?status=failed\"") && !form.contains("Log out"), "{form}");

    let wrong = app.submit_form("/ui/login", &[("key", "s3cre"), ("next", "/ui/jobs")]).await;
    let page = wrong.expect_page(401);
    assert!(page.contains("This is not the key.") && page.contains("value=\"/ui/jobs\""), "{page}");
    assert!(!wrong.headers.contains_key(header::SET_COOKIE) && !page.contains("s3cre"));

    let right = app.submit_form("/ui/login", &[("key", " s3cret "), ("next", "/ui/jobs")]).await;
    assert_eq!(right.expect_redirect(), "/ui/jobs");
    let cookie = cookie(&right);
    let own = [("cookie", cookie.as_str())];
    assert!(send(&app, Method::GET, "/", &own).await.expect_page(200).contains("Log out"));
    send(&app, Method::GET, "/v1/jobs", &own).await.expect(200);
    assert_eq!(
        send(&app, Method::GET, "/", &[("cookie", "matryo_session=9999999999.ab")]).await.expect_redirect(),
        "/ui/login"
    );

    let logout = urlencoded(request(Method::POST, "/ui/logout").header("cookie", &cookie), &[]);
    let out = app.send(logout).await;
    assert_eq!(out.expect_redirect(), "/ui/login");
    assert!(out.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn a_log_in_leads_to_this_server_alone() {
    let app = locked().await;
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example"] {
        let answer = app.submit_form("/ui/login", &[("key", "s3cret"), ("next", next)]).await;
        assert_eq!(answer.expect_redirect(), "/", "{next}");
    }
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_log_in_to() {
    let app = TestApp::start().await;
    assert!(!app.browse("/").await.expect_page(200).contains("Log out"));
    assert_eq!(app.browse("/ui/login").await.expect_redirect(), "/");
    assert_eq!(app.submit_form("/ui/login", &[("key", "any")]).await.expect_redirect(), "/");
}

#[tokio::test]
async fn a_programs_key_opens_pages_too() {
    let app = locked().await;
    send(&app, Method::GET, "/", &[("authorization", "Bearer s3cret")]).await.expect_page(200);
    app.get("/v1/jobs").await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn another_sites_page_does_nothing_in_a_visitors_session() {
    let app = locked().await;
    let cookie = log_in(&app).await;
    let by_session = [("cookie", cookie.as_str()), ("host", "here:8080")];
    let cancel = "/v1/jobs/0190a000-0000-7000-8000-000000000000/cancel";
    for foreign in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://here:8081")],
        &[("origin", "null")],
    ] {
        for path in [cancel, "/ui/logout"] {
            let answer = send(&app, Method::POST, path, &[&by_session, foreign].concat()).await;
            assert_eq!(answer.status.as_u16(), 403, "{path} {foreign:?}");
        }
        // Who has the key is no visitor that was led here.
        let by_key = [("authorization", "Bearer s3cret"), ("host", "here:8080")];
        send(&app, Method::POST, cancel, &[&by_key, foreign].concat()).await.expect_error(404, "not_found");
    }
    for own in [("sec-fetch-site", "same-origin"), ("origin", "http://here:8080")] {
        send(&app, Method::POST, cancel, &[&by_session[..], &[own]].concat()).await.expect_error(404, "not_found");
    }
    send(&app, Method::GET, "/", &[&by_session[..], &[("sec-fetch-site", "cross-site")]].concat())
        .await
        .expect_page(200);
}

#[tokio::test]
async fn another_sites_form_does_nothing_on_a_server_without_a_key() {
    let app = TestApp::start().await;
    let cancel = "/v1/jobs/0190a000-0000-7000-8000-000000000000/cancel";
    let foreign = [("sec-fetch-site", "cross-site"), ("content-type", "text/plain")];
    send(&app, Method::POST, cancel, &foreign).await.expect_error(403, "forbidden");
    send(&app, Method::POST, "/ui/logout", &foreign).await.expect_page(403);
    send(&app, Method::POST, cancel, &foreign[1..]).await.expect_error(404, "not_found");
    // JSON is what a page of another site cannot send without this server's leave.
    let json = request(Method::POST, "/similarity").header("sec-fetch-site", "cross-site");
    let json = json.header("content-type", "application/json").body(json!({}).to_string().into()).unwrap();
    app.send(json).await.expect_tei_error(422, "Validation");
}
