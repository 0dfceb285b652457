//! A line as small as a word.

use maud::{Markup, html};

use super::n;
use super::scale::Scale;

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 26.0;
const MARGIN: f64 = 4.0;

/// The course of a few values, the first of which is what the others are compared with.
pub(in super::super) fn spark_line(label: &str, values: &[f64]) -> Markup {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (Some(first), Some(last)) = (values.first().copied(), values.last().copied()) else { return html! {} };
    let low = values.iter().copied().fold(first, f64::min);
    let high = values.iter().copied().fold(first, f64::max);
    let x = Scale::new((0.0, (values.len() - 1) as f64), (MARGIN, WIDTH - MARGIN));
    let y = Scale::new((low, high), (HEIGHT - MARGIN, MARGIN));
    let points =
        values.iter().enumerate().map(|(at, value)| format!("{},{}", n(x.place(at as f64)), n(y.place(*value))));
    let base = n(y.place(first));
    html! {
        svg class="spark" viewBox={ "0 0 " (n(WIDTH)) " " (n(HEIGHT)) } width=(n(WIDTH)) height=(n(HEIGHT)) role="img"
            aria-label=(label) {
            title { (label) }
            line class="rule dashed" x1=(n(MARGIN)) x2=(n(WIDTH - MARGIN)) y1=(base) y2=(base) {}
            polyline class="line c1" points=(points.collect::<Vec<_>>().join(" ")) {}
            circle class="dot c1" cx=(n(x.place((values.len() - 1) as f64))) cy=(n(y.place(last))) r="2.5" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_goes_up() {
        let html = spark_line("ndcg@10: 0.5, 0.6", &[0.5, 0.6]).into_string();
        assert!(html.contains("points=\"4,22 92,4\"") && html.contains("aria-label=\"ndcg@10: 0.5, 0.6\""), "{html}");
        assert_eq!(spark_line("none", &[]).into_string(), "");
        assert!(spark_line("one", &[0.5]).into_string().contains("<circle"), "one value is a dot");
        assert!(!spark_line("bad", &[0.5, f64::NAN]).into_string().contains("NaN"));
    }
}
