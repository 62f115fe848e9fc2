//! `[vectors]`: where the vector index is kept.

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::Secret;

/// `[vectors]`. All but `url` matter only where there is one; `shards`, `replicas`,
/// `quantization` and `on_disk` are what collections are made with, so a change reaches those
/// that exist when they are rebuilt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorsConfig {
    /// A Qdrant server's gRPC address, `http(s)://host:6334`; empty keeps the index in this
    /// process, below `[data] dir`.
    pub url: String,
    /// Sent with every call; empty for a server that asks for none.
    pub api_key: Secret,
    /// How the names of this installation's collections begin.
    pub prefix: String,
    pub shards: u32,
    /// Copies of each shard.
    pub replicas: u32,
    pub quantization: Quantization,
    /// Keeps vectors, terms and payloads on disk instead of in memory.
    pub on_disk: bool,
    /// Longest time for one read. Writes, which wait until they are applied, get six times that.
    pub timeout_ms: u64,
}

/// How dense vectors are compressed in memory. What a search finds with compressed vectors is
/// scored again with the whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    None,
    /// One byte to a dimension.
    Scalar,
    /// One bit to a dimension: for vectors of a thousand dimensions and more.
    Binary,
}

impl Default for VectorsConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            api_key: Secret::default(),
            prefix: "querent".into(),
            shards: 1,
            replicas: 1,
            quantization: Quantization::None,
            on_disk: false,
            timeout_ms: 5_000,
        }
    }
}

impl VectorsConfig {
    /// What cannot be used, as key, value and reason; a secret is never a part of it.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_url()?;
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(in_name) {
            let prefix = &self.prefix;
            return Err(format!(
                "[vectors] prefix = {prefix:?} must be 1 to 64 of a-z A-Z 0-9 _ -"
            ));
        }
        if !self.api_key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("[vectors] api_key holds a character that no key has".into());
        }
        if self.shards == 0 || self.replicas == 0 || self.timeout_ms == 0 {
            return Err("[vectors] shards, replicas and timeout_ms must be above 0".into());
        }
        Ok(())
    }

    /// The address is never repeated: a password may stand in it.
    fn check_url(&self) -> Result<(), String> {
        if self.url.is_empty() {
            return Ok(());
        }
        let usable = Url::parse(&self.url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && (url.path(), url.query(), url.fragment()) == ("/", None, None)
                && (url.username(), url.password()) == ("", None)
        });
        if usable {
            return Ok(());
        }
        Err("[vectors] url must be like http://host:6334 or https://host:6334, with nothing \
             after the port; a key goes into api_key"
            .into())
    }

    /// Whether the key crosses a network where others may read it.
    pub fn exposes_key(&self) -> bool {
        let Ok(url) = Url::parse(&self.url) else { return false };
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        !self.api_key.is_empty() && url.scheme() == "http" && !is_here
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, VectorsConfig};

    fn with_url(url: &str) -> VectorsConfig {
        VectorsConfig { url: url.into(), api_key: Secret::new("k3y"), ..VectorsConfig::default() }
    }

    #[test]
    fn addresses_are_checked_and_not_repeated() {
        for url in ["", "http://localhost:6334", "https://q.example:6334", "http://[::1]:6334/"] {
            assert_eq!(with_url(url).check(), Ok(()), "{url}");
        }
        for url in ["qdrant:6334", "ftp://h:1", "http://u:pass@h:1", "http://h:1/x", "http://h?a=b"]
        {
            let problem = with_url(url).check().unwrap_err();
            assert!(problem.contains("[vectors] url") && !problem.contains("pass"), "{problem}");
        }
    }

    #[test]
    fn other_values_are_checked() {
        type Spoil = fn(&mut VectorsConfig);
        let cases: [(Spoil, &str); 5] = [
            (|config| config.prefix = "a b".into(), "prefix"),
            (|config| config.prefix = String::new(), "prefix"),
            (|config| config.api_key = Secret::new("k\ny"), "api_key"),
            (|config| config.shards = 0, "shards"),
            (|config| config.timeout_ms = 0, "timeout_ms"),
        ];
        for (spoil, named) in cases {
            let mut config = VectorsConfig::default();
            spoil(&mut config);
            let problem = config.check().unwrap_err();
            assert!(problem.contains(named) && !problem.contains("k\ny"), "{problem}");
        }
    }

    #[test]
    fn a_key_in_clear_text_is_noticed_beyond_this_machine() {
        for (url, exposed) in [
            ("http://10.0.0.7:6334", true),
            ("http://qdrant:6334", true),
            ("https://10.0.0.7:6334", false),
            ("http://127.0.0.1:6334", false),
            ("http://[::1]:6334", false),
            ("http://localhost:6334", false),
        ] {
            assert_eq!(with_url(url).exposes_key(), exposed, "{url}");
        }
        let without_key = VectorsConfig { api_key: Secret::default(), ..with_url("http://q:6334") };
        assert!(!without_key.exposes_key());
    }
}
