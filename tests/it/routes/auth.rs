//! The API key.

use axum::body::Body;
use axum::http::{Method, header};
use matryo::domain::Secret;

use crate::helpers::test_app::{TestApp, request};

async fn locked() -> TestApp {
    TestApp::start_with(|state| state.api_key = Some(Secret::new("s3cret"))).await
}

#[tokio::test]
async fn everything_but_health_needs_the_key() {
    let app = locked().await;
    app.get("/health").await.expect(200);
    for path in ["/openapi.json", "/v1/datasets", "/nowhere"] {
        let answer = app.get(path).await;
        answer.expect_error(401, "unauthorized");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"matryo\"");
    }
    for (name, value, status) in [
        ("authorization", "Bearer s3cret", 200),
        ("authorization", "bearer s3cret", 200),
        ("x-api-key", "s3cret", 200),
        ("authorization", "Bearer s3cre", 401),
        ("authorization", "s3cret", 401),
        ("x-api-key", "", 401),
    ] {
        let request = request(Method::GET, "/openapi.json").header(name, value);
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn without_a_key_everybody_is_let_in() {
    let app = TestApp::start().await;
    app.get("/openapi.json").await.expect(200);
}
