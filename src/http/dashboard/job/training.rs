//! Loss, learning rate and gradient norm by step.

use maud::{Markup, html};

use super::super::format;
use super::super::plots::{Axis, LineChart, Series, Size};
use super::view::JobView;
use crate::domain::LoggedStep;

/// The three charts; nothing before the first step was logged.
pub(super) fn charts(view: &JobView) -> Markup {
    if view.steps.is_empty() {
        return html! {};
    }
    html! {
        section class="card" id="training" data-part aria-labelledby="training-title" {
            h2 id="training-title" { "Training" }
            div class="grid charts" {
                (chart("loss", "Training loss", 0, &view.steps, |step| step.loss))
                (chart("learning-rate", "Learning rate", 1, &view.steps, |step| step.learning_rate))
                (chart("gradient-norm", "Gradient norm", 2, &view.steps, |step| step.grad_norm))
            }
        }
    }
}

fn chart(id: &str, title: &str, color: usize, steps: &[LoggedStep], value: fn(&LoggedStep) -> f64) -> Markup {
    let points = steps.iter().map(|step| (step.step as f64, value(step))).collect();
    let x = Axis { label: "step", text: |step| format::count(step as u64), whole: true, by_factor: false };
    let y = Axis { label: "", text: format::number, whole: false, by_factor: false };
    let series = vec![Series { name: title.to_owned(), points, color, dashed: false }];
    html! { (LineChart { id, title, x, y, series, size: Size::Small }) }
}
