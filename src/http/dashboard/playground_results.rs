//! What the playground found: each model's passages with scores, and what moved against the first model.

use maud::{Markup, html};

use super::format::{count, counted};
use super::parts::{Tone, notice};
use crate::serving::{FoundPassage, LeftPassage, ModelResults, Movement, SearchProgress, SearchResults};

/// Characters of a passage that show at once.
const SHORT_CHARS: usize = 320;
/// Ranks as far as which the service tells.
const KNOWN_RANKS: usize = 100;

/// The lists side by side.
pub(super) fn results(found: &SearchResults) -> Markup {
    html! {
        @if let Some(verdict) = verdict(found) { (verdict) }
        div class="grid wide lists" {
            @for (place, list) in found.models.iter().enumerate() { (column(list, place, found)) }
        }
        p class="muted small" { (timing(found)) }
    }
}

/// Where the passage that answers stands, where that is known.
fn verdict(found: &SearchResults) -> Option<Markup> {
    found.relevant_passages?;
    let rank = |list: &ModelResults| match list.relevant_rank {
        Some(rank) => format!("at rank {rank}"),
        None => format!("beyond rank {KNOWN_RANKS}"),
    };
    let (first, others) = found.models.split_first()?;
    let known = |list: &ModelResults| list.relevant_rank.unwrap_or(usize::MAX);
    let (tone, sentence) = match others.first() {
        None => (Tone::Info, format!("The passage that answers stands {}.", rank(first))),
        Some(other) => {
            let tone = match known(other).cmp(&known(first)) {
                std::cmp::Ordering::Less => Tone::Good,
                std::cmp::Ordering::Equal => Tone::Info,
                std::cmp::Ordering::Greater => Tone::Warning,
            };
            (
                tone,
                format!(
                    "The passage that answers stands {} by the first model, {} by the second.",
                    rank(first),
                    rank(other)
                ),
            )
        }
    };
    Some(notice(tone, &html! { p { (sentence) } }))
}

fn column(list: &ModelResults, place: usize, found: &SearchResults) -> Markup {
    let id = format!("list-{place}");
    html! {
        section class="card list" aria-labelledby=(id) {
            div class="head" {
                h2 id=(id) { (list.model) }
                span class="end muted small nowrap" { (count(list.dimension as u64)) " dimensions" }
            }
            @if list.resolved != list.model { p class="muted small" { "That is " code { (list.resolved) } "." } }
            @if list.hits.is_empty() { p { "The dataset has no passage." } }
            ol class="hits" {
                @for hit in &list.hits { (row(hit)) }
            }
            @if !list.left.is_empty() { (left(&list.left, found.models[0].hits.len())) }
        }
    }
}

fn row(hit: &FoundPassage) -> Markup {
    let answers = hit.is_relevant == Some(true);
    html! {
        li class=[answers.then_some("relevant")] {
            div class="found" {
                span class="rank" aria-hidden="true" { (hit.rank) }
                @if let Some(moved) = hit.moved { (movement(moved, hit)) }
                span class="score" title="Cosine similarity" {
                    span class="visually-hidden" { "Score " }
                    (format!("{:.3}", hit.score))
                }
                (bar(hit.score))
                @if answers { span class="badge best" { "answers the question" } }
            }
            (passage(&hit.passage))
        }
    }
}

/// The score as a bar; what is below zero has none.
fn bar(score: f32) -> Markup {
    let width = format!("{:.1}", f64::from(score).clamp(0.0, 1.0) * 100.0);
    html! {
        svg class="score-bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect class="track" width="100" height="8" {}
            rect class="filled" width=(width) height="8" {}
        }
    }
}

fn movement(moved: Movement, hit: &FoundPassage) -> Markup {
    let before = hit.rank_before.unwrap_or_default();
    let (class, sign, text) = match moved {
        Movement::Up => ("up", format!("▲ {}", before - hit.rank), format!("up from rank {before}")),
        Movement::Down => ("down", format!("▼ {}", hit.rank - before), format!("down from rank {before}")),
        Movement::Same => ("muted", "=".to_owned(), "at the same rank as before".to_owned()),
        Movement::In => match hit.rank_before {
            Some(before) => ("up", "new".to_owned(), format!("new, from rank {before}")),
            None => ("up", "new".to_owned(), format!("new, from beyond rank {KNOWN_RANKS}")),
        },
    };
    html! {
        span class={ "moved " (class) } title=(text) {
            span aria-hidden="true" { (sign) }
            span class="visually-hidden" { (text) }
        }
    }
}

fn passage(text: &str) -> Markup {
    if text.chars().count() <= SHORT_CHARS {
        return html! { p { (text) } };
    }
    let short: String = text.chars().take(SHORT_CHARS).collect();
    // Between words, where there are some.
    let short = short.rsplit_once(char::is_whitespace).map_or(short.as_str(), |(words, _)| words);
    html! {
        details class="passage" {
            summary {
                span class="short" { (short) "… " }
                span class="more" { "Show all" }
                span class="less" { "Show less" }
            }
            p { (text) }
        }
    }
}

fn left(left: &[LeftPassage], shown: usize) -> Markup {
    html! {
        details {
            summary { (counted(left.len() as u64, "passage", "passages")) " of the first model's " (shown) " left" }
            ul class="left" {
                @for passage in left {
                    li {
                        span class="down nowrap" {
                            "rank " (passage.rank_before) " → "
                            @match passage.rank {
                                Some(rank) => { (rank) },
                                None => { "beyond " (KNOWN_RANKS) },
                            }
                        }
                        " " (passage.passage.chars().take(SHORT_CHARS).collect::<String>())
                    }
                }
            }
        }
    }
}

fn timing(found: &SearchResults) -> String {
    let embed: f64 = found.models.iter().map(|list| list.embed_ms).sum();
    let search: f64 = found.models.iter().map(|list| list.search_ms).sum();
    let passages = counted(found.passages as u64, "passage", "passages");
    format!("{passages} searched in {search:.1} ms, after {embed:.1} ms to embed the question.")
}

/// What stands there while a corpus is embedded.
pub(super) fn preparing(progress: &SearchProgress) -> Markup {
    let passages = progress.passages as u64;
    html! {
        section class="card" data-preparing aria-labelledby="preparing" {
            h2 id="preparing" { "Embedding the passages" }
            p { "A model embeds a dataset's " (counted(passages, "passage", "passages"))
                " once, when it is first asked for; after that, a question takes milliseconds." }
            @for model in &progress.models {
                @let name = format!("Passages embedded by {}", model.model);
                p class="progress-line" {
                    span { (model.model) }
                    span class="muted nowrap" { (count(model.embedded as u64)) " of " (count(passages)) }
                }
                progress max=(passages.max(1)) value=(model.embedded) aria-label=(name) {}
            }
            noscript { meta http-equiv="refresh" content="2"; p class="muted" { "This page loads itself anew." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(rank: usize, moved: Option<Movement>, rank_before: Option<usize>) -> FoundPassage {
        let passage = "a passage <b>".to_owned();
        FoundPassage { rank, score: 0.5, document: 0, passage, is_relevant: Some(rank == 1), moved, rank_before }
    }

    #[test]
    fn moves_are_told_in_words_too() {
        for (hit, sign, words) in [
            (hit(1, Some(Movement::Up), Some(4)), "▲ 3", "up from rank 4"),
            (hit(3, Some(Movement::Down), Some(1)), "▼ 2", "down from rank 1"),
            (hit(2, Some(Movement::Same), Some(2)), "=", "at the same rank as before"),
            (hit(2, Some(Movement::In), Some(40)), "new", "new, from rank 40"),
            (hit(2, Some(Movement::In), None), "new", "new, from beyond rank 100"),
        ] {
            let markup = row(&hit).into_string();
            assert!(markup.contains(&format!(">{sign}<")), "{markup}");
            assert!(markup.contains(&format!("visually-hidden\">{words}<")), "{markup}");
            assert!(markup.contains("a passage &lt;b&gt;") && markup.contains("0.500"), "{markup}");
            assert_eq!(markup.contains("answers the question"), hit.rank == 1);
        }
        assert!(!row(&hit(1, None, None)).into_string().contains("moved"));
    }

    #[test]
    fn long_passages_open_on_demand() {
        assert!(!passage("short").into_string().contains("details"));
        let long = passage(&"word ".repeat(100)).into_string();
        assert!(long.contains("<summary>") && long.contains("word…"), "{long}");
    }
}
