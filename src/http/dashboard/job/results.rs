//! What training brought: ndcg@10 by epoch and dimension, and before against after.

use maud::{Markup, html};

use super::super::format;
use super::super::parts::delta;
use super::super::plots::{Axis, BarChart, BarGroup, LineChart, Series, Size};
use super::view::JobView;
use crate::domain::{EvaluationMetrics, MetricKey};

/// The metric that the page draws.
pub(super) const SHOWN: &str = "ndcg@10";

/// The two charts; nothing before the baseline.
pub(super) fn section(view: &JobView) -> Markup {
    if view.evaluations.is_empty() {
        return html! {};
    }
    html! {
        section class="card" id="results" data-part aria-labelledby="results-title" {
            h2 id="results-title" { "Retrieval quality" }
            p class="muted" {
                "How well questions find their passage among all passages: " (SHOWN)
                ", from 0 to 1, at each length that embeddings are cut to. Epoch 0 is the base model before training."
            }
            div class="grid wide charts" {
                (by_epoch(view))
                (before_and_after(view))
            }
        }
    }
}

/// The value of the drawn metric.
pub(super) fn shown(evaluation: &EvaluationMetrics, dim: usize) -> Option<f64> {
    evaluation.get(MetricKey::new(dim, SHOWN)?)
}

fn by_epoch(view: &JobView) -> Markup {
    let dims = view.job.training.dims();
    let points = |dim: usize| {
        let values = view.evaluations.iter();
        values.filter_map(|evaluation| Some((f64::from(evaluation.epoch), shown(evaluation, dim)?))).collect()
    };
    let series = dims.iter().enumerate();
    let series = series
        .map(|(color, dim)| Series { name: dim.to_string(), points: points(*dim), color, dashed: false })
        .collect();
    let x = Axis { label: "epoch", text: |epoch| format!("{epoch:.0}"), whole: true, by_factor: false };
    let y = Axis { label: "", text: format::score, whole: false, by_factor: false };
    html! { (LineChart { id: "by-epoch", title: "ndcg@10 by epoch, for each dimension", x, y, series, size: Size::Wide }) }
}

/// A dimension's value before and after.
struct Change {
    dim: usize,
    before: f64,
    after: f64,
}

fn before_and_after(view: &JobView) -> Markup {
    let (Some(before), Some(after)) = (view.baseline(), view.best()) else {
        return html! {
            figure class="chart" {
                figcaption { h3 { "Before and after" } }
                p class="muted" { "Shown once an epoch is done." }
            }
        };
    };
    let dims = view.job.training.dims().iter();
    let changes =
        dims.filter_map(|dim| Some(Change { dim: *dim, before: shown(before, *dim)?, after: shown(after, *dim)? }));
    let changes: Vec<Change> = changes.collect();
    let name = format!("best (epoch {})", after.epoch);
    let groups = changes
        .iter()
        .map(|change| BarGroup { name: change.dim.to_string(), values: vec![change.before, change.after] });
    let chart = BarChart {
        id: "before-after",
        title: "ndcg@10 before and after training",
        label: "dimensions",
        series: [("base model", "before"), (&name, "after")],
        groups: groups.collect(),
        text: format::score,
        short: |value| format!("{value:.3}"),
        size: Size::Wide,
        table: table(&changes, &name),
    };
    html! { (chart) }
}

fn table(changes: &[Change], name: &str) -> Markup {
    html! {
        table {
            caption class="visually-hidden" { "ndcg@10 before and after training" }
            thead {
                tr {
                    th scope="col" class="num" { "Dimensions" }
                    th scope="col" class="num" { "Base model" }
                    th scope="col" class="num" { (super::super::parts::sentence(name).trim_end_matches('.')) }
                    th scope="col" class="num" { "Change" }
                }
            }
            tbody {
                @for Change { dim, before, after } in changes {
                    tr {
                        th scope="row" class="num" { (dim) }
                        td class="num" { (format::score(*before)) }
                        td class="num" { (format::score(*after)) }
                        td class="num" { (delta(after - before)) }
                    }
                }
            }
        }
    }
}
