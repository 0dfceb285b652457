//! Log in with the API key, and out again.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{LOGIN, Section, page_with_status};
use super::parts::field_error;
use crate::domain::FieldError;
use crate::http::extract::{Form, Query};
use crate::http::middleware::is_same;
use crate::http::{ApiError, AppState, session};

/// Where to go after the log-in.
#[derive(Debug, Deserialize)]
pub(super) struct LoginQuery {
    next: Option<String>,
}

/// The log-in form's fields.
#[derive(Deserialize)]
pub(super) struct LoginForm {
    key: String,
    #[serde(default)]
    next: String,
}

/// The form that asks for the key; the home page where none is needed.
pub(super) async fn get_login(State(state): State<AppState>, Query(query): Query<LoginQuery>) -> Response {
    if state.api_key.is_none() {
        return Redirect::to("/").into_response();
    }
    let body = form(query.next.as_deref().unwrap_or_default(), false);
    page_with_status(StatusCode::OK, &state, "Log in", Section::Other, &body)
}

/// Begins a session where the key is right.
pub(super) async fn post_login(
    State(state): State<AppState>,
    headers: HeaderMap,
    Form(LoginForm { key, next }): Form<LoginForm>,
) -> Result<Response, ApiError> {
    let Some(right) = &state.api_key else { return Ok(Redirect::to("/").into_response()) };
    if is_same(key.trim().as_bytes(), right) {
        let cookie = [(header::SET_COOKIE, session::begin(right, &headers))];
        return Ok((cookie, Redirect::to(local(&next))).into_response());
    }
    Ok(page_with_status(StatusCode::UNAUTHORIZED, &state, "Log in", Section::Other, &form(&next, true)))
}

/// Ends the session.
pub(super) async fn post_logout(headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, session::end(&headers))], Redirect::to(LOGIN)).into_response()
}

fn form(next: &str, is_wrong: bool) -> Markup {
    let errors = if is_wrong { vec![FieldError::new("key", "this is not the key")] } else { Vec::new() };
    html! {
        section class="card narrow" {
            h1 { "Log in" }
            p { "This server asks for its API key. Whoever started it set it as " code { "MATRYO_API_KEY" } "." }
            form method="post" action=(LOGIN) {
                input type="hidden" name="next" value=(local(next));
                div class="field" {
                    label for="key" { "API key" }
                    input id="key" name="key" type="password" autocomplete="current-password" required autofocus
                        aria-invalid=[is_wrong.then_some("true")]
                        aria-describedby=[is_wrong.then_some("key-error")];
                    (field_error("key", &errors, "key"))
                }
                button class="primary" type="submit" { "Log in" }
            }
        }
    }
}

/// An address of this server's, where it is one; the home page otherwise.
fn local(next: &str) -> &str {
    // Browsers read a backslash as a slash, and leave out tabs and line ends.
    let is_local = next.starts_with('/')
        && !next[1..].starts_with(['/', '\\'])
        && next.chars().all(|c| !c.is_control() && c != '\\');
    if is_local { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_server_is_gone_to() {
        for path in ["/", "/ui/jobs?status=failed", "/ui/jobs/1#log"] {
            assert_eq!(local(path), path);
        }
        for path in
            ["", "ui", "//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "javascript:x"]
        {
            assert_eq!(local(path), "/", "{path}");
        }
    }
}
