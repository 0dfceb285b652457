//! `matryo train`: a run without a server.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::config::Device;
use crate::data::split::{separate_ids, split_pairs};
use crate::domain::{MetricsTable, Pair, RunFolder, TrainEvent};
use crate::model::describe_precision;
use crate::records::RecordingSink;
use crate::training::{self, TrainError, TrainReport, TrainRequest, TrainSink};
use crate::worker::memory::PeakMemory;

use super::device::{Chosen, choose, user_cache};
use super::error::{CliError, flag_of};
use super::models::{BEST, FoundModel, RevisionFlag};
use super::output::Output;
use super::pairs::{ColumnFlags, existing_file};
use super::progress::{RunDisplay, say};
use super::report::Report;
use super::signals::StopFlag;
use super::training_flags::TrainingFlags;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo train --train train.jsonl --eval test.jsonl --base-model sentence-transformers/all-MiniLM-L6-v2 \\\n    \
    --out ./run --report report.json --epochs 4\n  \
    matryo train --train pairs.csv.gz --test-size 0.1 --base-model ./my-model --out ./run\n\n\
    A run that was stopped goes on from its last checkpoint when the same command is given again. OUT/best is the best\n\
    checkpoint, a sentence-transformers folder; OUT/metrics.csv, OUT/tensorboard and OUT/trec are records of the run.";

#[derive(Debug, Args)]
pub(super) struct TrainCommand {
    /// The pairs to train on: CSV, TSV, JSON, JSON Lines or Parquet, plain or compressed.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    train: PathBuf,

    /// The pairs to evaluate on; without them, `--test-size` of the training file's are.
    #[arg(long, value_name = "FILE", value_parser = existing_file)]
    eval: Option<PathBuf>,

    /// The share of the training file's pairs that evaluate, drawn by `--seed`.
    #[arg(long, alias = "test_size", value_name = "SHARE", default_value_t = 0.1, conflicts_with = "eval")]
    test_size: f64,

    /// The model to start from: a folder, or a name on the Hub.
    #[arg(long, alias = "base_model", value_name = "DIR|NAME")]
    base_model: String,

    #[command(flatten)]
    revision: RevisionFlag,

    /// The folder for the checkpoints; what an earlier part of the same run left there is gone on with.
    #[arg(long, aliases = ["output-dir", "output_dir"], value_name = "DIR")]
    out: PathBuf,

    /// The file for the report: arguments, metrics, losses, timings, memory, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Prints the report instead of the table.
    #[arg(long)]
    json: bool,

    /// What computes: `auto` (the first GPU, or else the CPU), `cpu` or `cuda:N`.
    #[arg(long, env = "MATRYO_DEVICE", value_name = "DEVICE", default_value = "auto")]
    device: Device,

    /// The file for what each of the GPU's kernels took, as JSON. The run waits for each of them, which makes it slower.
    #[arg(long, value_name = "FILE")]
    gpu_profile: Option<PathBuf>,

    #[command(flatten)]
    columns: ColumnFlags,

    #[command(flatten)]
    training: TrainingFlags,
}

impl TrainCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let started = Instant::now();
        self.check_report()?;
        let (train, eval) = self.pairs()?;
        let FoundModel { name, folder } = self.revision.find(&self.base_model)?;
        let arguments = self.training.arguments();
        let Chosen { hardware, .. } = choose(self.device, &user_cache()?)?;
        let numbers = describe_precision(&hardware, arguments.precision);
        let (pairs, questions, device) = (train.len(), eval.len(), hardware.describe());
        say(&format!(
            "{name}: {pairs} pairs to train on, {questions} to evaluate on; on {device}, matrix products in {numbers}"
        ));
        let request = TrainRequest {
            base_model_folder: folder.clone(),
            base_model: name.clone(),
            train,
            eval,
            arguments,
            checkpoints: self.out.clone(),
        };
        if self.gpu_profile.is_some() {
            hardware.start_profile();
        }
        let mut sink = Sink {
            display: RunDisplay::new(),
            memory: PeakMemory::start(),
            gpu_memory: None,
            stop: StopFlag::listen()?,
        };
        let ran = training::run(&hardware, &request, &mut RecordingSink::new(&mut sink, RunFolder::new(&self.out)));
        sink.display.end();
        let run = ran.map_err(|error| self.failure(error))?;
        if let Some(epoch) = run.resumed_from_epoch {
            say(&format!("this run went on from the checkpoint of epoch {epoch} in {}", self.out.display()));
        }
        self.link_best(run.best_epoch);
        let table = table(&run);
        let report = Report {
            model: name,
            model_folder: folder,
            train_rows: request.train.len(),
            eval_rows: request.eval.len(),
            wall_seconds: started.elapsed().as_secs_f64(),
            peak_memory_bytes: sink.memory.bytes(),
            peak_gpu_memory_bytes: sink.gpu_memory,
            ..Report::new(run, &self.out)
        };
        if let Some(path) = &self.report {
            report.write(path).map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        }
        if let Some(path) = &self.gpu_profile {
            let profile = serde_json::json!({ "kernels": hardware.profile() });
            std::fs::write(path, format!("{profile:#}\n"))
                .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        }
        let mut output = Output::lock();
        if self.json {
            output.json_line(&report)?;
        } else {
            output.line(table.trim_end())?;
        }
        output.flush()?;
        say(&format!("best checkpoint: {} (epoch {})", report.best_checkpoint.display(), report.best_epoch));
        say(&format!("it took {:.1} s", report.wall_seconds));
        Ok(())
    }

    fn pairs(&self) -> Result<(Vec<Pair>, Vec<Pair>), CliError> {
        let pairs = self.columns.read(&self.train)?;
        match &self.eval {
            Some(path) => {
                let mut eval = self.columns.read(path)?;
                separate_ids(&pairs, &mut eval);
                Ok((pairs, eval))
            }
            None => split_pairs(pairs, self.test_size, self.training.seed)
                .map_err(|error| CliError::Usage(format!("--test-size: {error}"))),
        }
    }

    /// A report that cannot be written is told before the run, not after it.
    fn check_report(&self) -> Result<(), CliError> {
        let Some(path) = &self.report else { return Ok(()) };
        let failed = |reason: String| CliError::Failed(format!("--report {}: {reason}", path.display()));
        if path.is_dir() {
            return Err(failed("it is a folder; a file is expected".into()));
        }
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string())),
            None => Ok(()),
        }
    }

    fn failure(&self, error: TrainError) -> CliError {
        match error {
            TrainError::Cancelled => CliError::Interrupted(format!(
                "give the same command again to go on from the last checkpoint in {}",
                self.out.display()
            )),
            TrainError::Arguments(errors) => CliError::bad_arguments(&errors, flag_of),
            error @ TrainError::Checkpoint { .. } => CliError::Failed(format!(
                "{error}; give another folder with --out, or delete {} to start anew",
                self.out.display()
            )),
            error => CliError::failed(error),
        }
    }

    /// Points `best` in the run's folder to the best checkpoint, so that the folder can be given as a model.
    fn link_best(&self, epoch: u32) {
        let link = self.out.join(BEST);
        let target = Path::new(&format!("epoch-{epoch}")).to_owned();
        if std::fs::read_link(&link).is_ok() {
            // A failure shows in the next line.
            let _ = std::fs::remove_file(&link);
        }
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(&target, &link);
        #[cfg(not(unix))]
        let linked = std::os::windows::fs::symlink_dir(&target, &link);
        if let Err(error) = linked {
            tracing::warn!(path = %link.display(), %error, "the best checkpoint has no link");
        }
    }
}

/// The per-epoch table, narrow enough for a terminal.
fn table(run: &TrainReport) -> String {
    let losses: Vec<(u64, f64)> = run.log.iter().map(|entry| (entry.step, entry.loss)).collect();
    MetricsTable::new(run.evaluations.clone(), &losses).narrowed_to(&["ndcg@10"]).to_markdown()
}

/// Shows the run and stops it at Ctrl-C.
struct Sink {
    display: RunDisplay,
    memory: PeakMemory,
    gpu_memory: Option<u64>,
    stop: StopFlag,
}

impl TrainSink for Sink {
    fn on_gpu_memory(&mut self, most_bytes: u64) {
        self.gpu_memory = self.gpu_memory.max(Some(most_bytes));
    }

    fn on_event(&mut self, event: TrainEvent) {
        self.memory.sample();
        self.display.show(&event);
    }

    fn should_stop(&self) -> bool {
        self.stop.is_set()
    }
}
