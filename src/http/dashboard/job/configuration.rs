//! What the job was told to do, and where that is not the recipe.

use maud::{Markup, html};
use serde_json::Value;

use super::super::format;
use super::super::parts::scroll_box;
use super::view::JobView;
use crate::domain::TrainingArguments;

/// The table of all arguments.
pub(super) fn section(view: &JobView) -> Markup {
    let table = html! {
        table {
            caption class="visually-hidden" { "All arguments of the job" }
            thead { tr { th scope="col" { "Argument" } th scope="col" { "Value" } th scope="col" { "The recipe's" } } }
            tbody {
                @for Argument { name, value, default } in arguments(view) {
                    tr class=[default.is_some().then_some("changed")] {
                        th scope="row" { code { (name) } }
                        td { (value) @if default.is_some() { " " span class="badge changed" { "changed" } } }
                        td class="muted" { (default.as_deref().unwrap_or("the same")) }
                    }
                }
            }
        }
    };
    let changed = arguments(view).iter().filter(|argument| argument.default.is_some()).count() as u64;
    html! {
        section class="card" id="configuration" data-part aria-labelledby="configuration-title" {
            h2 id="configuration-title" { "Configuration" }
            p class="muted" {
                @if changed == 0 { "Everything is as the recipe has it." }
                @else { (format::counted(changed, "argument differs", "arguments differ")) " from the recipe." }
            }
            @if let Some(metadata) = view.job.metadata.as_ref().filter(|metadata| !metadata.is_empty()) {
                dl class="facts" { @for (key, value) in metadata { div { dt { (key) } dd { (value) } } } }
            }
            details id="arguments" {
                summary { "All arguments" }
                (scroll_box("Arguments", &table))
            }
        }
    }
}

/// One of them.
struct Argument {
    name: String,
    value: String,
    /// What the recipe has instead, where that is something else.
    default: Option<String>,
}

fn arguments(view: &JobView) -> Vec<Argument> {
    let training = &view.job.training;
    // What the recipe has depends on the model; where that is gone, on what the job made of it.
    let (dimension, length) = view.model.as_ref().map_or_else(
        || (training.dims().first().copied().unwrap_or(1), usize::MAX),
        |model| (model.dimension, model.max_seq_length),
    );
    let recipe = TrainingArguments::default().resolve(dimension, length).unwrap_or_default();
    let fields = |arguments: &TrainingArguments| match serde_json::to_value(arguments) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let recipe = fields(&recipe);
    let argument = |(name, value): (String, Value)| {
        let default = recipe.get(&name).filter(|default| **default != value).map(text);
        Argument { value: text(&value), default, name }
    };
    fields(training).into_iter().map(argument).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(|| number.to_string(), format::number),
        other => other.to_string(),
    }
}
