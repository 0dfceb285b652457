//! Values along an axis, joined by lines.

use maud::{Markup, Render, html};

use super::scale::{Scale, labels, ticks};
use super::{Frame, Size, Tick, axes, color, figure, legend, n};

/// Points beyond which lines show no dots, but on hover.
const MOST_DOTS: usize = 40;

/// Some values, in one colour.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Series {
    /// What they are.
    pub(in super::super) name: String,
    /// `(x, y)`, by `x`; what is not finite is left out.
    pub(in super::super) points: Vec<(f64, f64)>,
    /// The number of its colour.
    pub(in super::super) color: usize,
    /// What it is compared with, rather than what was reached.
    pub(in super::super) dashed: bool,
}

/// What stands along an axis.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Axis {
    /// What the values are.
    pub(in super::super) label: &'static str,
    /// How a value is written on hover and in the table.
    pub(in super::super) text: fn(f64) -> String,
    /// Values are whole numbers.
    pub(in super::super) whole: bool,
    /// Equal steps are equal factors, and only the values that occur are written.
    pub(in super::super) by_factor: bool,
}

/// A chart of lines.
#[derive(Debug, Clone)]
pub(in super::super) struct LineChart<'a> {
    /// Names it within the page.
    pub(in super::super) id: &'a str,
    pub(in super::super) title: &'a str,
    pub(in super::super) x: Axis,
    pub(in super::super) y: Axis,
    pub(in super::super) series: Vec<Series>,
    pub(in super::super) size: Size,
}

impl Render for LineChart<'_> {
    fn render(&self) -> Markup {
        let points =
            self.series.iter().flat_map(|series| &series.points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let points: Vec<(f64, f64)> = points.copied().collect();
        if points.is_empty() {
            return html! {
                figure class="chart" { figcaption { h3 { (self.title) } } p class="muted" { "No values yet." } }
            };
        }
        let colors: Vec<String> = self.series.iter().map(|series| color(series.color)).collect();
        let entries: Vec<(&str, &str, bool)> =
            self.series.iter().zip(&colors).map(|(series, color)| (&*series.name, &**color, series.dashed)).collect();
        let legend = if self.series.len() > 1 {
            legend(&entries)
        } else {
            html! {}
        };
        figure(self.id, self.title, &legend, &self.drawing(&points), &self.table())
    }
}

impl LineChart<'_> {
    fn drawing(&self, points: &[(f64, f64)]) -> Markup {
        let frame = Frame::new(self.size);
        let (x, x_ticks) = self.x_scale(points, frame);
        let y_values = ticks(least(points.iter().map(|p| p.1)), most(points.iter().map(|p| p.1)), 4, self.y.whole);
        let y = Scale::new((y_values[0], y_values[y_values.len() - 1]), (frame.bottom, frame.top + 6.0));
        let y_ticks =
            labels(&y_values).into_iter().zip(&y_values).map(|(text, value)| Tick { at: y.place(*value), text });
        let y_ticks: Vec<Tick> = y_ticks.collect();
        let few = self.series.iter().all(|series| series.points.len() <= MOST_DOTS);
        html! {
            svg class="plot" viewBox={ "0 0 " (n(self.size.width())) " " (n(self.size.height())) } role="img"
                aria-label=(self.summary()) {
                (axes(frame, &x_ticks, &y_ticks, (self.x.label, "")))
                @for series in &self.series {
                    (self.line(series, x, y, few))
                }
            }
        }
    }

    fn line(&self, series: &Series, x: Scale, y: Scale, few: bool) -> Markup {
        let finite = || series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let path: Vec<String> =
            finite().map(|point| format!("{},{}", n(x.place(point.0)), n(y.place(point.1)))).collect();
        let class = color(series.color);
        html! {
            polyline class={ "line " (class) @if series.dashed { " dashed" } } points=(path.join(" ")) {}
            @for (at, value) in finite() {
                circle class={ (if few { "dot " } else { "hit " }) (class) } cx=(n(x.place(*at))) cy=(n(y.place(*value)))
                    r=(if few { "3.5" } else { "5" }) {
                    title { (series.name) ", " (self.x.label) " " ((self.x.text)(*at)) ": " ((self.y.text)(*value)) }
                }
            }
        }
    }

    fn x_scale(&self, points: &[(f64, f64)], frame: Frame) -> (Scale, Vec<Tick>) {
        let (low, high) = (least(points.iter().map(|p| p.0)), most(points.iter().map(|p| p.0)));
        let range = (frame.left + 8.0, frame.right - 12.0);
        if self.x.by_factor {
            let scale = Scale::new((low, high), range).by_factor();
            return (scale, self.occurring(points, scale));
        }
        let values = ticks(low, high, 6, self.x.whole);
        // The data fills the width; ticks beyond it are left out.
        let inside: Vec<f64> = values.iter().copied().filter(|value| (low..=high).contains(value)).collect();
        let scale = Scale::new((low, high), range);
        let texts = labels(if inside.len() > 1 { &inside } else { &values });
        let shown = if inside.len() > 1 { inside } else { vec![low] };
        let texts = if shown.len() > 1 { texts } else { vec![(self.x.text)(low)] };
        (scale, shown.into_iter().zip(texts).map(|(value, text)| Tick { at: scale.place(value), text }).collect())
    }

    /// The values that occur, as far as there is room to write them.
    fn occurring(&self, points: &[(f64, f64)], scale: Scale) -> Vec<Tick> {
        const ROOM: f64 = 48.0;
        let mut values: Vec<f64> = points.iter().map(|point| point.0).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let mut ticks: Vec<Tick> = Vec::new();
        for value in values {
            let at = scale.place(value);
            if ticks.last().is_none_or(|last| at - last.at >= ROOM) {
                ticks.push(Tick { at, text: (self.x.text)(value) });
            }
        }
        ticks
    }

    /// The first and last value of each series, for who hears the page.
    fn summary(&self) -> String {
        let course = |series: &Series| {
            let (first, last) = (series.points.first()?.1, series.points.last()?.1);
            Some(format!("{} from {} to {}", series.name, (self.y.text)(first), (self.y.text)(last)))
        };
        let courses: Vec<String> = self.series.iter().filter_map(course).collect();
        format!("{} by {}: {}", self.title, self.x.label, courses.join("; "))
    }

    fn table(&self) -> Markup {
        let mut at: Vec<f64> =
            self.series.iter().flat_map(|series| series.points.iter().map(|point| point.0)).collect();
        at.sort_by(f64::total_cmp);
        at.dedup();
        let value = |series: &Series, x: f64| series.points.iter().find(|point| point.0 == x).map(|point| point.1);
        html! {
            table {
                caption class="visually-hidden" { (self.title) }
                thead {
                    tr {
                        th scope="col" class="num" { (capitalised(self.x.label)) }
                        @for series in &self.series { th scope="col" class="num" { (series.name) } }
                    }
                }
                tbody {
                    @for x in at {
                        tr {
                            th scope="row" class="num" { ((self.x.text)(x)) }
                            @for series in &self.series {
                                td class="num" { (value(series, x).map_or_else(|| "–".to_owned(), self.y.text)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(char::to_uppercase).into_iter().flatten().chain(chars).collect()
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> LineChart<'static> {
        let axis = |label, whole| Axis { label, text: |value| format!("{value:.2}"), whole, by_factor: false };
        LineChart {
            id: "loss",
            title: "Loss",
            x: axis("step", true),
            y: axis("loss", false),
            series,
            size: Size::Small,
        }
    }

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.into(), points: points.to_vec(), color: 0, dashed: false }
    }

    #[test]
    fn every_value_shows_on_hover_and_in_the_table() {
        let html = chart(vec![series("<loss>", &[(1.0, 2.5), (2.0, 1.25), (3.0, f64::NAN)])]).render().into_string();
        assert_eq!(html.matches("<circle").count(), 2, "what is not finite is left out: {html}");
        assert!(html.contains("<title>&lt;loss&gt;, step 2.00: 1.25</title>"), "{html}");
        assert!(html.contains("role=\"img\"") && html.contains("id=\"loss-values\""), "{html}");
        assert_eq!(html.matches("<tr>").count(), 4);
        assert!(!html.contains("<loss>") && !html.contains("NaN\" "), "{html}");
    }

    #[test]
    fn a_chart_without_values_says_so() {
        for none in [Vec::new(), vec![series("a", &[])], vec![series("a", &[(1.0, f64::INFINITY)])]] {
            let html = chart(none).render().into_string();
            assert!(html.contains("No values yet") && !html.contains("<svg"), "{html}");
        }
    }

    #[test]
    fn one_value_can_be_drawn() {
        let html = chart(vec![series("a", &[(4.0, 0.0)])]).render().into_string();
        assert!(html.contains("<circle") && !html.contains("NaN") && !html.contains("inf"), "{html}");
    }

    #[test]
    fn a_chart_by_factor_writes_the_values_that_occur() {
        let mut chart = chart(vec![series("a", &[(64.0, 0.9), (128.0, 0.95), (768.0, 1.0)])]);
        chart.x.by_factor = true;
        let html = chart.render().into_string();
        for text in [">64.00</text>", ">128.00</text>", ">768.00</text>"] {
            assert!(html.contains(text), "{text} in {html}");
        }
    }
}
