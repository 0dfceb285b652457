//! Pieces that several pages are made of.

use maud::{Markup, Render, html};

use crate::domain::{FieldError, JobStatus, MetricKey};

use super::format;

/// A job's status as a coloured word.
pub(super) fn status_badge(status: JobStatus) -> Markup {
    html! { span class={ "badge " (status.as_str()) } { (status.as_str()) } }
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Info,
    Good,
    Warning,
    Bad,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// Something that the reader should not miss.
pub(super) fn notice(tone: Tone, body: &impl Render) -> Markup {
    let role = if tone == Tone::Bad { "alert" } else { "note" };
    html! { div class={ "notice " (tone.class()) } role=(role) { (body) } }
}

/// Holds what may be wider than the page, such as a table: it scrolls by itself, also by keyboard.
pub(super) fn scroll_box(label: &str, body: &impl Render) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(label) { (body) } }
}

/// What is wrong with a form's field, to stand beside it; the input refers to it by `aria-describedby="<id>-error"`.
pub(super) fn field_error(id: &str, errors: &[FieldError], field: &str) -> Markup {
    html! {
        @for error in errors.iter().filter(|error| error.field == field) {
            p class="field-error" id={ (id) "-error" } role="alert" { (sentence(&error.message)) }
        }
    }
}

/// A message of the API as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.collect::<String>(), chars.as_str())
}

/// A metric's key as people say it: `ndcg@10 at 128`.
pub(super) fn metric_name(key: &str) -> String {
    key.parse().map_or_else(|_| key.replace('_', " "), |key: MetricKey| format!("{} at {}", key.name(), key.dim))
}

/// A difference of metrics, green where it is a gain.
pub(super) fn delta(value: f64) -> Markup {
    let text = format::delta(value);
    let class = if text.starts_with('+') {
        "up"
    } else if text.starts_with('−') {
        "down"
    } else {
        "muted"
    };
    html! { span class=(class) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("there is no job `7`"), "There is no job `7`.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence("épuisé"), "Épuisé.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn a_metric_is_named_by_what_it_is_and_where() {
        assert_eq!(metric_name("dim_128_cosine_ndcg@10"), "ndcg@10 at 128");
        assert_eq!(metric_name("sequential_score"), "sequential score");
        assert_eq!(delta(0.1).into_string(), "<span class=\"up\">+0.1000</span>");
        assert_eq!(delta(-0.1).into_string(), "<span class=\"down\">−0.1000</span>");
    }
}
