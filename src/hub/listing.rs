//! What a repository holds, and which of it a model needs. Names come from a server and are not trusted.

use futures::TryStreamExt;
use hf_hub::HFError;
use hf_hub::repository::RepoTreeEntry;

use super::HubError;
use super::answers::Answers;
use super::client::Repository;

/// A file to be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Its path within the repository, known to be harmless.
    pub(super) path: String,
    /// Its size.
    pub(super) size: u64,
    /// SHA-256 of its content (hex), where the Hub tells.
    pub(super) sha256: Option<String>,
}

/// What a revision holds of what a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// The files.
    pub(super) files: Vec<RemoteFile>,
}

impl Listing {
    /// The files' size together.
    pub(super) fn total_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

/// Files that a model may consist of, besides its weights.
const NAMES: &[&str] = &[
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "README.md",
];
/// Weights, the better form first; of a folder's, only the best is pulled.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// More files than any model has.
const MAX_ENTRIES: usize = 100_000;

/// Asks what the revision holds.
pub(super) async fn list(repository: &Repository, answers: &Answers<'_>) -> Result<Listing, HubError> {
    let info = repository.info().revision(answers.revision).send().await.map_err(|error| answers.error(error))?;
    let commit = info.sha.filter(|sha| sha.len() == 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let commit = commit.ok_or_else(|| answers.bad("it names no commit for the revision".to_owned()))?;
    let siblings = info.siblings.unwrap_or_default();
    let names = wanted(siblings.iter().map(|sibling| sibling.rfilename.as_str()));
    if let Some(missing) = missing(&names) {
        let Answers { repo, revision, .. } = answers;
        let message = format!("{repo} at {revision} holds no {missing}, so it is not a model that can be used here");
        return Err(HubError::NotFound(message));
    }
    let mut details = details(repository, &commit).await;
    for sibling in siblings {
        if let Some(size) = sibling.size {
            let sha256 = sibling.lfs.and_then(|lfs| lfs.sha256);
            details.entry(sibling.rfilename).or_insert((size, sha256));
        }
    }
    let mut files = Vec::with_capacity(names.len());
    for path in names {
        let (size, sha256) = match details.remove(&path) {
            Some(known) => known,
            None => (announced_size(repository, &commit, &path, answers).await?, None),
        };
        files.push(RemoteFile { path, size, sha256 });
    }
    Ok(Listing { commit, files })
}

type Details = std::collections::HashMap<String, (u64, Option<String>)>;

/// Sizes and hashes by path. Empty where the server has no such list, as plain mirrors may not.
async fn details(repository: &Repository, commit: &str) -> Details {
    let list = async {
        let entries = repository.list_tree().revision(commit).recursive(true).limit(MAX_ENTRIES).send()?;
        let entries: Vec<RepoTreeEntry> = entries.try_collect().await?;
        Ok::<_, HFError>(entries)
    };
    let entries = list.await.unwrap_or_else(|error| {
        tracing::debug!(%commit, %error, "the server tells no sizes beforehand");
        Vec::new()
    });
    let files = entries.into_iter().filter_map(|entry| match entry {
        RepoTreeEntry::File { path, size, lfs, .. } => {
            let size = lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(size);
            Some((path, (size, lfs.and_then(|lfs| lfs.sha256))))
        }
        RepoTreeEntry::Directory { .. } => None,
    });
    files.collect()
}

/// The size that the server announces when a file is asked for; its content is not read.
async fn announced_size(
    repository: &Repository,
    commit: &str,
    path: &str,
    answers: &Answers<'_>,
) -> Result<u64, HubError> {
    let answer = repository.download_file_stream().filename(path).revision(commit).send().await;
    let (size, _) = answer.map_err(|error| answers.error(error))?;
    size.ok_or_else(|| answers.bad(format!("it does not tell the size of {path}")))
}

/// The paths that a model needs, of all the paths that a repository has: known names at the top or in a folder of a
/// sentence-transformers module (`1_Pooling`).
pub(super) fn wanted<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let place = |path: &'a str| match path.rsplit_once('/') {
        None => Some(("", path)),
        Some((folder, name)) => is_module_folder(folder).then_some((folder, name)),
    };
    let mut known: Vec<(&str, &str)> =
        paths.filter_map(place).filter(|(_, name)| NAMES.contains(name) || WEIGHTS.contains(name)).collect();
    known.sort_unstable();
    known.dedup();
    let is_second_best = |(folder, name): &(&str, &str)| {
        let rank = WEIGHTS.iter().position(|weights| weights == name).unwrap_or(0);
        WEIGHTS[..rank].iter().any(|better| known.contains(&(*folder, *better)))
    };
    known
        .iter()
        .filter(|file| !is_second_best(file))
        .map(|(folder, name)| if folder.is_empty() { (*name).to_owned() } else { format!("{folder}/{name}") })
        .collect()
}

/// `1_Pooling` and the like: letters, digits and `_` only, so that no name leads out of the model's folder.
fn is_module_folder(name: &str) -> bool {
    name.split_once('_')
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a model cannot do without and the paths lack.
pub(super) fn missing(paths: &[String]) -> Option<&'static str> {
    let has = |name: &str| paths.iter().any(|path| path.rsplit('/').next() == Some(name));
    if !has("config.json") {
        Some("config.json")
    } else if !WEIGHTS.iter().any(|weights| has(weights)) {
        Some("model.safetensors or pytorch_model.bin")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_model_needs_is_wanted() {
        let paths = [
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "onnx/model.onnx",
            "onnx/config.json",
            "1_Pooling/config.json",
            "2_Dense/pytorch_model.bin",
            "vocab.txt",
            "train_script.py",
            ".gitattributes",
            "modules.json",
        ];
        let expected = [
            "README.md",
            "config.json",
            "model.safetensors",
            "modules.json",
            "vocab.txt",
            "1_Pooling/config.json",
            "2_Dense/pytorch_model.bin",
        ];
        assert_eq!(wanted(paths.into_iter()), expected);
        assert_eq!(wanted(["pytorch_model.bin"].into_iter()), ["pytorch_model.bin"]);
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_wanted() {
        let paths = [
            "../config.json",
            "/etc/config.json",
            "/config.json",
            "..\\config.json",
            "1_../config.json",
            "1_Pooling/../../config.json",
            "1_Pooling/../config.json",
            "a/1_Pooling/config.json",
            "./config.json",
            "1_Pooling\\..\\config.json",
            "C:config.json",
            "1_Pooling\0/config.json",
            "config.json\0",
            "",
        ];
        assert!(wanted(paths.into_iter()).is_empty());
    }
}
