//! `matryo models`: those on this machine, and those of a server.

mod local;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::confirm::ConfirmFlag;
use super::error::CliError;
use super::output::{self, Output};
use super::pairs::existing_file;
use super::remote::{RemoteFlags, models as remote};

pub(super) use local::{BEST, FoundModel, MINILM, RevisionFlag, cache, cache_folder, package_cache, packaged_minilm};

const PULL_EXAMPLE: &str = "Examples:\n  \
    matryo models pull sentence-transformers/all-MiniLM-L6-v2\n  \
    matryo models pull BAAI/bge-base-en-v1.5 --revision main --to ./bge-base\n  \
    matryo models pull BAAI/bge-base-en-v1.5 --url http://127.0.0.1:8080\n\n\
    HF_TOKEN opens gated models, HF_ENDPOINT names a mirror, MATRYO_CACHE the folder that models are kept in. Where a\n\
    server pulls, its own HF_TOKEN and HF_ENDPOINT count.";
const LIST_EXAMPLE: &str = "Examples:\n  matryo models list\n  matryo models list --url http://127.0.0.1:8080";
const SHOW_EXAMPLE: &str = "Examples:\n  \
    matryo models show sentence-transformers/all-MiniLM-L6-v2\n  \
    matryo models show job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11";
const REGISTER_EXAMPLE: &str = "Example:\n  matryo models register /models/minilm --name minilm\n\n\
    The folder lies on the server's machine, below one that `matryo serve --model-root` allows.";
const UPLOAD_EXAMPLE: &str =
    "Example:\n  tar -czf minilm.tar.gz -C ./minilm .\n  matryo models upload minilm.tar.gz --name minilm";
const DELETE_EXAMPLE: &str = "Example:\n  matryo models delete BAAI/bge-base-en-v1.5 --yes";
const LOAD_EXAMPLE: &str = "Example:\n  matryo models load job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11";
const UNLOAD_EXAMPLE: &str = "Example:\n  matryo models unload BAAI/bge-base-en-v1.5";
const WHERE: &str = "`pull` and `list` are about this machine's cache, which `matryo train`, `eval` and `embed` take models \
    from, unless --url or MATRYO_URL names a server. The other commands ask a server.";

#[derive(Debug, Args)]
#[command(after_help = WHERE)]
pub(super) struct ModelsCommand {
    #[command(flatten)]
    remote: RemoteFlags,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetches a model from the Hugging Face Hub and prints its folder; with `--url`, a server does.
    ///
    /// An interrupted pull goes on where it stopped.
    #[command(after_help = PULL_EXAMPLE)]
    Pull(PullCommand),
    /// Lists the models that were fetched, with their folders; with `--url`, those of a server.
    #[command(after_help = LIST_EXAMPLE)]
    List,
    /// Shows a server's model.
    #[command(after_help = SHOW_EXAMPLE)]
    Show(ModelArgument),
    /// Adds a folder on the server's machine to its models.
    #[command(after_help = REGISTER_EXAMPLE)]
    Register {
        /// The folder's absolute path.
        #[arg(value_name = "DIR")]
        path: String,

        /// What to call it; the folder's name where none is given.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Uploads a model folder of this machine, packed into one file, and adds it to a server's models.
    #[command(after_help = UPLOAD_EXAMPLE)]
    Upload {
        /// A sentence-transformers folder as .tar, .tar.gz, .tar.zst or .zip.
        #[arg(value_name = "FILE", value_parser = existing_file)]
        file: PathBuf,

        /// What to call it; the file's name without its ending where none is given.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Deletes a base model of a server; fine-tuned ones go with their jobs.
    #[command(after_help = DELETE_EXAMPLE)]
    Delete {
        #[command(flatten)]
        model: ModelArgument,

        #[command(flatten)]
        confirm: ConfirmFlag,
    },
    /// Has a server load a model, so that the first request to embed need not wait.
    #[command(after_help = LOAD_EXAMPLE)]
    Load(ModelArgument),
    /// Has a server drop a model from memory.
    #[command(after_help = UNLOAD_EXAMPLE)]
    Unload(ModelArgument),
}

#[derive(Debug, Args)]
struct PullCommand {
    /// The model, as `organisation/name`.
    name: String,

    /// A branch, tag or commit.
    #[arg(long, value_name = "REVISION", default_value = local::DEFAULT_REVISION)]
    revision: String,

    /// The folder to make, on this machine; by default one in the cache, where other commands find the model by its name.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// The model that is meant.
#[derive(Debug, Args)]
struct ModelArgument {
    /// The model: a base model's name, `job:ID`, `job:ID@epoch-N`, or an alias.
    model: String,
}

impl ModelsCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let (json, at_server) = (self.remote.json, self.remote.names_server());
        match &self.action {
            Action::Pull(pull) if !at_server || pull.to.is_some() => pull.run(json),
            Action::List if !at_server => list(json),
            _ => self.remote.run(async |client| match &self.action {
                Action::Pull(pull) => remote::pull(&client, &pull.name, &pull.revision, json).await,
                Action::List => remote::list(&client, json).await,
                Action::Show(model) => remote::show(&client, &model.model, json).await,
                Action::Register { path, name } => remote::register(&client, path, name.as_deref(), json).await,
                Action::Upload { file, name } => remote::upload(&client, file, name.as_deref(), json).await,
                Action::Delete { model, confirm } => remote::delete(&client, &model.model, confirm, json).await,
                Action::Load(model) => remote::memory(&client, &model.model, "load", json).await,
                Action::Unload(model) => remote::memory(&client, &model.model, "unload", json).await,
            }),
        }
    }
}

impl PullCommand {
    /// Onto this machine.
    fn run(&self, json: bool) -> Result<(), CliError> {
        let folder = match &self.to {
            Some(target) => {
                // A name alone has no folder around it, which is to be forced to disk too.
                local::fetch(&self.name, &self.revision, &std::path::absolute(target)?)?;
                target.clone()
            }
            None => local::cached(&self.name, &self.revision)?,
        };
        if json {
            return output::print_json(&json!({"name": self.name, "revision": self.revision, "folder": folder}));
        }
        output::print(folder.display())
    }
}

/// What is in this machine's cache.
fn list(json: bool) -> Result<(), CliError> {
    let models = local::list()?;
    if json {
        return output::print_json(&json!({"data": models}));
    }
    if models.is_empty() {
        super::progress::say("no models were fetched to this machine; --url lists those of a server");
    }
    let mut output = Output::lock();
    for local::CachedModel { name, revision, folder } in models {
        output.line(format!("{name}\t{revision}\t{}", folder.display()))?;
    }
    output.flush()
}
