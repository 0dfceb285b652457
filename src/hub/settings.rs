//! Which Hub, with which token, within which limits.

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
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` as huggingface_hub does.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn from_lookup(variable: impl Fn(&str) -> Option<String>) -> Self {
        let defaults = Self::default();
        let is_true = |value: String| matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        Self {
            endpoint: variable("HF_ENDPOINT").map_or(defaults.endpoint, |url| url.trim().trim_end_matches('/').into()),
            token: variable("HF_TOKEN").map(|token| Secret::new(token.trim())),
            offline: variable("HF_HUB_OFFLINE").is_some_and(is_true),
            max_model_bytes: defaults.max_model_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_huggingface_hub_reads_it() {
        let settings = HubSettings::from_lookup(|name| match name {
            "HF_ENDPOINT" => Some("http://mirror:8080/".into()),
            "HF_TOKEN" => Some("hf_abc\n".into()),
            "HF_HUB_OFFLINE" => Some("yes".into()),
            _ => None,
        });
        assert_eq!(settings.endpoint, "http://mirror:8080");
        assert_eq!(settings.token.as_ref().map(Secret::expose), Some("hf_abc"));
        assert!(settings.offline);
        assert!(!format!("{settings:?}").contains("hf_abc"), "the token would be logged");
        assert!(!HubSettings::from_lookup(|_| Some("0".into())).offline);
    }
}
