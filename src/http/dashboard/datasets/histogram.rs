//! How long texts are, as bars.

use maud::{Markup, html};

use crate::data::length_histogram::ColumnLengths;
use crate::http::dashboard::format;
use crate::http::dashboard::parts::scroll_box;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 72.0;

/// One column's texts by their length, in a picture that tells each bar on hover, in words and in a table.
pub(super) fn histogram(title: &str, lengths: &ColumnLengths, max_seq_length: usize) -> Markup {
    let most = lengths.bins.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / lengths.bins.len().max(1) as f64;
    let bin = |index: usize| (index * lengths.bin_width, (index + 1) * lengths.bin_width - 1);
    let label = |index: usize, count: u64| {
        let (from, to) = bin(index);
        format!("{from}–{to} tokens: {}", format::counted(count, "text", "texts"))
    };
    // Where the model cuts, if texts reach so far.
    let limit = max_seq_length as f64 / lengths.bin_width as f64 * step;
    let table = html! {
        table {
            thead { tr { th scope="col" { "Tokens" } th scope="col" class="num" { "Texts" } } }
            tbody {
                @for (index, count) in lengths.bins.iter().enumerate() {
                    @let (from, to) = bin(index);
                    tr { th scope="row" { (from) "–" (to) } td class="num" { (format::count(*count)) } }
                }
            }
        }
    };
    html! {
        figure class="lengths" {
            figcaption {
                strong { (title) } ": " (format::number(lengths.mean)) " tokens on average, half have at most "
                (lengths.p50) ", 95 % at most " (lengths.p95) ", the longest " (lengths.max) ". "
                @if lengths.truncated > 0 {
                    strong { (format::counted(lengths.truncated, "text is", "texts are")) " longer than the model's "
                    (max_seq_length) " tokens and will be cut." }
                } @else { "None is longer than the model's " (max_seq_length) "." }
            }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT + 1.0) } role="img" aria-label={ (title) " by length; the table below has the numbers" } {
                @for (index, count) in lengths.bins.iter().enumerate() {
                    // What is there at all shows.
                    @let height = if *count == 0 { 0.0 } else { (*count as f64 / most * HEIGHT).max(1.0) };
                    rect class="bar" x=(place(index as f64 * step)) y=(place(HEIGHT - height)) width=(place((step - 1.0).max(0.5)))
                        height=(place(height)) { title { (label(index, *count)) } }
                }
                line class="axis" x1="0" x2=(WIDTH) y1=(HEIGHT + 0.5) y2=(HEIGHT + 0.5) {}
                @if limit < WIDTH { line class="limit" x1=(place(limit)) x2=(place(limit)) y1="0" y2=(HEIGHT) { title { "The model's limit" } } }
            }
            details { summary { "In numbers" } (scroll_box(title, &table)) }
        }
    }
}

/// A place to a hundredth.
fn place(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_told_in_words_and_numbers() {
        let lengths = ColumnLengths::from_lengths(vec![3, 4, 9, 30], 16);
        let markup = histogram("Questions", &lengths, 16).into_string();
        for part in ["0–7 tokens: 2 texts", "24–31 tokens: 1 text", "1 text is", "class=\"limit\"", "height=\"72\""]
        {
            assert!(markup.contains(part), "{part} is not in {markup}");
        }
        let empty = histogram("Questions", &ColumnLengths::from_lengths(Vec::new(), 16), 16).into_string();
        assert!(!empty.contains("NaN") && !empty.contains("<rect"), "{empty}");
    }
}
