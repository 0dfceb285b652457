//! Tables on standard output: aligned, as wide as the terminal at most, coloured where that helps and is wanted.

use console::{Alignment, Style, Term, measure_text_width, pad_str, style, truncate_str};

use super::error::CliError;
use super::output::Output;

/// The narrowest that a column is cut to.
const NARROWEST: usize = 12;
const GAP: &str = "  ";

/// A cell: its text, and how that is painted.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(text.as_ref()), style: Style::new() }
    }
}

impl Cell {
    /// A job's or a model's status, in its colour.
    pub(super) fn status(word: &str) -> Self {
        let style = match word {
            "succeeded" | "ready" => Style::new().green(),
            "failed" => Style::new().red(),
            "running" | "pulling" => Style::new().cyan(),
            "paused" | "cancelled" => Style::new().yellow(),
            _ => Style::new(),
        };
        Self { style, ..Self::from(word) }
    }
}

/// Texts come from files and from other people: what would move a terminal's cursor is left out, and a line is a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// A column's name without what it says of the column.
fn shown(name: &str) -> &str {
    name.trim_start_matches(['>', '~'])
}

/// Rows under a head.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns. Those whose name begins with `>` are aligned to the right; those whose name begins with
    /// `~` hold texts that may be cut on a terminal.
    pub(super) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(T::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, which has a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it; where there are no rows, says so on standard error instead.
    pub(super) fn print(&self, otherwise: &str) -> Result<(), CliError> {
        if self.rows.is_empty() {
            super::progress::say(otherwise);
            return Ok(());
        }
        let terminal = Term::stdout();
        let width = if terminal.is_term() { usize::from(terminal.size().1) } else { usize::MAX };
        let mut output = Output::lock();
        for line in self.lines(width) {
            output.line(line)?;
        }
        output.flush()
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let widths = self.widths(width);
        let head: Vec<Cell> =
            self.head.iter().map(|name| Cell { style: Style::new().bold(), ..shown(name).into() }).collect();
        std::iter::once(&head).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    /// Each column as wide as its widest cell; where that is too much for a line, the widest of the texts give way.
    fn widths(&self, line: usize) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| measure_text_width(&row[column].text));
            cells.chain([measure_text_width(shown(&self.head[column]))]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > line {
            let texts = (0..widths.len()).filter(|column| self.head[*column].starts_with('~'));
            let Some(widest) = texts.max_by_key(|column| widths[*column]).filter(|column| widths[*column] > NARROWEST)
            else {
                break;
            };
            // All at once down to the next widest would be quicker, and no table is that wide.
            widths[widest] -= 1;
        }
        widths
    }

    fn line(&self, row: &[Cell], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).zip(&self.head).enumerate().map(|(column, ((cell, width), name))| {
            let text = if name.starts_with('>') {
                pad_str(&cell.text, *width, Alignment::Right, Some("…"))
            } else if column + 1 == row.len() {
                truncate_str(&cell.text, *width, "…")
            } else {
                pad_str(&cell.text, *width, Alignment::Left, Some("…"))
            };
            cell.style.apply_to(text).to_string()
        });
        cells.collect::<Vec<_>>().join(GAP)
    }
}

/// Facts about one thing, a line each.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<(&'static str, Cell)>);

impl Facts {
    /// Adds a fact.
    pub(super) fn add(&mut self, name: &'static str, value: impl Into<Cell>) {
        self.0.push((name, value.into()));
    }

    /// Adds a fact, where there is one.
    pub(super) fn add_some(&mut self, name: &'static str, value: Option<impl Into<Cell>>) {
        self.0.extend(value.map(|value| (name, value.into())));
    }

    /// Prints them.
    pub(super) fn print(&self) -> Result<(), CliError> {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut output = Output::lock();
        for (name, value) in &self.0 {
            let padding = " ".repeat(width - name.len());
            output.line(format!("{}{padding}  {}", style(name).bold(), value.style.apply_to(&value.text)))?;
        }
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["NAME", ">ROWS", "~TEXT"]);
        table.row(["a".into(), "1,000".into(), "short".into()]);
        table.row(["名前".into(), "7".into(), "a text that is longer than the line\u{1b}[31m\nis wide".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_whatever_the_characters_width() {
        let lines = table().lines(usize::MAX).map_texts();
        assert_eq!(lines[0], "NAME   ROWS  TEXT");
        assert_eq!(lines[1], "a     1,000  short");
        assert_eq!(lines[2], "名前      7  a text that is longer than the line [31m is wide");
    }

    #[test]
    fn the_widest_column_gives_way_where_the_line_is_narrow() {
        for line in table().lines(40).map_texts() {
            assert!(measure_text_width(&line) <= 40, "{line}");
        }
        assert!(table().lines(1)[2].ends_with('…'), "a line has its limits");
    }

    trait MapTexts {
        fn map_texts(self) -> Vec<String>;
    }

    impl MapTexts for Vec<String> {
        /// Without the paint, which a developer's terminal may have.
        fn map_texts(self) -> Vec<String> {
            self.into_iter().map(|line| line.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "")).collect()
        }
    }
}
