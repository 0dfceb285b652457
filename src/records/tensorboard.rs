//! TensorBoard's event files: scalars as `Event` messages in TFRecord's frames, under the names that the Hugging Face
//! trainer's own callback gives them.
//!
//! A file is only ever appended to, a whole record at a time, and each part of an interrupted run begins a file of its
//! own: a record that a power cut tore stands at its file's end, where readers expect such things. The `SessionLog` at a
//! file's beginning tells readers to forget what earlier files say of the steps that come again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc_fast::{CrcAlgorithm, checksum};
use prost::Message;

use crate::domain::{EvaluationMetrics, TrainEvent};

const PREFIX: &str = "events.out.tfevents.";
const VERSION: &str = "brain.Event:2";
const SESSION_START: i32 = 1;

/// The parts of TensorFlow's `event.proto` that are written.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Optional, so that 0 is written too.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file under way.
#[derive(Debug)]
pub(super) struct EventFile(File);

impl EventFile {
    /// Begins a file in `folder`, which is made where it is missing. What earlier files say of `first_step` and later
    /// steps is void.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn begin(folder: &Path, first_step: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // Readers take files in the order of their names. A clock that was set back must not put this one before another.
        let mut seconds = now().as_secs();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let written = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
            seconds = seconds.max(written.map_or(0, |written: u64| written + 1));
        }
        let file =
            File::options().append(true).create_new(true).open(folder.join(format!("{PREFIX}{seconds:010}.matryo")));
        let mut events = Self(file?);
        events.append(0, |event| event.file_version = Some(VERSION.to_owned()))?;
        events.append(first_step, |event| event.session_log = Some(SessionLog { status: SESSION_START }))?;
        Ok(events)
    }

    /// Appends what an event of the trainer brings: steps and evaluations; nothing else has numbers to plot. An evaluation
    /// is on the disk when this returns, since the checkpoint that follows it is.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub(super) fn record(&mut self, event: &TrainEvent) -> io::Result<()> {
        match event {
            TrainEvent::Step { step, epoch, loss, grad_norm, learning_rate, .. } => {
                let values =
                    [("loss", loss), ("grad_norm", grad_norm), ("learning_rate", learning_rate), ("epoch", epoch)];
                self.scalars(*step, values.map(|(name, value)| (format!("train/{name}"), *value)))
            }
            TrainEvent::Evaluation { metrics: EvaluationMetrics { step, values, .. } } => {
                self.scalars(*step, values.iter().map(|(key, value)| (format!("eval/{key}"), *value)))?;
                self.0.sync_data()
            }
            TrainEvent::Phase { .. }
            | TrainEvent::Progress { .. }
            | TrainEvent::Checkpoint { .. }
            | TrainEvent::CheckpointRemoved { .. }
            | TrainEvent::Warning { .. } => Ok(()),
        }
    }

    fn scalars(&mut self, step: u64, values: impl IntoIterator<Item = (String, f64)>) -> io::Result<()> {
        // TensorBoard's scalars are float32.
        let value = |(tag, value): (String, f64)| Value { tag, simple_value: Some(value as f32) };
        let summary = Summary { value: values.into_iter().map(value).collect() };
        self.append(step, |event| event.summary = Some(summary))
    }

    fn append(&mut self, step: u64, fill: impl FnOnce(&mut Event)) -> io::Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let mut event = Event { wall_time: now().as_secs_f64(), step, ..Event::default() };
        fill(&mut event);
        // One write: a process that is killed leaves whole records.
        self.0.write_all(&frame(&event.encode_to_vec()))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// TFRecord: length, checksum of the length, bytes, checksum of the bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(bytes.len() + 16);
    framed.extend(length);
    framed.extend(masked_crc32c(&length).to_le_bytes());
    framed.extend(bytes);
    framed.extend(masked_crc32c(bytes).to_le_bytes());
    framed
}

/// Masked, since a checksum over bytes that hold their own checksum says little.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a file's records apart as the format's description says, checksums included.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).expect("it can be read");
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let size = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            let (crc, after) = after.split_at(4);
            assert_eq!(crc, masked_crc32c(length).to_le_bytes());
            let (body, after) = after.split_at(size);
            let (crc, after) = after.split_at(4);
            assert_eq!(crc, masked_crc32c(body).to_le_bytes());
            events.push(Event::decode(body).expect("it is a message"));
            rest = after;
        }
        events
    }

    fn files(folder: &Path) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }

    #[test]
    fn checksums_are_crc32c() {
        // RFC 3720, B.4: 32 bytes of zeros, and of ones.
        assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0; 32]) as u32, 0x8a91_36aa);
        assert_eq!(checksum(CrcAlgorithm::Crc32Iscsi, &[0xff; 32]) as u32, 0x62a8_ab43);
        // What TensorFlow's own event files begin with: a record of 24 bytes, and the masked checksum of that number.
        assert_eq!(frame(&[0; 24])[..12], *b"\x18\0\0\0\0\0\0\0\xa3\x7fK\"");
    }

    #[test]
    fn steps_and_evaluations_become_scalars_and_a_later_file_voids_what_comes_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("deep/tensorboard");
        let step = |step| TrainEvent::Step {
            step,
            total_steps: 9,
            epoch: 0.5,
            loss: 2.5,
            grad_norm: 0.0,
            learning_rate: 2e-5,
            pairs_per_second: 8.0,
            eta_seconds: 60.0,
        };
        let metrics = EvaluationMetrics { epoch: 1, step: 9, values: [("dim_64_cosine_ndcg@10".into(), 0.25)].into() };
        let mut first = EventFile::begin(&folder, 0).expect("it is made");
        first.record(&step(3)).expect("it is written");
        first.record(&TrainEvent::Warning { message: "nothing to plot".into() }).expect("nothing is written");
        first.record(&TrainEvent::Evaluation { metrics }).expect("it is written");
        // In the same second.
        EventFile::begin(&folder, 10).expect("it is made").record(&step(10)).expect("it is written");

        let files = files(&folder);
        assert_eq!(files.len(), 2, "{files:?}");
        let events = read(&files[0]);
        assert_eq!(events[0].file_version.as_deref(), Some(VERSION));
        let scalars = |event: &Event| -> Vec<(String, f32)> {
            let values = event.summary.clone().unwrap_or_default().value;
            values.into_iter().map(|value| (value.tag, value.simple_value.expect("a number"))).collect()
        };
        assert_eq!(events[2].step, 3);
        let named = |values: &[(&str, f32)]| -> Vec<(String, f32)> {
            values.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect()
        };
        let expected =
            [("train/loss", 2.5), ("train/grad_norm", 0.0), ("train/learning_rate", 2e-5), ("train/epoch", 0.5)];
        assert_eq!(scalars(&events[2]), named(&expected));
        assert_eq!((events[3].step, scalars(&events[3])), (9, named(&[("eval/dim_64_cosine_ndcg@10", 0.25)])));
        assert_eq!(events.len(), 4);

        let later = read(&files[1]);
        let begun = &later[1];
        assert_eq!((begun.step, begun.session_log.clone()), (10, Some(SessionLog { status: SESSION_START })));
    }
}
