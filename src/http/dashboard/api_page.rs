//! The API page: code to paste for the model at hand, and the way to the reference.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Section, page};
use super::model_choices::ModelChoices;
use super::parts::{Tone, notice};
use super::reference::REFERENCE;
use super::snippets::{Snippets, base_url};
use crate::http::extract::Query;
use crate::http::{ApiError, AppState};

/// What the code is to be about.
#[derive(Debug, Deserialize)]
pub(super) struct ApiQuery {
    /// A model's name; the newest fine-tuned one, else the newest base model, where it is left out.
    model: Option<String>,
    /// A length to cut embeddings to; the model's own where it is left out or empty.
    dimensions: Option<String>,
}

/// Clients of other services that work with Matryo, and what they are given.
const CLIENTS: [(&str, &str, &str); 4] = [
    ("OpenAI's clients, LangChain, LlamaIndex", "/v1", "as the base URL"),
    (
        "Text Embeddings Inference's clients, huggingface_hub",
        "",
        "as the server's address, or one model's /models/NAME",
    ),
    ("Prometheus", "/metrics", "as the target"),
    ("Code generators", "/openapi.json", "as the document"),
];

/// Shows the page.
pub(super) async fn get_api(
    State(state): State<AppState>,
    Query(query): Query<ApiQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let choices = ModelChoices::load(&state).await?;
    let base_url = base_url(&headers);
    let chosen =
        query.model.filter(|name| !name.is_empty()).or_else(|| choices.iter().next().map(|model| model.name.clone()));
    let dims =
        chosen.as_deref().and_then(|name| choices.find(name)).map(|model| model.dims.clone()).unwrap_or_default();
    let dimensions: Option<usize> = query.dimensions.as_deref().and_then(|text| text.parse().ok());
    let dimensions = dimensions.filter(|dimension| dims.contains(dimension));
    let body = html! {
        h1 { "API" }
        p class="lead" { "Everything that these pages do goes over HTTP too. Clients of OpenAI's embeddings and of Text \
            Embeddings Inference work as they are." }
        @match chosen {
            None => (notice(Tone::Info, &html! {
                p { "There is no model yet. " a href="/ui/models" { "Add one" } ", and code for it stands here." }
            })),
            Some(model) => {
                (form(&choices, &model, &dims, dimensions))
                (code(&Snippets { base_url: base_url.clone(), model, dimensions, needs_key: state.api_key.is_some() }))
            }
        }
        section class="card" aria-labelledby="clients" {
            h2 id="clients" { "Clients" }
            dl class="pairs" {
                @for (name, path, role) in CLIENTS {
                    dt { (name) }
                    dd { code { (base_url) (path) } " " (role) }
                }
            }
        }
        section class="card" aria-labelledby="reference" {
            h2 id="reference" { "Reference" }
            p { "Every route, with what it takes and what it answers." }
            p class="actions" {
                a class="button primary" href=(REFERENCE) { "Open the reference" }
                a class="button" href="/openapi.json" { "openapi.json" }
            }
        }
    };
    Ok(page(&state, "API", Section::Api, &body))
}

fn form(choices: &ModelChoices, model: &str, dims: &[usize], chosen: Option<usize>) -> Markup {
    html! {
        form class="card" method="get" action="/ui/api" {
            div class="fields" {
                div class="field" {
                    label for="model" { "Model" }
                    select id="model" name="model" { (choices.options(Some(model))) }
                }
                div class="field" {
                    label for="dimensions" { "Dimensions" }
                    select id="dimensions" name="dimensions" {
                        option value="" { "The model's own" }
                        @for dimension in dims {
                            option value=(dimension) selected[chosen == Some(*dimension)] { (dimension) }
                        }
                    }
                }
            }
            button class="primary" type="submit" { "Show the code" }
        }
    }
}

fn code(snippets: &Snippets) -> Markup {
    let languages = [
        ("curl", "curl", snippets.curl(), ""),
        ("python", "Python", snippets.python(), "pip install openai"),
        ("javascript", "JavaScript", snippets.javascript(), "Node 18 or newer, or a browser on this address"),
    ];
    html! {
        @if snippets.needs_key {
            (notice(Tone::Info, &html! {
                p { "This server wants its API key. The code reads it from the environment: "
                    code { "export MATRYO_API_KEY=…" } }
            }))
        }
        @for (id, title, code, needs) in languages {
            section class="card" aria-labelledby={ (id) "-title" } {
                div class="head" {
                    h2 id={ (id) "-title" } { (title) }
                    @if !needs.is_empty() { span class="muted small" { (needs) } }
                    button class="end" type="button" data-copy=(id) hidden aria-label={ "Copy the " (title) " code" } { "Copy" }
                }
                pre tabindex="0" aria-labelledby={ (id) "-title" } role="region" { code id=(id) { (code) } }
            }
        }
    }
}
