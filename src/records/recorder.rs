//! A sink before another: writes the records of what passes.

use std::fs;
use std::io;

use crate::domain::{EvaluationMetrics, MetricsTable, RunFolder, TrainEvent};
use crate::evaluation::Rankings;
use crate::evaluation::information_retrieval::RetrievalTask;
use crate::training::{RunStart, TrainSink};

use super::tensorboard::EventFile;
use super::trec::TrecNames;
use super::write_whole;

/// Lists of documents, a question's at a dimension each, that are written down for an evaluation: about 200 MB of text.
const MAX_TREC_LISTS: usize = 50_000;

/// Writes a run's records into its folder and passes everything on. A record that cannot be written is given up with a
/// warning: it is no reason to end a run.
pub struct RecordingSink<'a> {
    inner: &'a mut dyn TrainSink,
    folder: RunFolder,
    /// What is given up, after a failure.
    given_up: Vec<Record>,
    first_step: u64,
    /// Begun with the first event.
    events: Option<EventFile>,
    losses: Vec<(u64, f64)>,
    evaluations: Vec<EvaluationMetrics>,
    dims: usize,
    names: Option<TrecNames>,
}

/// The kinds of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    TensorBoard,
    MetricsCsv,
    Trec,
}

impl Record {
    fn name(self) -> &'static str {
        match self {
            Self::TensorBoard => "TensorBoard's events",
            Self::MetricsCsv => "metrics.csv",
            Self::Trec => "the TREC files",
        }
    }
}

impl<'a> RecordingSink<'a> {
    /// Records into `folder`, which is made where it is missing.
    pub fn new(inner: &'a mut dyn TrainSink, folder: RunFolder) -> Self {
        Self {
            inner,
            folder,
            given_up: Vec::new(),
            first_step: 0,
            events: None,
            losses: Vec::new(),
            evaluations: Vec::new(),
            dims: 0,
            names: None,
        }
    }

    /// Writes one kind of record, unless it was given up before.
    fn write(&mut self, record: Record, write: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.given_up.contains(&record) {
            return;
        }
        if let Err(error) = write(self) {
            self.given_up.push(record);
            let message = format!("{} cannot be written and end here: {error}", record.name());
            self.inner.on_event(TrainEvent::Warning { message });
        }
    }

    fn record_event(&mut self, event: &TrainEvent) -> io::Result<()> {
        let events = match &mut self.events {
            Some(events) => events,
            none => none.insert(EventFile::begin(&self.folder.tensorboard(), self.first_step)?),
        };
        events.record(event)
    }

    fn write_table(&self) -> io::Result<()> {
        let table = MetricsTable::new(self.evaluations.clone(), &self.losses).to_csv();
        fs::create_dir_all(self.folder.root())?;
        write_whole(&self.folder.metrics_csv(), |file| file.write_all(table.as_bytes()))
    }

    /// Removes what an interrupted part found after the epoch from which the run goes on.
    fn clear_runs_after(&self, epoch: u32) -> io::Result<()> {
        let entries = match fs::read_dir(self.folder.trec()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let found: Option<u32> = name.to_str().and_then(|name| name.strip_prefix("epoch-")?.parse().ok());
            if let Some(later) = found.filter(|found| *found > epoch) {
                fs::remove_dir_all(self.folder.trec_epoch(later))?;
            }
        }
        Ok(())
    }
}

impl TrainSink for RecordingSink<'_> {
    fn on_start(&mut self, start: &RunStart<'_>) {
        self.first_step = if start.epoch == 0 { 0 } else { start.step + 1 };
        self.losses = start.log.iter().map(|entry| (entry.step, entry.loss)).collect();
        self.evaluations = start.evaluations.to_vec();
        self.dims = start.dims.len();
        if !self.evaluations.is_empty() {
            self.write(Record::MetricsCsv, |records| records.write_table());
        }
        self.write(Record::Trec, |records| records.clear_runs_after(start.epoch));
        self.inner.on_start(start);
    }

    fn on_task(&mut self, task: &RetrievalTask) -> bool {
        let lists = task.queries.len() * self.dims;
        if lists > MAX_TREC_LISTS {
            self.given_up.push(Record::Trec);
            let (questions, dims) = (task.queries.len(), self.dims);
            let message = format!(
                "no TREC files are written: {questions} questions at {dims} dimensions are {lists} lists of documents, and \
                 at most {MAX_TREC_LISTS} are written for an evaluation"
            );
            self.inner.on_event(TrainEvent::Warning { message });
        }
        self.write(Record::Trec, |records| {
            fs::create_dir_all(records.folder.trec())?;
            let names = TrecNames::new(task);
            names.write_qrels(task, &records.folder.qrels())?;
            records.names = Some(names);
            Ok(())
        });
        let inner = self.inner.on_task(task);
        inner || self.names.is_some()
    }

    fn on_gpu_memory(&mut self, most_bytes: u64) {
        self.inner.on_gpu_memory(most_bytes);
    }

    fn on_rankings(&mut self, epoch: u32, rankings: &Rankings) {
        self.write(Record::Trec, |records| match &records.names {
            Some(names) => names.write_runs(rankings, &records.folder.trec_epoch(epoch)),
            None => Ok(()),
        });
        self.inner.on_rankings(epoch, rankings);
    }

    fn on_event(&mut self, event: TrainEvent) {
        self.write(Record::TensorBoard, |records| records.record_event(&event));
        match &event {
            TrainEvent::Step { step, loss, .. } => self.losses.push((*step, *loss)),
            TrainEvent::Evaluation { metrics } => {
                self.evaluations.push(metrics.clone());
                self.write(Record::MetricsCsv, |records| records.write_table());
            }
            TrainEvent::Phase { .. }
            | TrainEvent::Progress { .. }
            | TrainEvent::Checkpoint { .. }
            | TrainEvent::CheckpointRemoved { .. }
            | TrainEvent::Warning { .. } => {}
        }
        self.inner.on_event(event);
    }

    fn on_removal(&mut self, epoch: u32) -> bool {
        let removed = self.inner.on_removal(epoch);
        if removed {
            self.write(Record::Trec, |records| match fs::remove_dir_all(records.folder.trec_epoch(epoch)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            });
        }
        removed
    }

    fn should_stop(&self) -> bool {
        self.inner.should_stop()
    }
}
