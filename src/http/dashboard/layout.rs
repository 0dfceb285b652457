//! What stands round every page: head, navigation, footer, and the headers that keep it safe.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use crate::http::AppState;

/// Where people give the API key.
pub(in crate::http) const LOGIN: &str = "/ui/login";

/// A page may use what this server holds, and nothing else: no other host, no script or style within the page.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The parts of the dashboard that the navigation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Home,
    NewJob,
    Datasets,
    Models,
    Playground,
    Api,
    /// What the navigation does not lead to.
    Other,
}

const NAVIGATION: [(Section, &str, &str); 6] = [
    (Section::Home, "/", "Home"),
    (Section::NewJob, "/ui/jobs/new", "New job"),
    (Section::Datasets, "/ui/datasets", "Datasets"),
    (Section::Models, "/ui/models", "Models"),
    (Section::Playground, "/ui/playground", "Playground"),
    (Section::Api, "/ui/api", "API"),
];

/// A whole page. `body` begins with its `h1`; a script of its own stands in it as [`script`].
pub(super) fn page(state: &AppState, title: &str, current: Section, body: &Markup) -> Response {
    page_with_status(StatusCode::OK, state, title, current, body)
}

/// A whole page under another status than 200.
pub(super) fn page_with_status(
    status: StatusCode,
    state: &AppState,
    title: &str,
    current: Section,
    body: &Markup,
) -> Response {
    let document = document(state, title, current, body);
    (status, safe_headers(), document).into_response()
}

/// A part of a page, which a script puts in place of what is shown.
pub(super) fn fragment(body: Markup) -> Response {
    (safe_headers(), body).into_response()
}

/// Loads a script of our own once the page is there.
pub(super) fn script(name: &str) -> Markup {
    html! { script src=(assets::url(name)) defer {} }
}

fn safe_headers() -> [(HeaderName, HeaderValue); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Not `no-referrer`: browsers would then hide a form's origin, by which it is told from a foreign one.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]
}

fn document(state: &AppState, title: &str, current: Section, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Matryo" }
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                link rel="stylesheet" href=(assets::url("style.css"));
                (script("app.js"))
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header class="top" {
                    div class="top-inner" {
                        a class="brand" href="/" {
                            img src=(assets::url("icon.svg")) alt="" width="24" height="24";
                            "Matryo"
                        }
                        (navigation(current))
                        @if state.api_key.is_some() && current != Section::Other {
                            form class="logout" method="post" action="/ui/logout" {
                                button class="plain" type="submit" { "Log out" }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" { (body) }
                footer {
                    p { "Matryo " (env!("CARGO_PKG_VERSION")) " on " (state.training_device.hardware.describe()) }
                }
            }
        }
    }
}

fn navigation(current: Section) -> Markup {
    html! {
        nav aria-label="Main" {
            ul {
                @for (section, address, name) in NAVIGATION {
                    li {
                        a href=(address) aria-current=[(section == current).then_some("page")] { (name) }
                    }
                }
            }
        }
    }
}
