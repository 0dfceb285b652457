//! Charts as SVG, drawn here and complete without scripts.
//!
//! Colours are classes, so that both themes have their own. Values show on hover (`<title>`), and every chart stands in a
//! figure with a table of the same values for who cannot see it.

mod bars;
mod lines;
mod scale;
mod spark;

use maud::{Markup, html};

pub(super) use bars::{BarChart, BarGroup};
pub(super) use lines::{Axis, LineChart, Series};
pub(super) use spark::spark_line;

/// Colours that the styles name; more series begin again.
const COLORS: usize = 8;

/// A chart's size, in the units of its drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// For three in a row.
    Small,
    /// For two in a row.
    Wide,
}

impl Size {
    fn width(self) -> f64 {
        match self {
            Self::Small => 400.0,
            Self::Wide => 600.0,
        }
    }

    fn height(self) -> f64 {
        match self {
            Self::Small => 220.0,
            Self::Wide => 290.0,
        }
    }
}

/// The place within a drawing where the data goes.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    fn new(size: Size) -> Self {
        Self { left: 52.0, right: size.width() - 12.0, top: 10.0, bottom: size.height() - 40.0 }
    }
}

/// A value on an axis, and how it is written there.
#[derive(Debug, Clone, PartialEq)]
struct Tick {
    at: f64,
    text: String,
}

/// A chart with its heading, its legend and its values as a table.
fn figure(id: &str, title: &str, legend: &Markup, drawing: &Markup, table: &Markup) -> Markup {
    html! {
        figure class="chart" {
            figcaption {
                h3 { (title) }
                (legend)
            }
            (drawing)
            details id={ (id) "-values" } {
                summary { "Values" }
                div class="scroll" role="region" tabindex="0" aria-label={ (title) ", values" } { (table) }
            }
        }
    }
}

/// Names with their colours: `(name, class of the colour, dashed)`.
fn legend(entries: &[(&str, &str, bool)]) -> Markup {
    html! {
        ul class="legend" {
            @for (name, class, dashed) in entries {
                li {
                    svg class="swatch" viewBox="0 0 22 10" width="22" height="10" aria-hidden="true" {
                        line class={ "line " (class) @if *dashed { " dashed" } } x1="1" y1="5" x2="21" y2="5" {}
                    }
                    (name)
                }
            }
        }
    }
}

/// The lines behind the data, and what is written along both axes.
fn axes(frame: Frame, x: &[Tick], y: &[Tick], labels: (&str, &str)) -> Markup {
    let Frame { left, right, top, bottom } = frame;
    let middle = (left + right) / 2.0;
    html! {
        @for Tick { at, text } in y {
            line class="rule" x1=(n(left)) x2=(n(right)) y1=(n(*at)) y2=(n(*at)) {}
            text class="tick" x=(n(left - 7.0)) y=(n(at + 4.0)) text-anchor="end" { (text) }
        }
        line class="axis" x1=(n(left)) x2=(n(right)) y1=(n(bottom)) y2=(n(bottom)) {}
        @for Tick { at, text } in x {
            text class="tick" x=(n(*at)) y=(n(bottom + 16.0)) text-anchor="middle" { (text) }
        }
        text class="tick" x=(n(middle)) y=(n(bottom + 33.0)) text-anchor="middle" { (labels.0) }
        @if !labels.1.is_empty() {
            text class="tick" x=(n(left)) y=(n(top - 1.0)) text-anchor="start" { (labels.1) }
        }
    }
}

/// The class of a series' colour.
fn color(series: usize) -> String {
    format!("c{}", series % COLORS + 1)
}

/// A coordinate, to a hundredth.
fn n(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
