//! A job's checkpoints: which is best, how to have one, and how to put one into service.

use maud::{Markup, html};

use super::super::format;
use super::super::parts::{metric_name, scroll_box};
use super::view::JobView;
use crate::domain::{Checkpoint, ModelReference};

/// The table; nothing before the first.
pub(super) fn section(view: &JobView) -> Markup {
    if view.checkpoints.is_empty() {
        return html! {};
    }
    let metric = metric_name(view.job.training.metric_for_best_model.as_deref().unwrap_or_default());
    let table = html! {
        table {
            caption class="visually-hidden" { "Checkpoints by epoch" }
            thead {
                tr {
                    th scope="col" class="num" { "Epoch" }
                    th scope="col" class="num" { "Step" }
                    th scope="col" class="num" { (metric) }
                    th scope="col" class="num" { "Size" }
                    th scope="col" { "Written" }
                    th scope="col" { "Model name" }
                    th scope="col" { "Download" }
                }
            }
            tbody { @for checkpoint in &view.checkpoints { (row(checkpoint)) } }
        }
    };
    html! {
        section class="card" id="checkpoints" data-part aria-labelledby="checkpoints-title" {
            h2 id="checkpoints-title" { "Checkpoints" }
            p class="muted" {
                "Each is a folder that " code { "SentenceTransformer" } " loads. The best is always kept, besides the last "
                (format::count(view.job.training.save_total_limit as u64)) "."
            }
            (scroll_box("Checkpoints", &table))
            (promotion(view))
        }
    }
}

fn row(checkpoint: &Checkpoint) -> Markup {
    let archive = format!("/v1/jobs/{}/checkpoints/{}/archive", checkpoint.job_id, checkpoint.epoch);
    let epoch = checkpoint.epoch;
    html! {
        tr class=[checkpoint.is_best.then_some("best")] {
            th scope="row" class="num" {
                @if checkpoint.is_best { span class="badge best" { "best" } " " }
                (epoch)
            }
            td class="num" { (format::count(checkpoint.step)) }
            td class="num" { (format::score(checkpoint.metric)) }
            td class="num" { (format::bytes(checkpoint.size_bytes)) }
            td class="nowrap" { (format::time(&checkpoint.created_at)) }
            td { code { (ModelReference::JobEpoch(checkpoint.job_id, epoch)) } }
            td class="nowrap" {
                a href=(archive) download aria-label={ "Epoch " (epoch) " as tar.gz" } { "tar.gz" }
                " · "
                a href={ (archive) "?format=zip" } download aria-label={ "Epoch " (epoch) " as zip" } { "zip" }
            }
        }
    }
}

/// Has a name mean one of them.
fn promotion(view: &JobView) -> Markup {
    html! {
        details id="promotion" {
            summary { "Use one under a name of your own" }
            p class="muted" {
                "An alias is a name that clients embed with, and that you can move to another model at any time. One that is \
                 there already is moved."
            }
            form class="row" method="post" action={ "/ui/jobs/" (view.job.id) "/alias" } {
                div class="field" {
                    label for="alias" { "Alias" }
                    input id="alias" name="alias" required maxlength="200" placeholder="production" autocomplete="off";
                }
                div class="field" {
                    label for="alias-epoch" { "Checkpoint" }
                    select id="alias-epoch" name="epoch" {
                        @for checkpoint in &view.checkpoints {
                            option value=(checkpoint.epoch) selected[checkpoint.is_best] {
                                "epoch " (checkpoint.epoch) @if checkpoint.is_best { " (best)" }
                            }
                        }
                    }
                }
                button type="submit" { "Use it" }
            }
        }
    }
}
