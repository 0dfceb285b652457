//! What the demo's job came to, as tables.

use crate::cli::error::CliError;
use crate::cli::remote::jobs::metrics::JobMetrics;
use crate::domain::{EvaluationMetrics, MetricKey, MetricsRow, MetricsTable};

const METRIC: &str = "ndcg@10";

/// The table by epoch, and the best checkpoint against the base model at each dimension.
pub(super) fn in_words(metrics: &JobMetrics) -> Result<String, CliError> {
    let rows = &metrics.rows;
    let evaluations = rows.iter().map(evaluation).collect();
    let losses: Vec<(u64, f64)> = rows.iter().filter_map(|row| Some((row.step, row.training_loss?))).collect();
    let table = MetricsTable::new(evaluations, &losses).narrowed_to(&[METRIC]).to_markdown();
    let missing = || CliError::failed("the job's metrics lack the baseline or the best epoch");
    let before = rows.first().ok_or_else(missing)?;
    let after = rows.iter().find(|row| Some(row.epoch) == metrics.best_epoch).ok_or_else(missing)?;
    let mut lines = vec![
        String::new(),
        table,
        format!(
            "{METRIC} of epoch {}, the best by {}:",
            after.epoch,
            metrics.metric_for_best_model.as_deref().unwrap_or(METRIC)
        ),
        String::new(),
        format!("{:>9} {:>9} {:>9} {:>9}", "dimension", "before", "after", "gain"),
    ];
    for (dim, before, after) in by_dimension(before, after) {
        let gain = after - before;
        let percent = if before > 0.0 { format!(" ({:+.1} %)", 100.0 * gain / before) } else { String::new() };
        lines.push(format!("{dim:>9} {before:>9.4} {after:>9.4} {gain:>+9.4}{percent}"));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

fn evaluation(row: &MetricsRow) -> EvaluationMetrics {
    EvaluationMetrics { epoch: row.epoch, step: row.step, values: row.values.clone() }
}

/// (dimension, before, after), the largest dimension first.
fn by_dimension(before: &MetricsRow, after: &MetricsRow) -> Vec<(usize, f64, f64)> {
    let mut values: Vec<(usize, f64, f64)> = before
        .values
        .iter()
        .filter_map(|(key, before)| {
            let parsed: MetricKey = key.parse().ok().filter(|parsed: &MetricKey| parsed.name() == METRIC)?;
            Some((parsed.dim, *before, *after.values.get(key)?))
        })
        .collect();
    values.sort_by_key(|(dim, ..)| std::cmp::Reverse(*dim));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let row = |epoch, at_128, at_64| MetricsRow {
            epoch,
            step: u64::from(epoch) * 10,
            training_loss: (epoch > 0).then_some(1.5),
            values: [("dim_128_cosine_ndcg@10".to_owned(), at_128), ("dim_64_cosine_ndcg@10".to_owned(), at_64)].into(),
        };
        let rows = vec![row(0, 0.5, 0.4), row(1, 0.6, 0.5), row(2, 0.55, 0.6)];
        let metric_for_best_model = Some("dim_128_cosine_ndcg@10".to_owned());
        let text = in_words(&JobMetrics { best_epoch: Some(1), metric_for_best_model, rows }).expect("all is there");
        assert!(text.contains("      128    0.5000    0.6000   +0.1000 (+20.0 %)"), "{text}");
        assert!(text.find("      128").expect("it is there") < text.find("       64").expect("it is there"), "{text}");
        assert!(text.contains("| Epoch |"), "{text}");
    }
}
