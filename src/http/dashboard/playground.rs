//! The playground: one question to a dataset's corpus, asked by two models side by side.
//!
//! The form is plain; a script asks for the results alone and puts them in place. While a corpus is being embedded, the
//! script asks again, and without scripts the page loads itself anew.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::format::count;
use super::layout::{Section, fragment, page, script};
use super::model_choices::ModelChoices;
use super::parts::{Tone, notice, sentence};
use super::playground_results::{preparing, results};
use crate::data::dataset_files::preview;
use crate::domain::{Dataset, DatasetId, JobId, ModelReference};
use crate::http::extract::Query;
use crate::http::model_path::encode;
use crate::http::routes::search::SearchBody;
use crate::http::{ApiError, AppState};
use crate::serving::SearchOutcome;
use crate::store::ListOrder;

/// Datasets to choose from; an older one is still to be named in the page's address.
const MOST_DATASETS: u32 = 200;
const EXAMPLES: usize = 6;
/// Longer questions make poor links.
const MAX_EXAMPLE_CHARS: usize = 160;
const TOP_K: usize = 5;
/// How long a page is held back for a corpus that is nearly there, in seconds.
const PAGE_WAIT_S: u64 = 1;

/// What is asked, all of it as the form's fields have it: an empty one is as good as none.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PlaygroundQuery {
    /// Chooses this job's base model, best checkpoint and dataset.
    job: Option<String>,
    dataset: Option<String>,
    base: Option<String>,
    tuned: Option<String>,
    dimensions: Option<String>,
    query: Option<String>,
}

/// What is chosen, after defaults.
struct Chosen {
    dataset: Option<String>,
    base: Option<String>,
    tuned: Option<String>,
    dimensions: Option<String>,
    query: Option<String>,
}

/// Shows the form, and what was found where a question was asked.
pub(super) async fn get_playground(
    State(state): State<AppState>,
    Query(query): Query<PlaygroundQuery>,
) -> Result<Response, ApiError> {
    let choices = ModelChoices::load(&state).await?;
    let datasets = state.store.list_datasets(ListOrder::NewestFirst, None, MOST_DATASETS).await?.items;
    let chosen = choose(&state, query, &choices, &datasets).await?;
    let found = match &chosen.query {
        Some(_) => Some(find(&state, &chosen).await),
        None => None,
    };
    let examples = examples(&state, &chosen).await;
    let body = html! {
        h1 { "Playground" }
        p class="lead" { "Ask a dataset's passages a question, and see what two models find: whether fine-tuning brings \
            the right passage to the top, and how short its embeddings may be." }
        @if choices.iter().next().is_none() || datasets.is_empty() {
            (notice(Tone::Info, &html! {
                p { "The playground needs " a href="/ui/datasets" { "a dataset" } " and " a href="/ui/models" { "a model" } "." }
            }))
        } @else {
            (form(&choices, &datasets, &chosen))
            @if !examples.is_empty() { (example_list(&chosen, &examples)) }
            div id="results" aria-live="polite" { @if let Some(found) = found { (found) } }
            (script("playground.js"))
        }
    };
    Ok(page(&state, "Playground", Section::Playground, &body))
}

/// What was found alone, for the script.
pub(super) async fn get_results(State(state): State<AppState>, Query(query): Query<PlaygroundQuery>) -> Response {
    let PlaygroundQuery { dataset, base, tuned, dimensions, query, .. } = query;
    let chosen = Chosen {
        dataset: given(dataset),
        base: given(base),
        tuned: given(tuned),
        dimensions: given(dimensions),
        query: given(query),
    };
    fragment(find(&state, &chosen).await)
}

fn given(field: Option<String>) -> Option<String> {
    field.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Fills in what is left out: from the job where one is named, else from the newest fine-tuned model.
async fn choose(
    state: &AppState,
    query: PlaygroundQuery,
    choices: &ModelChoices,
    datasets: &[Dataset],
) -> Result<Chosen, ApiError> {
    let PlaygroundQuery { job, dataset, base, tuned, dimensions, query } = query;
    let (dataset, base, tuned) = (given(dataset), given(base), given(tuned));
    let named = match given(job) {
        Some(id) => Some(id.parse::<JobId>().map_err(|error| ApiError::invalid_field("job", error.to_string()))?),
        None if base.is_none() && tuned.is_none() => {
            choices.fine_tuned.first().and_then(|model| match model.name.parse() {
                Ok(ModelReference::JobBest(id)) => Some(id),
                _ => None,
            })
        }
        None => None,
    };
    let job = match named {
        Some(id) => Some(state.store.get_job(id).await?),
        None => None,
    };
    let of_job = |id: DatasetId| datasets.iter().any(|dataset| dataset.id == id).then(|| id.to_string());
    let dataset = dataset
        .or_else(|| job.as_ref().and_then(|job| of_job(job.dataset_id)))
        .or_else(|| datasets.first().map(|dataset| dataset.id.to_string()));
    let base = base
        .or_else(|| job.as_ref().map(|job| job.base_model.clone()))
        .or_else(|| choices.base.first().map(|model| model.name.clone()));
    let best = |id: JobId| ModelReference::JobBest(id).to_string();
    let tuned = tuned.or_else(|| job.map(|job| best(job.id)).filter(|name| choices.find(name).is_some()));
    Ok(Chosen { dataset, base, tuned, dimensions: given(dimensions), query: given(query) })
}

/// Searches; what goes wrong is told in place of the results.
async fn find(state: &AppState, chosen: &Chosen) -> Markup {
    match search(state, chosen).await {
        Ok(SearchOutcome::Found(found)) => results(&found),
        Ok(SearchOutcome::Preparing(progress)) => preparing(&progress),
        Err(error) => notice(Tone::Bad, &html! { p { (sentence(error.message())) } }),
    }
}

async fn search(state: &AppState, chosen: &Chosen) -> Result<SearchOutcome, ApiError> {
    let dataset_id = chosen.dataset.as_deref().unwrap_or_default().parse::<DatasetId>();
    let dataset_id = dataset_id.map_err(|_| ApiError::invalid_field("dataset", "a dataset is to be chosen"))?;
    let dimensions = match &chosen.dimensions {
        Some(text) => {
            let number = text.parse::<usize>();
            Some(number.map_err(|_| ApiError::invalid_field("dimensions", "a whole number is expected"))?)
        }
        None => None,
    };
    let mut models: Vec<String> = chosen.base.iter().chain(&chosen.tuned).cloned().collect();
    models.dedup();
    let query = chosen.query.clone().unwrap_or_default();
    let wait_seconds = Some(PAGE_WAIT_S);
    let body = SearchBody { query, models, dataset_id, dimensions, top_k: Some(TOP_K), wait_seconds };
    Ok(state.embedding.search(body.check()?).await?)
}

/// Questions of the dataset's evaluation rows, whose right passages are known.
async fn examples(state: &AppState, chosen: &Chosen) -> Vec<String> {
    let Some(id) = chosen.dataset.as_deref().and_then(|id| id.parse::<DatasetId>().ok()) else { return Vec::new() };
    let path = state.data_dir.eval_rows(id);
    let rows = tokio::task::spawn_blocking(move || preview(&path, 0, EXAMPLES * 4)).await;
    // A dataset that has just been deleted has no examples; the search says that it is gone.
    let Ok(Ok(rows)) = rows else { return Vec::new() };
    let short = rows.into_iter().map(|row| row.anchor).filter(|text| text.chars().count() <= MAX_EXAMPLE_CHARS);
    short.filter(|text| !text.trim().is_empty()).take(EXAMPLES).collect()
}

fn form(choices: &ModelChoices, datasets: &[Dataset], chosen: &Chosen) -> Markup {
    let selected = |id: &DatasetId| chosen.dataset.as_deref() == Some(id.to_string().as_str());
    html! {
        form id="playground" class="card" method="get" action="/ui/playground" data-results="/ui/playground/results" {
            div class="field question" {
                label for="query" { "Question" }
                div class="with-button" {
                    input id="query" name="query" type="search" value=[chosen.query.as_deref()] maxlength="8192" required
                        autocomplete="off";
                    button class="primary" type="submit" { "Search" }
                }
            }
            div class="fields" {
                div class="field" {
                    label for="dataset" { "Dataset" }
                    select id="dataset" name="dataset" {
                        @for dataset in datasets {
                            option value=(dataset.id) selected[selected(&dataset.id)] {
                                (dataset.name) " (" (count(dataset.train_rows + dataset.eval_rows)) " rows)"
                            }
                        }
                    }
                }
                div class="field" {
                    label for="base" { "Model" }
                    select id="base" name="base" { (choices.options(chosen.base.as_deref())) }
                }
                div class="field" {
                    label for="tuned" { "Compared with" }
                    select id="tuned" name="tuned" {
                        option value="" { "Nothing" }
                        (choices.options(chosen.tuned.as_deref()))
                    }
                }
                div class="field" {
                    label for="dimensions" { "Dimensions" }
                    (dimension_select(choices, chosen))
                }
            }
        }
    }
}

/// The lengths that the chosen models were trained for, and those that they have by themselves.
fn dimension_select(choices: &ModelChoices, chosen: &Chosen) -> Markup {
    let models = chosen.base.iter().chain(&chosen.tuned).filter_map(|name| choices.find(name));
    let mut dims: Vec<usize> = models.flat_map(|model| model.dims.iter().copied()).collect();
    dims.extend(chosen.dimensions.as_deref().and_then(|text| text.parse::<usize>().ok()));
    dims.sort_unstable_by(|a, b| b.cmp(a));
    dims.dedup();
    html! {
        select id="dimensions" name="dimensions" {
            option value="" { "The models' own" }
            @for dimension in dims {
                @let text = dimension.to_string();
                option value=(text) selected[chosen.dimensions.as_deref() == Some(text.as_str())] { (text) }
            }
        }
    }
}

fn example_list(chosen: &Chosen, examples: &[String]) -> Markup {
    html! {
        section class="examples" aria-labelledby="examples-title" {
            h2 id="examples-title" class="small" { "Questions of the evaluation rows" }
            ul { @for text in examples { li { a href=(address(chosen, text)) data-query=(text) { (text) } } } }
        }
    }
}

/// The page's address with another question.
fn address(chosen: &Chosen, query: &str) -> String {
    let Chosen { dataset, base, tuned, dimensions, .. } = chosen;
    let fields = [("dataset", dataset), ("base", base), ("tuned", tuned), ("dimensions", dimensions)];
    // An empty one says that nothing was chosen, where none would have a default.
    let pair =
        |(name, value): (&str, &Option<String>)| format!("{name}={}&", encode(value.as_deref().unwrap_or_default()));
    let chosen: String = fields.into_iter().map(pair).collect();
    format!("/ui/playground?{chosen}query={}", encode(query))
}
