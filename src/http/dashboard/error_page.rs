//! An error as people read it.

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::layout::{Section, page_with_status};
use super::parts::sentence;
use crate::http::{ApiError, AppState, ErrorCode};

/// What a person sees where a page is not there or failed.
pub(in crate::http) fn error_page(state: &AppState, error: &ApiError, request_id: Option<&str>) -> Response {
    let status = error.code().status();
    let title = title(error.code());
    let body = html! {
        h1 { (title) }
        p class="lead" { (sentence(error.message())) }
        @if status.is_server_error() {
            @if let Some(id) = request_id {
                p { "The server's log tells more under the request id " code { (id) } "." }
            }
        }
        p { a class="button" href="/" { "Go to the home page" } }
    };
    page_with_status(status, state, title, Section::Home, &body)
}

fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthorized => "Please log in",
        ErrorCode::Conflict | ErrorCode::PreconditionFailed => "This cannot be done now",
        ErrorCode::TooManyRequests => "Too much waits already",
        ErrorCode::DiskFull => "The disk is full",
        other => match other.status() {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "This is not allowed",
            status if status.is_server_error() => "Something went wrong",
            _ => "The request is not right",
        },
    }
}
