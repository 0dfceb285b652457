//! Which Hub, with which token, within which limits.

use std::path::{Path, PathBuf};

use crate::domain::Secret;

/// Which Hub, with which token, within which limits.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The Hub's address.
    pub endpoint: String,
    /// The token sent to it.
    pub token: Option<Secret>,
    /// True where nothing may be downloaded.
    pub offline: bool,
    /// The most bytes that one model's files may take.
    pub max_model_bytes: u64,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self { endpoint: "https://huggingface.co".into(), token: None, offline: false, max_model_bytes: 8 << 30 }
    }
}

impl HubSettings {
    /// Reads the environment as huggingface_hub does: `HF_ENDPOINT`, `HF_HUB_OFFLINE`, and the token from `HF_TOKEN` or
    /// the file that `hf auth login` writes.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self::from_lookup(variable, |path| std::fs::read_to_string(path).ok())
    }

    fn from_lookup(variable: impl Fn(&str) -> Option<String>, file: impl Fn(&Path) -> Option<String>) -> Self {
        let defaults = Self::default();
        Self {
            endpoint: variable("HF_ENDPOINT").map_or(defaults.endpoint, |url| url.trim().trim_end_matches('/').into()),
            token: token(&variable, file),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_true),
            max_model_bytes: defaults.max_model_bytes,
        }
    }

    /// The endpoint as messages show it: without a user and password that its URL may hold.
    #[must_use]
    pub fn shown_endpoint(&self) -> String {
        match (self.endpoint.split_once("://"), self.endpoint.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => self.endpoint.clone(),
        }
    }
}

fn is_true(value: String) -> bool {
    matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// `HF_TOKEN`, else the first line of `HF_TOKEN_PATH`, else of `$HF_HOME/token`.
fn token(variable: impl Fn(&str) -> Option<String>, file: impl Fn(&Path) -> Option<String>) -> Option<Secret> {
    let path = || {
        variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| {
            let home = variable("HF_HOME").map(PathBuf::from);
            let home = home.or_else(|| Some(PathBuf::from(variable("XDG_CACHE_HOME")?).join("huggingface")));
            let home = home.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache/huggingface")));
            Some(home?.join("token"))
        })
    };
    let implicit = || {
        let off = variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(is_true);
        if off { None } else { file(&path()?) }
    };
    let token = variable("HF_TOKEN").or_else(implicit)?;
    let token = token.trim();
    (!token.is_empty()).then(|| Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(settings: &HubSettings) -> Option<&str> {
        settings.token.as_ref().map(Secret::expose)
    }

    #[test]
    fn the_environment_is_read_as_huggingface_hub_reads_it() {
        let settings = HubSettings::from_lookup(
            |name| match name {
                "HF_ENDPOINT" => Some("http://mirror:8080/".into()),
                "HF_TOKEN" => Some("hf_abc\n".into()),
                "HF_HUB_OFFLINE" => Some("yes".into()),
                _ => None,
            },
            |_| Some("hf_of_the_file".into()),
        );
        assert_eq!(settings.endpoint, "http://mirror:8080");
        assert_eq!(token_of(&settings), Some("hf_abc"));
        assert!(settings.offline);
        assert!(!format!("{settings:?}").contains("hf_abc"), "the token would be logged");
        assert!(!HubSettings::from_lookup(|_| Some("0".into()), |_| None).offline);
    }

    #[test]
    fn without_the_variable_the_token_is_read_from_its_file() {
        let read = |name: &'static str, value: &'static str, expected: &'static str| {
            HubSettings::from_lookup(
                |asked| (asked == name).then(|| value.to_owned()),
                |path| (path == Path::new(expected)).then(|| "hf_of_the_file\n".to_owned()),
            )
        };
        for (name, value, expected) in [
            ("HF_TOKEN_PATH", "/run/secrets/hf", "/run/secrets/hf"),
            ("HF_HOME", "/hf", "/hf/token"),
            ("XDG_CACHE_HOME", "/cache", "/cache/huggingface/token"),
            ("HOME", "/home/me", "/home/me/.cache/huggingface/token"),
        ] {
            assert_eq!(token_of(&read(name, value, expected)), Some("hf_of_the_file"), "{name}");
        }
        assert_eq!(token_of(&read("HF_HOME", "/hf", "/elsewhere")), None);
    }

    #[test]
    fn a_password_in_the_endpoint_is_not_shown() {
        let shown = |endpoint: &str| HubSettings { endpoint: endpoint.into(), ..Default::default() }.shown_endpoint();
        assert_eq!(shown("https://me:secret@mirror.example"), "https://mirror.example");
        assert_eq!(shown("https://huggingface.co"), "https://huggingface.co");
    }
}
