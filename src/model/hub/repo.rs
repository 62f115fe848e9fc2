//! What a model is called on the hub, and which names of files are let near the disk.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The branch that is meant when no revision is named.
pub const DEFAULT_REVISION: &str = "main";
/// Longest names that the hub gives out, with room to spare.
const MAX_NAME_BYTES: usize = 96;
const MAX_PATH_BYTES: usize = 1_024;

/// `ORG/NAME[@REVISION]`: a branch, a tag or a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelRef {
    pub org: String,
    pub name: String,
    pub revision: String,
}

impl ModelRef {
    /// `ORG/NAME`.
    pub fn repo(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// The repository's folder in the cache.
    pub fn folder(&self) -> String {
        format!("models--{}--{}", self.org, self.name)
    }

    /// The repository of a folder in the cache, with a revision of it.
    pub fn from_folder(folder: &str, revision: &str) -> Option<Self> {
        let (org, name) = folder.strip_prefix("models--")?.split_once("--")?;
        format!("{org}/{name}@{revision}").parse().ok()
    }
}

impl FromStr for ModelRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        let named = repo.split_once('/').filter(|(org, name)| is_name(org) && is_name(name));
        let is_revision = revision.len() <= MAX_NAME_BYTES && revision.split('/').all(is_name);
        match named {
            Some((org, name)) if is_revision => Ok(Self {
                org: org.to_owned(),
                name: name.to_owned(),
                revision: revision.to_owned(),
            }),
            _ => Err(Error::invalid(
                "model_name",
                format!("`{text}` names no model of the hub; write ORG/NAME or ORG/NAME@REVISION"),
            )),
        }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}@{}", self.org, self.name, self.revision)
    }
}

/// Whether this can be a part of a repository's or a revision's name, and so of a path of ours:
/// the cache joins parts by two hyphens.
fn is_name(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&part.len())
        && part.bytes().all(allowed)
        && !part.starts_with(['.', '-'])
        && !part.contains("--")
        && !part.contains("..")
}

/// Whether a commit or a digest is what it says: `length` small hexadecimal digits.
pub fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of a file as the hub gave it, when it stays within the folder it is put in.
///
/// # Errors
/// `hub_file_name` for any other: a server that sends one is not to be trusted with the rest.
pub fn check_path(path: &str) -> Result<()> {
    let is_plain = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.len() <= 255 && !part.ends_with(' ')
    };
    let is_hostile = |char: char| char.is_control() || matches!(char, '\\' | ':');
    if path.len() <= MAX_PATH_BYTES && path.split('/').all(is_plain) && !path.contains(is_hostile) {
        return Ok(());
    }
    let message = format!("the hub lists a file by the name {path:?}, which leads elsewhere");
    Err(Error::invalid("hub_file_name", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_with_and_without_its_revision() {
        let model: ModelRef = "Qwen/Qwen2.5-0.5B".parse().unwrap();
        assert_eq!(model.folder(), "models--Qwen--Qwen2.5-0.5B");
        assert_eq!(model.revision, "main");
        let model: ModelRef = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!((model.repo().as_str(), model.revision.as_str()), ("a/b", "refs/pr/1"));
        assert_eq!(ModelRef::from_folder(&model.folder(), "refs/pr/1"), Some(model));
    }

    #[test]
    fn what_names_no_model_is_refused() {
        for text in [
            "", "a", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/b@", "a/b@../c", "a/b@x//y",
            "a/b@/x", "a b/c", "a/b\n", "-a/b", "a--b/c", "a/b@a b", "a/b?x", "a/b#x", "a/b%2f",
            "模/型", ".a/b",
        ] {
            assert_eq!(text.parse::<ModelRef>().unwrap_err().code, "model_name", "{text:?}");
        }
    }

    #[test]
    fn hostile_file_names_are_refused() {
        for path in ["config.json", "1_Pooling/config.json", "a..b.json", ".gitattributes"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        let long = "x".repeat(256);
        for path in [
            "",
            "/etc/passwd",
            "../x.json",
            "a/../../x.json",
            "a//b",
            "./x",
            "a/./b",
            "a\\b",
            "c:x",
            "x\0.json",
            "x\n.json",
            "a/",
            &long,
        ] {
            assert_eq!(check_path(path).unwrap_err().code, "hub_file_name", "{path:?}");
        }
    }
}
