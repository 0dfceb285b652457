//! The dashboard: pages for people, rendered here and readable without scripts.
//!
//! A page is a handler that gives [`layout::page`] its body; what several pages are made of stands in `parts`, and how
//! numbers and times are written in `format`. Pages ask the store and the functions that the API's routes ask. Forms post to
//! addresses below `/ui`, which no other site's page can do (`middleware/origin`), and are answered by a redirect, or by the
//! page again with what is wrong beside the fields. Styles and scripts are files of our own under `/assets`, and the
//! pages' security policy allows no others.

mod api_page;
mod assets;
mod datasets;
mod error_page;
mod form;
mod format;
mod home;
mod job;
mod job_list;
mod layout;
mod live;
mod login;
mod model_choices;
mod models;
mod new_job;
mod parts;
mod playground;
mod playground_results;
mod plots;
mod reference;
mod snippets;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::from_fn;
use axum::routing::{get, post};

use super::AppState;
use super::middleware::limit_time;

pub(super) use error_page::error_page;
pub(super) use layout::LOGIN;

/// Bytes of the log-in form: a key and an address.
const MAX_LOGIN_BYTES: usize = 16 << 10;

/// Every page and what pages are made of.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(home::get_home))
        .route("/ui/live", get(home::get_live))
        .route("/ui/jobs", get(job_list::get_jobs))
        .merge(job::routes())
        .route("/ui/jobs/new", get(new_job::get_new_job).post(new_job::post_new_job))
        .merge(datasets::routes())
        .merge(models::routes())
        .route("/ui/playground", get(playground::get_playground))
        .route("/ui/playground/results", get(playground::get_results))
        .route("/ui/api", get(api_page::get_api))
        .route(reference::REFERENCE, get(reference::get_reference))
        .route(&format!("{}/{{name}}", reference::REFERENCE), get(reference::get_file))
        .merge(access())
        .route("/assets/{hash}/{name}", get(assets::get_asset))
        .route_layer(from_fn(limit_time))
        .merge(datasets::slow_routes())
        .merge(models::slow_routes())
}

fn access() -> Router<AppState> {
    Router::new()
        .route(LOGIN, get(login::get_login).post(login::post_login))
        .route("/ui/logout", post(login::post_logout))
        .route_layer(DefaultBodyLimit::max(MAX_LOGIN_BYTES))
}

/// True for the addresses of pages, whether or not there is such a page.
pub(super) fn is_page(method: &Method, path: &str) -> bool {
    // TEI's clients post to the root.
    path == "/ui" || path.starts_with("/ui/") || (path == "/" && matches!(*method, Method::GET | Method::HEAD))
}

/// True for what is needed to log in.
pub(super) fn is_open(path: &str) -> bool {
    path == LOGIN || path.starts_with("/assets/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_the_api() {
        for (method, path, expected) in [
            (Method::GET, "/", true),
            (Method::HEAD, "/", true),
            (Method::POST, "/", false),
            (Method::GET, "/ui", true),
            (Method::POST, "/ui/jobs/new", true),
            (Method::GET, "/uix", false),
            (Method::GET, "/v1/jobs", false),
            (Method::GET, "/assets/1/style.css", false),
        ] {
            assert_eq!(is_page(&method, path), expected, "{method} {path}");
        }
        assert!(is_open("/ui/login") && is_open("/assets/1/style.css"));
        assert!(!is_open("/ui/logins") && !is_open("/ui/logout") && !is_open("/"));
    }
}
