//! Where the hub is, where its cache lies and with which token, by the variables that all of
//! Hugging Face's tools understand, so that they share one cache and one login.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::Secret;
use crate::error::{Error, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The settings of the environment.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Without a slash at its end.
    pub endpoint: String,
    /// The folder of `models--…`.
    pub cache: PathBuf,
    /// Whether no connection may be made.
    pub offline: bool,
    token: Secret,
    token_path: PathBuf,
}

impl HubSettings {
    /// Reads `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN` and
    /// `HF_TOKEN_PATH` of this process.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().trim().to_owned());
        let user_cache = || match set("XDG_CACHE_HOME") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(set("HOME").unwrap_or_default()).join(".cache"),
        };
        let home = set("HF_HOME").map_or_else(|| user_cache().join("huggingface"), PathBuf::from);
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let is_true = |value: String| {
            matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
        };
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            offline: text("HF_HUB_OFFLINE").is_some_and(is_true),
            token: Secret::new(text("HF_TOKEN").unwrap_or_default()),
            token_path: set("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from),
        }
    }

    /// The token of the environment, or of the file that a login left; empty when there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn token(&self) -> Result<Secret> {
        if !self.token.is_empty() {
            return Ok(self.token.clone());
        }
        match fs_err::read_to_string(&self.token_path) {
            Ok(text) => Ok(Secret::new(text.trim())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Secret::default()),
            Err(error) => Err(Error::failed("read the hub's token", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> HubSettings {
        HubSettings::from_variables(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_lies_where_other_tools_look_for_it() {
        let cache = |variables: &[(&str, &str)]| settings(variables).cache;
        let home = ("HOME", "/home/a");
        assert_eq!(cache(&[home]), PathBuf::from("/home/a/.cache/huggingface/hub"));
        assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/huggingface/hub"));
        assert_eq!(cache(&[home, ("HF_HOME", "/h")]), PathBuf::from("/h/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), PathBuf::from("/c"));
        assert_eq!(
            cache(&[home, ("HF_HOME", "")]),
            PathBuf::from("/home/a/.cache/huggingface/hub")
        );
    }

    #[test]
    fn the_endpoint_and_offline_are_read() {
        assert_eq!(settings(&[]).endpoint, "https://huggingface.co");
        assert_eq!(settings(&[("HF_ENDPOINT", "http://m/hf/")]).endpoint, "http://m/hf");
        for (value, offline) in [("1", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(settings(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
    }

    #[test]
    fn the_token_comes_from_the_environment_before_the_file_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", dir.path().to_str().unwrap());
        assert!(settings(&[home]).token().unwrap().is_empty());
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(settings(&[home]).token().unwrap().expose(), "hf_file");
        let both = settings(&[home, ("HF_TOKEN", " hf_env ")]);
        assert_eq!(both.token().unwrap().expose(), "hf_env");
        assert!(!format!("{both:?}").contains("hf_env"));
        let other = dir.path().join("other");
        std::fs::write(&other, "hf_other").unwrap();
        let named = settings(&[home, ("HF_TOKEN_PATH", other.to_str().unwrap())]);
        assert_eq!(named.token().unwrap().expose(), "hf_other");
    }
}
