//! `matryo jobs download`: a checkpoint as a folder, file by file, so that a download that broke off goes on where it
//! stopped; or as one archive. Under its final name stands what is complete, or nothing.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::super::client::Client;
use super::super::refusal::ClientError;
use super::{JobArgument, of_job};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::progress::{BytesDisplay, say};
use crate::cli::signals::stop_requested;
use crate::domain::{Checkpoint, JobId};
use crate::model::sha256_of;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    matryo jobs download first-try --to ./model\n  \
    matryo jobs download first-try epoch-2 --archive epoch-2.tar.gz\n\n\
    A download to a folder that broke off goes on where it stopped when the same command is given again. The folder is a\n\
    sentence-transformers model: SentenceTransformer(\"./model\") loads it.";

/// How often a connection that broke off is made again at once.
const RETRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const WEIGHTS: &str = "model.safetensors";
/// What only the trainer needs, to go on from a checkpoint.
const TRAINER_STATE: [&str; 2] = ["optimizer.safetensors", "trainer_state.json"];

#[derive(Debug, Args)]
pub(super) struct DownloadCommand {
    #[command(flatten)]
    job: JobArgument,

    /// Which checkpoint: `best`, or an epoch such as `epoch-3`.
    #[arg(default_value = "best", value_parser = checkpoint_name)]
    checkpoint: String,

    /// The folder to make; `job-ID-epoch-N` where none is given.
    #[arg(long, value_name = "DIR", conflicts_with = "archive")]
    to: Option<PathBuf>,

    /// The archive to make in place of a folder, named .tar.gz or .zip.
    #[arg(long, value_name = "FILE", value_parser = archive_name)]
    archive: Option<(PathBuf, &'static str)>,

    /// Fetches what the trainer needs to go on from the checkpoint too.
    #[arg(long)]
    include_state: bool,
}

/// A checkpoint and its files, as the server tells of them.
#[derive(Debug, Deserialize)]
struct Details {
    #[serde(flatten)]
    checkpoint: Checkpoint,
    model: String,
    files: Vec<RemoteFile>,
}

#[derive(Debug, Deserialize)]
struct RemoteFile {
    name: String,
    size_bytes: u64,
}

impl DownloadCommand {
    pub(super) async fn run(&self, client: &Client, json: bool) -> Result<(), CliError> {
        let id = self.job.id(client).await?;
        let mut details: Details = client.json(of_job(client, id, &["checkpoints", &self.checkpoint])).await?;
        if !self.include_state {
            details.files.retain(|file| !TRAINER_STATE.contains(&file.name.as_str()));
        }
        let epoch = details.checkpoint.epoch;
        let path = match &self.archive {
            Some((path, _)) => path.clone(),
            None => self.to.clone().unwrap_or_else(|| format!("job-{id}-epoch-{epoch}").into()),
        };
        refuse_existing(&path)?;
        let fetched = async {
            match &self.archive {
                Some((_, format)) => self.fetch_archive(client, &details, &path, format).await,
                None => Folder { client, id, details: &details }.fetch(&path).await,
            }
        };
        tokio::select! {
            fetched = fetched => fetched?,
            _ = stop_requested() => return Err(CliError::Interrupted("give the same command again to go on".into())),
        }
        if json {
            let Details { checkpoint, model, .. } = details;
            let sha256 = checkpoint.sha256;
            return output::print_json(&json!({"path": path, "epoch": epoch, "model": model, "sha256": sha256}));
        }
        output::print(path.display())
    }

    async fn fetch_archive(
        &self,
        client: &Client,
        details: &Details,
        path: &Path,
        format: &str,
    ) -> Result<(), CliError> {
        let checkpoint = &details.checkpoint;
        let name = format!("epoch-{}", checkpoint.epoch);
        let mut request =
            of_job(client, checkpoint.job_id, &["checkpoints", &name, "archive"]).query(&[("format", format)]);
        if self.include_state {
            request = request.query(&[("include", "state")]);
        }
        let mut pieces = client.send(request.header("accept", "*/*")).await?.bytes_stream();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).await.map_err(|error| at(folder, &error))?;
        // Beside its place, and gone where this ends early.
        let beside = tempfile::NamedTempFile::new_in(folder).map_err(|error| at(folder, &error))?;
        let mut file = File::from_std(beside.reopen()?);
        let mut display = BytesDisplay::without_total(&name);
        let mut done = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| client.broken(&error))?;
            file.write_all(&piece).await.map_err(|error| at(path, &error))?;
            done += piece.len() as u64;
            display.show(&name, done, 0);
        }
        file.sync_all().await.map_err(|error| at(path, &error))?;
        display.end();
        beside.persist_noclobber(path).map_err(|error| at(path, &error.error))?;
        Ok(())
    }
}

/// A checkpoint that becomes a folder.
struct Folder<'a> {
    client: &'a Client,
    id: JobId,
    details: &'a Details,
}

impl Folder<'_> {
    async fn fetch(&self, target: &Path) -> Result<(), CliError> {
        let sha256 = &self.details.checkpoint.sha256;
        // Named by its content: what another checkpoint left is not gone on with.
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", sha256.get(..12).unwrap_or(sha256)));
        let part = target.with_file_name(name);
        let total = self.details.files.iter().map(|file| file.size_bytes).sum();
        let mut display = BytesDisplay::new(&format!("epoch-{}", self.details.checkpoint.epoch));
        let mut before = 0;
        for file in &self.details.files {
            let path = part.join(safe(&file.name)?);
            let mut retries = RETRIES;
            while let Err(error) =
                self.fetch_file(file, &path, |done| display.show(&file.name, before + done, total)).await
            {
                match error {
                    FetchError::Broken(message) if retries > 0 => say(&format!("{message}; going on")),
                    FetchError::Broken(message) => return Err(CliError::Unreachable(message)),
                    FetchError::Other(error) => return Err(error),
                }
                retries -= 1;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            before += file.size_bytes;
        }
        display.end();
        let weights = part.join(WEIGHTS);
        let found = tokio::task::spawn_blocking(move || sha256_of(&weights)).await?;
        if found.map_err(|error| at(&part, &error))? != *sha256 {
            fs::remove_dir_all(&part).await?;
            return Err(CliError::failed("the weights that came have another SHA-256 than the server's; try again"));
        }
        fs::rename(&part, target).await.map_err(|error| at(target, &error))
    }

    /// Fetches what is still missing of a file.
    async fn fetch_file(
        &self,
        file: &RemoteFile,
        path: &Path,
        mut on_progress: impl FnMut(u64),
    ) -> Result<(), FetchError> {
        let here = |error: std::io::Error| FetchError::Other(at(path, &error));
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).await.map_err(here)?;
        let mut local = OpenOptions::new().create(true).append(true).open(path).await.map_err(here)?;
        let mut done = local.metadata().await.map_err(here)?.len();
        if done == file.size_bytes {
            on_progress(done);
            return Ok(());
        }
        let (id, epoch) = (self.id.to_string(), format!("epoch-{}", self.details.checkpoint.epoch));
        let segments: Vec<&str> =
            ["v1", "jobs", &id, "checkpoints", &epoch, "files"].into_iter().chain(file.name.split('/')).collect();
        let mut request = self.client.request(Method::GET, &segments);
        if 0 < done && done < file.size_bytes {
            request = request.header("range", format!("bytes={done}-"));
        }
        let response = self.client.send(request).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            local.set_len(0).await.map_err(here)?;
            done = 0;
        }
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.client.broken(&error))?;
            local.write_all(&piece).await.map_err(here)?;
            done += piece.len() as u64;
            on_progress(done);
        }
        local.sync_all().await.map_err(here)?;
        if done == file.size_bytes {
            return Ok(());
        }
        Err(FetchError::Broken(format!("{}: {done} of {} bytes came", file.name, file.size_bytes)))
    }
}

/// Why a file did not come.
enum FetchError {
    /// The connection; it can be made again.
    Broken(String),
    Other(CliError),
}

impl From<ClientError> for FetchError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(message) => Self::Broken(message),
            other => Self::Other(other.into()),
        }
    }
}

/// A path that stays within the folder that it is joined to, whatever the server says.
fn safe(name: &str) -> Result<&Path, CliError> {
    let path = Path::new(name);
    let mut parts = path.components().peekable();
    let is_safe = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    is_safe.then_some(path).ok_or_else(|| CliError::Failed(format!("the server names a file `{name}`, which is none")))
}

fn refuse_existing(path: &Path) -> Result<(), CliError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path, &error)),
        Ok(_) => Err(CliError::Failed(format!("{} is there already; give another name", path.display()))),
    }
}

fn at(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Failed(format!("{}: {error}", path.display()))
}

fn checkpoint_name(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("epoch-").unwrap_or(text);
    match number.parse::<u32>() {
        Ok(number) => Ok(format!("epoch-{number}")),
        Err(_) if text == "best" => Ok(text.to_owned()),
        Err(_) => Err("`best` or an epoch such as `epoch-3` is expected".into()),
    }
}

fn archive_name(text: &str) -> Result<(PathBuf, &'static str), String> {
    let format = ["tar.gz", "zip"].into_iter().find(|format| text.ends_with(&format!(".{format}")));
    format.map(|format| (text.into(), format)).ok_or_else(|| "a name that ends with .tar.gz or .zip is expected".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_leads_out_of_the_folder() {
        for good in ["config.json", "1_Pooling/config.json"] {
            assert!(safe(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn checkpoints_and_archives_are_told_by_their_names() {
        assert_eq!(checkpoint_name("3"), Ok("epoch-3".into()));
        assert_eq!(checkpoint_name("best"), Ok("best".into()));
        assert!(checkpoint_name("../x").is_err() && checkpoint_name("epoch-").is_err());
        assert_eq!(archive_name("a/b.tar.gz"), Ok(("a/b.tar.gz".into(), "tar.gz")));
        assert!(archive_name("b.tar").is_err());
    }
}
