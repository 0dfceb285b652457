//! Two or more bars for each of some things, to be compared.

use maud::{Markup, Render, html};

use super::scale::{Scale, labels, ticks};
use super::{Frame, Size, Tick, axes, figure, legend, n};

/// Groups beyond which values are not written over their bars.
const MOST_WRITTEN: usize = 6;

/// The bars that stand together.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct BarGroup {
    /// What they are of.
    pub(in super::super) name: String,
    /// One value for each of the chart's series, from 0 on.
    pub(in super::super) values: Vec<f64>,
}

/// A chart of bars.
#[derive(Debug, Clone)]
pub(in super::super) struct BarChart<'a> {
    /// Names it within the page.
    pub(in super::super) id: &'a str,
    pub(in super::super) title: &'a str,
    /// What the groups are.
    pub(in super::super) label: &'static str,
    /// Each series' name and the class of its colour.
    pub(in super::super) series: [(&'a str, &'static str); 2],
    pub(in super::super) groups: Vec<BarGroup>,
    /// How a value is written on hover.
    pub(in super::super) text: fn(f64) -> String,
    /// How a value is written over its bar, where room is little.
    pub(in super::super) short: fn(f64) -> String,
    pub(in super::super) size: Size,
    /// The same values, as a table.
    pub(in super::super) table: Markup,
}

impl Render for BarChart<'_> {
    fn render(&self) -> Markup {
        let entries = self.series.map(|(name, class)| (name, class, false));
        figure(self.id, self.title, &legend(&entries), &self.drawing(), &self.table)
    }
}

impl BarChart<'_> {
    fn drawing(&self) -> Markup {
        let frame = Frame::new(self.size);
        let highest = self.groups.iter().flat_map(|group| &group.values).fold(0.0, |most: f64, value| most.max(*value));
        let values = ticks(0.0, if highest > 0.0 { highest } else { 1.0 }, 4, false);
        let y = Scale::new((0.0, values[values.len() - 1]), (frame.bottom, frame.top + 12.0));
        let y_ticks: Vec<Tick> =
            labels(&values).into_iter().zip(&values).map(|(text, value)| Tick { at: y.place(*value), text }).collect();
        let room = (frame.right - frame.left) / self.groups.len().max(1) as f64;
        let width = (room * 0.36).min(44.0);
        let middle = |group: usize| frame.left + room * (group as f64 + 0.5);
        let names = self.groups.iter().enumerate();
        let x_ticks: Vec<Tick> = names.map(|(at, group)| Tick { at: middle(at), text: group.name.clone() }).collect();
        html! {
            svg class="plot" viewBox={ "0 0 " (n(self.size.width())) " " (n(self.size.height())) } role="img"
                aria-label=(self.summary()) {
                (axes(frame, &x_ticks, &y_ticks, (self.label, "")))
                @for (at, group) in self.groups.iter().enumerate() {
                    @for (nth, value) in group.values.iter().enumerate() {
                        @let left = middle(at) - width * group.values.len() as f64 / 2.0 + width * nth as f64;
                        @let (name, class) = self.series[nth];
                        rect class={ "bar " (class) } x=(n(left + 1.0)) width=(n(width - 2.0)) y=(n(y.place(*value)))
                            height=(n(frame.bottom - y.place(*value))) rx="2" {
                            title { (group.name) " " (self.label) ", " (name) ": " ((self.text)(*value)) }
                        }
                        @if self.groups.len() <= MOST_WRITTEN {
                            text class="value" x=(n(left + width / 2.0)) y=(n(y.place(*value) - 4.0)) text-anchor="middle" {
                                ((self.short)(*value))
                            }
                        }
                    }
                }
            }
        }
    }

    fn summary(&self) -> String {
        let pair = |group: &BarGroup| {
            let values = group
                .values
                .iter()
                .zip(self.series)
                .map(|(value, (name, _))| format!("{name} {}", (self.text)(*value)));
            format!("{} {}: {}", group.name, self.label, values.collect::<Vec<_>>().join(", "))
        };
        format!("{}. {}", self.title, self.groups.iter().map(pair).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_zero_and_are_as_high_as_their_values() {
        let chart = BarChart {
            id: "change",
            title: "Change",
            label: "dimensions",
            series: [("before", "before"), ("after", "after")],
            groups: vec![BarGroup { name: "64".into(), values: vec![0.4, 0.8] }],
            text: |value| format!("{value:.3}"),
            short: |value| format!("{value:.1}"),
            size: Size::Wide,
            table: html! { table {} },
        };
        let html = chart.render().into_string();
        let heights: Vec<f64> =
            html.split("height=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        let bars: Vec<f64> = heights.into_iter().filter(|height| *height > 20.0).collect();
        assert_eq!(bars.len(), 2, "{html}");
        assert!((bars[1] / bars[0] - 2.0).abs() < 0.01, "{bars:?}");
        assert!(html.contains("<title>64 dimensions, after: 0.800</title>") && html.contains(">0.8</text>"), "{html}");
    }
}
