//! Models on this machine: how every command finds the one that it is given by folder or by name, and the cache.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::progress::BytesDisplay;
use crate::cli::serve;
use crate::hub::{self, HubSettings, PullRequest};

/// The name that a best checkpoint's link has within a run's folder.
pub(in crate::cli) const BEST: &str = "best";
/// The model that the demo starts from.
pub(in crate::cli) const MINILM: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// What is pulled where no revision is named.
pub(super) const DEFAULT_REVISION: &str = "main";

/// A model by folder or by name.
#[derive(Debug, Args)]
pub(in crate::cli) struct RevisionFlag {
    /// The branch, tag or commit of a model from the Hub.
    #[arg(long, value_name = "REVISION", default_value = DEFAULT_REVISION)]
    revision: String,
}

/// A model on this machine.
#[derive(Debug)]
pub(in crate::cli) struct FoundModel {
    /// What it is called.
    pub(in crate::cli) name: String,
    /// Where its files lie.
    pub(in crate::cli) folder: PathBuf,
}

impl RevisionFlag {
    /// A folder, a run's folder (whose best checkpoint it is), or a name on the Hub, pulled where it is not here.
    pub(in crate::cli) fn find(&self, model: &str) -> Result<FoundModel, CliError> {
        let path = Path::new(model);
        if path.is_dir() {
            let best = path.join(BEST);
            let is_run = !path.join("config.json").exists() && !path.join("modules.json").exists() && best.is_dir();
            let folder = if is_run { best } else { path.to_owned() };
            let real = path.canonicalize()?;
            let name = real.file_name().map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned());
            return Ok(FoundModel { name, folder });
        }
        if path.exists() {
            return Err(CliError::Failed(format!("{model} is a file; a model's folder or name is expected")));
        }
        let is_path = path.is_absolute() || model.starts_with('.') || model.starts_with('~') || model.contains('\\');
        if is_path {
            return Err(CliError::Failed(format!("there is no folder {model}")));
        }
        let folder = cached(model, &self.revision)?;
        Ok(FoundModel { name: model.to_owned(), folder })
    }
}

/// `MATRYO_CACHE`, or `matryo` where the platform keeps caches.
pub(in crate::cli) fn cache() -> Result<PathBuf, CliError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let platform = || {
        if cfg!(target_os = "macos") {
            Some(variable("HOME")?.join("Library/Caches"))
        } else if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else {
            variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
        }
    };
    variable("MATRYO_CACHE")
        .or_else(|| Some(platform()?.join("matryo")))
        .ok_or_else(|| CliError::failed("there is no folder to keep models in; set MATRYO_CACHE to one"))
}

/// The folder that a model of the Hub has in the cache.
pub(in crate::cli) fn cache_folder(name: &str, revision: &str) -> Result<PathBuf, CliError> {
    Ok(cache()?.join("models").join(name.replace('/', "--")).join(revision.replace('/', "--")))
}

/// Where the Python package index's copy of [`MINILM`] is kept.
pub(in crate::cli) fn package_cache() -> Result<PathBuf, CliError> {
    Ok(cache()?.join("package"))
}

/// The Python package index's copy of [`MINILM`], where the demo has fetched it.
pub(in crate::cli) fn packaged_minilm() -> Result<Option<PathBuf>, CliError> {
    let folder = package_cache()?.join("all-MiniLM-L6-v2");
    Ok(folder.is_dir().then_some(folder))
}

/// The folder of a model of the Hub in the cache, pulled where it is not here.
pub(super) fn cached(name: &str, revision: &str) -> Result<PathBuf, CliError> {
    let folder = cache_folder(name, revision)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    if name == MINILM
        && revision == DEFAULT_REVISION
        && let Some(folder) = packaged_minilm()?
    {
        return Ok(folder);
    }
    fetch(name, revision, &folder)
}

/// Pulls a model of the Hub into a folder.
pub(super) fn fetch(name: &str, revision: &str, target: &Path) -> Result<PathBuf, CliError> {
    let request = PullRequest {
        repo: name.to_owned(),
        revision: Some(revision.to_owned()),
        target: target.to_owned(),
        settings: HubSettings::from_env(),
    };
    let mut display = BytesDisplay::new(name);
    let pulled = serve::runtime()?.block_on(hub::pull(request, |progress| display.show_pull(&progress)));
    display.end();
    Ok(pulled?.folder)
}

/// A model in the cache.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct CachedModel {
    pub(in crate::cli) name: String,
    pub(in crate::cli) revision: String,
    pub(in crate::cli) folder: PathBuf,
}

/// The models in the cache, by name.
pub(super) fn list() -> Result<Vec<CachedModel>, CliError> {
    let mut found = Vec::new();
    for model in folders(&cache()?.join("models")) {
        for folder in folders(&model).into_iter().filter(|path| path.join("config.json").exists()) {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().replace("--", "/");
            found.push(CachedModel { name: name(&model), revision: name(&folder), folder });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The folders in a folder; none where it is absent.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
