//! `matryo eval`: how well a model retrieves.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::data::split::separate_ids;
use crate::domain::{EvaluationMetrics, MetricKey, Precision, TrainingArguments};
use crate::evaluation::information_retrieval::RetrievalTask;
use crate::evaluation::{Rankings, evaluate_model};
use crate::model::{ModelError, Purpose, SentenceEncoder};
use crate::records::trec::TrecNames;

use super::error::CliError;
use super::models::RevisionFlag;
use super::output::Output;
use super::pairs::{ColumnFlags, existing_file};
use super::progress::{ShareDisplay, say};
use super::signals::StopFlag;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo eval --model ./run --train train.jsonl --eval test.jsonl\n  \
    matryo eval --model sentence-transformers/all-MiniLM-L6-v2 --eval test.jsonl --dims 384,128,64 --json\n\n\
    The questions of `--eval` are asked of the passages of both files; each question's answer is its own row's passage.";

#[derive(Debug, Args)]
pub(super) struct EvalCommand {
    /// The model: a folder, a run's folder (its best checkpoint), or a name on the Hub.
    #[arg(long, value_name = "DIR|NAME")]
    model: String,

    #[command(flatten)]
    revision: RevisionFlag,

    /// Pairs whose passages are searched too.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    train: Option<PathBuf>,

    /// The pairs to evaluate on.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    eval: PathBuf,

    /// Embedding lengths, such as 384,256,128,64; by default the model's own, 512, 256, 128 and 64, those that fit.
    #[arg(long, aliases = ["matryoshka-dims", "matryoshka_dims"], value_name = "DIM,…", value_delimiter = ',',
        num_args = 1..)]
    dims: Option<Vec<usize>>,

    /// Makes identical passages one document.
    #[arg(long, alias = "deduplicate_corpus")]
    deduplicate_corpus: bool,

    /// The numbers that matrix products are computed in: float32, bf16, or auto (bf16 where the processor is faster at it).
    #[arg(long, value_name = "NAME", default_value_t = Precision::Float32)]
    precision: Precision,

    /// A folder for what trec_eval reads: `qrels.txt`, and `dim-N.txt` with the first 100 passages for each question at
    /// each length.
    #[arg(long, value_name = "DIR")]
    trec: Option<PathBuf>,

    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    columns: ColumnFlags,
}

impl EvalCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let train = self.train.as_deref().map(|path| self.columns.read(path)).transpose()?.unwrap_or_default();
        let mut eval = self.columns.read(&self.eval)?;
        separate_ids(&train, &mut eval);
        let model = self.revision.find(&self.model)?;
        let encoder = SentenceEncoder::load_in(&model.folder, self.precision, Purpose::Inference)?;
        let dims = self.dims(&encoder)?;
        let task = RetrievalTask::from_pairs(&train, &eval, self.deduplicate_corpus);
        if task.capped_queries > 0 {
            say(&format!(
                "warning: {} of {} questions have an answer that stands in the corpus more than once, which caps their \
                 score; --deduplicate-corpus makes such passages one",
                task.capped_queries,
                task.queries.len()
            ));
        }
        let stop = StopFlag::listen()?;
        let mut display = ShareDisplay::new("texts embedded");
        let mut rankings = self.trec.is_some().then(Rankings::default);
        let metrics = evaluate_model(&encoder, &task, &dims, rankings.as_mut(), &mut |done, total| {
            display.show(done as u64, total as u64);
            !stop.is_set()
        });
        display.end();
        let metrics = metrics.map_err(|error| match error {
            ModelError::Cancelled => CliError::Interrupted("nothing was measured".into()),
            error => CliError::failed(error),
        })?;
        if let (Some(folder), Some(rankings)) = (&self.trec, &rankings) {
            let names = TrecNames::new(&task);
            let written = names.write_runs(rankings, folder);
            written
                .and_then(|()| names.write_qrels(&task, &folder.join("qrels.txt")))
                .map_err(|error| CliError::Failed(format!("--trec {}: {error}", folder.display())))?;
        }
        let mut output = Output::lock();
        if self.json {
            let (queries, corpus) = (task.queries.len(), task.corpus.len());
            let json = json!({
                "model": model.name, "queries": queries, "corpus": corpus, "dims": dims, "metrics": metrics.values,
            });
            output.json_line(&json)?;
        } else {
            output.line(table(&metrics, &dims))?;
        }
        output.flush()
    }

    fn dims(&self, encoder: &SentenceEncoder) -> Result<Vec<usize>, CliError> {
        let summary = encoder.summary();
        let asked = TrainingArguments { matryoshka_dims: self.dims.clone(), ..TrainingArguments::default() };
        match asked.resolve(summary.dimension, summary.max_seq_length) {
            Ok(resolved) => Ok(resolved.dims().to_vec()),
            Err(errors) => {
                let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
                Err(CliError::Usage(format!("--dims: {}", messages.join("; "))))
            }
        }
    }
}

/// A row a metric, a column a dimension.
fn table(metrics: &EvaluationMetrics, dims: &[usize]) -> String {
    let mut lines = vec![format!("{:12}", "metric")];
    lines[0].extend(dims.iter().map(|dim| format!("{dim:>9}")));
    for name in MetricKey::NAMES {
        let values = dims.iter().filter_map(|dim| metrics.get(MetricKey::new(*dim, name)?));
        lines.push(format!("{name:12}{}", values.map(|value| format!("{value:>9.4}")).collect::<String>()));
    }
    lines.join("\n")
}
