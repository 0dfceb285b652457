//! What shorter embeddings cost in quality and save in storage.

use maud::{Markup, html};

use super::super::format;
use super::super::parts::scroll_box;
use super::super::plots::{Axis, LineChart, Series, Size};
use super::results::{SHOWN, shown};
use super::view::JobView;
use crate::domain::EvaluationMetrics;

/// Bytes of a float32.
const BYTES_PER_NUMBER: usize = 4;
/// The share of the full score that is as good as all of it.
const GOOD_ENOUGH: f64 = 0.99;
/// Vectors that the storage is reckoned for.
const MILLION: u64 = 1_000_000;

/// A length of embeddings.
#[derive(Debug, Clone, PartialEq)]
struct Length {
    dim: usize,
    score: f64,
    /// The share of the score at the full length.
    kept: f64,
}

impl Length {
    fn bytes(&self) -> usize {
        self.dim * BYTES_PER_NUMBER
    }
}

/// The best checkpoint's scores by length, the full one first; empty where there is nothing to compare.
fn lengths(evaluation: &EvaluationMetrics, dims: &[usize]) -> Vec<Length> {
    let scores: Vec<(usize, f64)> = dims.iter().filter_map(|dim| Some((*dim, shown(evaluation, *dim)?))).collect();
    match scores.first() {
        Some((_, full)) if *full > 0.0 => {
            scores.iter().map(|(dim, score)| Length { dim: *dim, score: *score, kept: score / full }).collect()
        }
        _ => Vec::new(),
    }
}

/// The shortest length that keeps enough of the full score.
fn shortest_good(lengths: &[Length]) -> Option<&Length> {
    lengths.iter().filter(|length| length.kept >= GOOD_ENOUGH).min_by_key(|length| length.dim)
}

/// The section; nothing before an epoch is done, or where there is one length alone.
pub(super) fn section(view: &JobView) -> Markup {
    let Some(best) = view.best() else { return html! {} };
    let dims = view.job.training.dims();
    let lengths = lengths(best, dims);
    if lengths.len() < 2 {
        return html! {};
    }
    html! {
        section class="card" id="trade-off" data-part aria-labelledby="trade-off-title" {
            h2 id="trade-off-title" { "Which dimension to ship" }
            p { (advice(&lengths)) }
            div class="grid wide charts" {
                (chart(view, best.epoch, &lengths))
                (table(&lengths))
            }
        }
    }
}

fn advice(lengths: &[Length]) -> Markup {
    let full = &lengths[0];
    let Some(good) = shortest_good(lengths) else { return html! {} };
    html! {
        @if good.dim == full.dim {
            "No shorter length keeps " (format::percent(GOOD_ENOUGH)) " of the full score: only all "
            strong { (full.dim) " dimensions" } " do."
        } @else {
            strong { (good.dim) " dimensions" } " are the fewest that keep " (format::percent(GOOD_ENOUGH))
            " of the full score: " (format::percent(good.kept)) " of it in " (format::percent(good.dim as f64 / full.dim as f64))
            " of the space, " (format::bytes(good.bytes() as u64)) " instead of " (format::bytes(full.bytes() as u64)) " a vector."
        }
    }
}

fn chart(view: &JobView, epoch: u32, tuned: &[Length]) -> Markup {
    let points =
        |lengths: &[Length]| lengths.iter().rev().map(|length| (length.bytes() as f64, length.kept * 100.0)).collect();
    let mut series =
        vec![Series { name: format!("best (epoch {epoch})"), points: points(tuned), color: 0, dashed: false }];
    if let Some(baseline) = view.baseline() {
        let base = lengths(baseline, view.job.training.dims());
        series.push(Series { name: "base model".into(), points: points(&base), color: 7, dashed: true });
    }
    let x = Axis {
        label: "bytes per vector (float32)",
        text: |bytes| format::count(bytes as u64),
        whole: true,
        by_factor: true,
    };
    let y = Axis { label: "", text: |kept| format::percent(kept / 100.0), whole: false, by_factor: false };
    html! { (LineChart { id: "kept", title: "Share of its own full score that each keeps, in %", x, y, series, size: Size::Wide }) }
}

fn table(lengths: &[Length]) -> Markup {
    let good = shortest_good(lengths).map(|length| length.dim);
    let table = html! {
        table {
            caption { "Score against storage, best checkpoint" }
            thead {
                tr {
                    th scope="col" class="num" { "Dimensions" }
                    th scope="col" class="num" { "Bytes per vector" }
                    th scope="col" class="num" { "A million vectors" }
                    th scope="col" class="num" { (SHOWN) }
                    th scope="col" class="num" { "Kept" }
                }
            }
            tbody {
                @for length in lengths {
                    tr class=[(good == Some(length.dim)).then_some("best")] {
                        th scope="row" class="num" { (length.dim) }
                        td class="num" { (format::count(length.bytes() as u64)) }
                        td class="num" { (format::bytes(length.bytes() as u64 * MILLION)) }
                        td class="num" { (format::score(length.score)) }
                        td class="num" { (format::percent(length.kept)) }
                    }
                }
            }
        }
    };
    scroll_box("Score against storage", &table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn evaluation(scores: &[(usize, f64)]) -> EvaluationMetrics {
        let values: BTreeMap<String, f64> =
            scores.iter().map(|(dim, score)| (format!("dim_{dim}_cosine_ndcg@10"), *score)).collect();
        EvaluationMetrics { epoch: 1, step: 1, values }
    }

    #[test]
    fn the_shortest_length_that_keeps_enough_is_named() {
        let lengths = lengths(&evaluation(&[(384, 0.8), (256, 0.796), (128, 0.792), (64, 0.72)]), &[384, 256, 128, 64]);
        assert_eq!(shortest_good(&lengths).map(|length| length.dim), Some(128));
        let text = advice(&lengths).into_string();
        assert!(
            text.contains("<strong>128 dimensions</strong>") && text.contains("512 B instead of 1.5 KiB"),
            "{text}"
        );
        assert!(text.contains("99 % of it in 33.3 % of the space"), "{text}");
    }

    #[test]
    fn a_steep_loss_is_told_too() {
        let lengths = lengths(&evaluation(&[(384, 0.8), (64, 0.4)]), &[384, 64]);
        assert!(advice(&lengths).into_string().contains("only all <strong>384 dimensions</strong> do"));
    }

    #[test]
    fn nothing_is_compared_with_a_score_of_zero() {
        assert!(lengths(&evaluation(&[(384, 0.0), (64, 0.0)]), &[384, 64]).is_empty());
        assert!(lengths(&evaluation(&[]), &[384, 64]).is_empty());
    }
}
