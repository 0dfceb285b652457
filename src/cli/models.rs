//! `matryo models`, and how every command finds the model that it is given by folder or by name.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::hub::{self, HubSettings, PullRequest};

use super::error::CliError;
use super::progress::PullDisplay;
use super::{output, serve};

const PULL_EXAMPLE: &str = "Examples:\n  \
    matryo models pull sentence-transformers/all-MiniLM-L6-v2\n  \
    matryo models pull BAAI/bge-base-en-v1.5 --revision main --to ./bge-base\n\n\
    HF_TOKEN opens gated models, HF_ENDPOINT names a mirror, MATRYO_CACHE the folder that models are kept in.";
const LIST_EXAMPLE: &str = "Example:\n  matryo models list";

/// The name that a best checkpoint's link has within a run's folder.
pub(super) const BEST: &str = "best";
/// The model that the demo starts from.
pub(super) const MINILM: &str = "sentence-transformers/all-MiniLM-L6-v2";
const DEFAULT_REVISION: &str = "main";

#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// Fetches a model from the Hugging Face Hub and prints its folder; an interrupted pull goes on where it stopped.
    #[command(after_help = PULL_EXAMPLE)]
    Pull(PullCommand),
    /// Lists the models that were fetched, with their folders.
    #[command(after_help = LIST_EXAMPLE)]
    List,
}

#[derive(Debug, Args)]
pub(super) struct PullCommand {
    /// The model, as `organisation/name`.
    name: String,

    /// A branch, tag or commit.
    #[arg(long, value_name = "REVISION", default_value = DEFAULT_REVISION)]
    revision: String,

    /// The folder to make; by default one in the cache, where other commands find the model by its name.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl ModelsCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Pull(pull) => {
                let folder = match &pull.to {
                    Some(target) => fetch(&pull.name, &pull.revision, target)?,
                    None => cached(&pull.name, &pull.revision)?,
                };
                output::print(folder.display())
            }
            Self::List => list(),
        }
    }
}

/// A model by folder or by name.
#[derive(Debug, Args)]
pub(super) struct RevisionFlag {
    /// The branch, tag or commit of a model from the Hub.
    #[arg(long, value_name = "REVISION", default_value = DEFAULT_REVISION)]
    revision: String,
}

/// A model on this machine.
#[derive(Debug)]
pub(super) struct FoundModel {
    /// What it is called.
    pub(super) name: String,
    /// Where its files lie.
    pub(super) folder: PathBuf,
}

impl RevisionFlag {
    /// A folder, a run's folder (whose best checkpoint it is), or a name on the Hub, pulled where it is not here.
    pub(super) fn find(&self, model: &str) -> Result<FoundModel, CliError> {
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
pub(super) fn cache() -> Result<PathBuf, CliError> {
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
pub(super) fn cache_folder(name: &str, revision: &str) -> Result<PathBuf, CliError> {
    Ok(cache()?.join("models").join(name.replace('/', "--")).join(revision.replace('/', "--")))
}

/// Where the Python package index's copy of [`MINILM`] is kept.
pub(super) fn package_cache() -> Result<PathBuf, CliError> {
    Ok(cache()?.join("package"))
}

/// The Python package index's copy of [`MINILM`], where the demo has fetched it.
pub(super) fn packaged_minilm() -> Result<Option<PathBuf>, CliError> {
    let folder = package_cache()?.join("all-MiniLM-L6-v2");
    Ok(folder.is_dir().then_some(folder))
}

fn cached(name: &str, revision: &str) -> Result<PathBuf, CliError> {
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

fn fetch(name: &str, revision: &str, target: &Path) -> Result<PathBuf, CliError> {
    let request = PullRequest {
        repo: name.to_owned(),
        revision: Some(revision.to_owned()),
        target: target.to_owned(),
        settings: HubSettings::from_env(),
    };
    let mut display = PullDisplay::new(name);
    let pulled = serve::runtime()?.block_on(hub::pull(request, |progress| display.show(&progress)));
    display.end();
    Ok(pulled?.folder)
}

fn list() -> Result<(), CliError> {
    let models = cache()?.join("models");
    let mut lines = Vec::new();
    for model in folders(&models) {
        for revision in folders(&model).into_iter().filter(|path| path.join("config.json").exists()) {
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().replace("--", "/");
            lines.push(format!("{}\t{}\t{}", name(&model), name(&revision), revision.display()));
        }
    }
    lines.sort_unstable();
    let mut output = output::Output::lock();
    for line in lines {
        output.line(line)?;
    }
    output.flush()
}

/// The folders in a folder; none where it is absent.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
