//! One file from the Hub to the disk, going on where an earlier attempt stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use hf_hub::HFError;
use tokio::fs::{self, File};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::HubError;
use super::answers::{Answers, root_cause};
use super::client::Repository;
use super::listing::RemoteFile;
use super::staging::io_error;
use crate::model::sha256_of;

/// Attempts in a row that may bring nothing new.
const MAX_FRUITLESS_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Why an attempt ended early.
enum Interruption {
    /// Another attempt may bring the rest.
    Broken(String),
    /// None will.
    Fatal(HubError),
}

/// A file under way.
pub(super) struct Download<'a> {
    pub(super) repository: &'a Repository,
    pub(super) answers: Answers<'a>,
    pub(super) commit: &'a str,
    pub(super) file: &'a RemoteFile,
    /// Where it goes; `.part` is put after the name until it is complete.
    pub(super) place: PathBuf,
}

impl Download<'_> {
    /// Brings the file, unless it is there. `on_bytes` is told how much of it is on disk.
    pub(super) async fn run(&self, on_bytes: &mut (dyn FnMut(u64) + Send)) -> Result<(), HubError> {
        if is_of_size(&self.place, self.file.size).await {
            on_bytes(self.file.size);
            return Ok(());
        }
        let part = part_of(&self.place);
        let output = File::options().create(true).truncate(false).write(true).open(&part).await;
        let output = &mut output.map_err(io_error(&part))?;
        let mut fruitless = 0;
        loop {
            let before = self.kept(output, &part).await?;
            on_bytes(before);
            if before == self.file.size {
                break;
            }
            let reason = match self.attempt(output, &part, before, on_bytes).await {
                Ok(()) => break,
                Err(Interruption::Fatal(error)) => return Err(error),
                Err(Interruption::Broken(reason)) => reason,
            };
            let brought_something = self.kept(output, &part).await? > before;
            fruitless = if brought_something { 0 } else { fruitless + 1 };
            if fruitless == MAX_FRUITLESS_ATTEMPTS {
                return Err(self.answers.unreachable(reason));
            }
            tracing::info!(file = self.file.path, reason, "the download broke off; it goes on");
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(fruitless)).await;
        }
        output.sync_all().await.map_err(io_error(&part))?;
        self.check_hash(&part).await?;
        fs::rename(&part, &self.place).await.map_err(io_error(&self.place))
    }

    /// How much of the file is on disk. More than there should be is no beginning of it, and is thrown away.
    async fn kept(&self, output: &mut File, part: &Path) -> Result<u64, HubError> {
        output.flush().await.map_err(io_error(part))?;
        let kept = output.metadata().await.map_err(io_error(part))?.len();
        if kept <= self.file.size {
            return Ok(kept);
        }
        output.set_len(0).await.map_err(io_error(part))?;
        Ok(0)
    }

    /// Asks for what lacks and writes it as it comes.
    async fn attempt(
        &self,
        output: &mut File,
        part: &Path,
        start: u64,
        on_bytes: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Interruption> {
        let size = self.file.size;
        let fatal = |error: std::io::Error| Interruption::Fatal(io_error(part)(error));
        let request = self.repository.download_file_stream().filename(&self.file.path).revision(self.commit);
        let answer = match start {
            0 => request.send().await,
            start => request.range(start..size).send().await,
        };
        let (_, mut chunks) = answer.map_err(|error| self.interruption(error))?;
        output.seek(std::io::SeekFrom::Start(start)).await.map_err(fatal)?;
        let mut done = start;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.interruption(error))?;
            done += chunk.len() as u64;
            if done > size {
                return Err(self.too_much(output, part, start).await);
            }
            output.write_all(&chunk).await.map_err(fatal)?;
            on_bytes(done);
        }
        output.flush().await.map_err(fatal)?;
        if done < size { Err(Interruption::Broken(format!("{} ends early", self.file.path))) } else { Ok(()) }
    }

    /// More came than was asked for: a server that knows no ranges sends the file from its start.
    async fn too_much(&self, output: &mut File, part: &Path, start: u64) -> Interruption {
        if let Err(error) = output.set_len(0).await {
            return Interruption::Fatal(io_error(part)(error));
        }
        let RemoteFile { path, size, .. } = self.file;
        if start > 0 {
            Interruption::Broken(format!("it sends {path} from its start, not from byte {start}"))
        } else {
            Interruption::Fatal(self.answers.bad(format!("it sends more of {path} than the {size} bytes it told of")))
        }
    }

    fn interruption(&self, error: HFError) -> Interruption {
        match error {
            HFError::Request { source, .. } => Interruption::Broken(root_cause(&source)),
            HFError::Xet { source, .. } => Interruption::Broken(root_cause(source.as_ref())),
            HFError::Http { context } if context.status.is_server_error() => {
                Interruption::Broken(format!("it answers {}", context.status))
            }
            error => Interruption::Fatal(self.answers.error(error)),
        }
    }

    /// A file that is not what the Hub says is deleted, so that the next pull brings it anew.
    async fn check_hash(&self, part: &Path) -> Result<(), HubError> {
        let Some(expected) = &self.file.sha256 else { return Ok(()) };
        let path = part.to_owned();
        let hash = tokio::task::spawn_blocking(move || sha256_of(&path)).await.map_err(std::io::Error::other);
        let found = hash.flatten().map_err(io_error(part))?;
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        fs::remove_file(part).await.map_err(io_error(part))?;
        let path = &self.file.path;
        Err(self.answers.bad(format!("{path} arrived damaged (SHA-256 {found}, {expected} expected); pull it again")))
    }
}

/// How much of a file earlier attempts left on disk.
pub(super) async fn bytes_on_disk(place: &Path, size: u64) -> u64 {
    if is_of_size(place, size).await {
        return size;
    }
    let length = fs::metadata(part_of(place)).await.map_or(0, |part| part.len());
    if length <= size { length } else { 0 }
}

async fn is_of_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).await.is_ok_and(|file| file.is_file() && file.len() == size)
}

fn part_of(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    place.with_file_name(name)
}
