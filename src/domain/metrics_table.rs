//! A job's evaluations as the table that the recipe prints: a row an epoch, the baseline first, a column a metric.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EvaluationMetrics, MetricKey};

/// What stands where there is no value, as the Hugging Face trainer writes it.
const NO_LOG: &str = "No log";
const SEQUENTIAL_SCORE: &str = "sequential_score";

/// One epoch of a [`MetricsTable`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricsRow {
    /// The epoch; 0 is the baseline before training.
    pub epoch: u32,
    /// Optimizer steps done by then.
    pub step: u64,
    /// The loss last logged by then; none where none was.
    pub training_loss: Option<f64>,
    /// Values by key (`dim_128_cosine_ndcg@10`), and `sequential_score`.
    pub values: BTreeMap<String, f64>,
}

/// A column: how it is headed, and the key of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    heading: String,
    key: String,
}

/// A job's evaluations by epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsTable {
    rows: Vec<MetricsRow>,
    columns: Vec<Column>,
}

impl MetricsTable {
    /// Joins evaluations and logged losses (`(step, loss)`), both in the order in which they came.
    #[must_use]
    pub fn new(evaluations: Vec<EvaluationMetrics>, losses: &[(u64, f64)]) -> Self {
        let rows: Vec<MetricsRow> = evaluations
            .into_iter()
            .map(|EvaluationMetrics { epoch, step, values }| {
                let logged = losses.partition_point(|(logged_at, _)| *logged_at <= step);
                let training_loss = logged.checked_sub(1).map(|last| losses[last].1);
                MetricsRow { epoch, step, training_loss, values }
            })
            .collect();
        let columns = columns(&rows, &MetricKey::NAMES, true);
        Self { rows, columns }
    }

    /// The same table with the metrics of these names alone (such as `ndcg@10`), at every dimension: one that fits a
    /// terminal.
    #[must_use]
    pub fn narrowed_to(mut self, names: &[&str]) -> Self {
        self.columns = columns(&self.rows, names, false);
        self
    }

    /// The rows, the baseline first.
    #[must_use]
    pub fn rows(&self) -> &[MetricsRow] {
        &self.rows
    }

    /// How many columns it has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.header().len()
    }

    /// The rows by themselves.
    #[must_use]
    pub fn into_rows(self) -> Vec<MetricsRow> {
        self.rows
    }

    /// Comma-separated values under a header, all digits kept.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let number = |value: f64| value.to_string();
        for record in std::iter::once(self.header()).chain(self.records(number, number)) {
            writer.write_record(record).expect("every record has the header's length, and memory takes any");
        }
        let bytes = writer.into_inner().expect("memory takes any");
        String::from_utf8(bytes).expect("the cells are text")
    }

    /// A Markdown table, six decimals, with its columns padded to one width so that it reads well unrendered too.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let header = self.header();
        let records: Vec<Vec<String>> =
            self.records(|loss| format!("{loss:.4}"), |value| format!("{value:.6}")).collect();
        let width = |column: usize| records.iter().chain([&header]).map(|record| record[column].len()).max();
        let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:>width$} |"));
            format!("|{}\n", padded.collect::<String>())
        };
        let rule: String = widths.iter().map(|width| format!(" {}: |", "-".repeat(width.saturating_sub(1)))).collect();
        let body: String = records.iter().map(|record| line(record)).collect();
        format!("{}|{rule}\n{body}", line(&header))
    }

    fn header(&self) -> Vec<String> {
        let fixed = ["Epoch", "Training Loss", "Validation Loss"].map(str::to_owned);
        fixed.into_iter().chain(self.columns.iter().map(|column| column.heading.clone())).collect()
    }

    fn records(&self, loss: fn(f64) -> String, value: fn(f64) -> String) -> impl Iterator<Item = Vec<String>> {
        self.rows.iter().map(move |row| {
            // No loss is computed on the evaluation rows, as in the recipe; the column stands for the sake of its table.
            let fixed = [row.epoch.to_string(), cell(row.training_loss, loss), NO_LOG.to_owned()];
            let values = self.columns.iter().map(|column| cell(row.values.get(&column.key).copied(), value));
            fixed.into_iter().chain(values).collect()
        })
    }
}

fn cell(value: Option<f64>, number: fn(f64) -> String) -> String {
    value.map_or_else(|| NO_LOG.to_owned(), number)
}

/// Columns for what the rows hold: dimensions in descending order, at each the named metrics.
fn columns(rows: &[MetricsRow], names: &[&str], with_score: bool) -> Vec<Column> {
    let keys: BTreeSet<&String> = rows.iter().flat_map(|row| row.values.keys()).collect();
    let dims: BTreeSet<usize> = keys.iter().filter_map(|key| key.parse().ok()).map(|key: MetricKey| key.dim).collect();
    let mut columns = Vec::new();
    for key in dims.iter().rev().flat_map(|dim| names.iter().filter_map(|name| MetricKey::new(*dim, name))) {
        columns.push(Column { heading: heading(key), key: key.to_string() });
    }
    if with_score && keys.contains(&SEQUENTIAL_SCORE.to_owned()) {
        columns.push(Column { heading: "Sequential Score".into(), key: SEQUENTIAL_SCORE.into() });
    }
    columns
}

/// `Dim 128 Cosine Ndcg@10`.
fn heading(key: MetricKey) -> String {
    let (first, rest) = key.name().split_at(1);
    format!("Dim {} Cosine {}{rest}", key.dim, first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(epoch: u32, step: u64, by: f64) -> EvaluationMetrics {
        let mut values = BTreeMap::from([(SEQUENTIAL_SCORE.to_owned(), by / 3.0)]);
        for key in [768, 64].into_iter().flat_map(|dim| MetricKey::NAMES.map(|name| MetricKey::new(dim, name))) {
            values.insert(key.expect("it is listed").to_string(), by / 3.0);
        }
        EvaluationMetrics { epoch, step, values }
    }

    fn table() -> MetricsTable {
        MetricsTable::new(vec![evaluation(0, 0, 1.0), evaluation(1, 12, 2.0)], &[(10, 1.53642), (13, 0.5)])
    }

    /// The header of the table that the recipe prints, cut to the dimensions 768 and 64.
    const HEADER: &str = "Epoch,Training Loss,Validation Loss,Dim 768 Cosine Accuracy@1,Dim 768 Cosine Accuracy@3,\
        Dim 768 Cosine Accuracy@5,Dim 768 Cosine Accuracy@10,Dim 768 Cosine Precision@1,Dim 768 Cosine Precision@3,\
        Dim 768 Cosine Precision@5,Dim 768 Cosine Precision@10,Dim 768 Cosine Recall@1,Dim 768 Cosine Recall@3,\
        Dim 768 Cosine Recall@5,Dim 768 Cosine Recall@10,Dim 768 Cosine Ndcg@10,Dim 768 Cosine Mrr@10,\
        Dim 768 Cosine Map@100,Dim 64 Cosine Accuracy@1,Dim 64 Cosine Accuracy@3,Dim 64 Cosine Accuracy@5,\
        Dim 64 Cosine Accuracy@10,Dim 64 Cosine Precision@1,Dim 64 Cosine Precision@3,Dim 64 Cosine Precision@5,\
        Dim 64 Cosine Precision@10,Dim 64 Cosine Recall@1,Dim 64 Cosine Recall@3,Dim 64 Cosine Recall@5,\
        Dim 64 Cosine Recall@10,Dim 64 Cosine Ndcg@10,Dim 64 Cosine Mrr@10,Dim 64 Cosine Map@100,Sequential Score";

    #[test]
    fn the_csv_has_the_recipes_columns_and_all_digits() {
        let csv = table().to_csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], HEADER);
        assert!(lines[1].starts_with("0,No log,No log,0.3333333333333333,"), "{}", lines[1]);
        assert!(lines[2].starts_with("1,1.53642,No log,0.6666666666666666,"), "{}", lines[2]);
        assert_eq!(lines[2].split(',').count(), lines[0].split(',').count());
    }

    #[test]
    fn a_narrowed_table_reads_well_on_a_terminal() {
        let expected = "\
| Epoch | Training Loss | Validation Loss | Dim 768 Cosine Ndcg@10 | Dim 64 Cosine Ndcg@10 |
| ----: | ------------: | --------------: | ---------------------: | --------------------: |
|     0 |        No log |          No log |               0.333333 |              0.333333 |
|     1 |        1.5364 |          No log |               0.666667 |              0.666667 |
";
        assert_eq!(table().narrowed_to(&["ndcg@10"]).to_markdown(), expected);
    }

    #[test]
    fn a_job_without_an_evaluation_yet_has_a_header_alone() {
        let empty = MetricsTable::new(Vec::new(), &[]);
        assert_eq!(empty.to_csv(), "Epoch,Training Loss,Validation Loss\n");
        assert_eq!(empty.to_markdown().lines().count(), 2);
    }
}
