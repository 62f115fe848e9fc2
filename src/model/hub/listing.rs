//! What a repository holds at one commit, and which of it is taken.

use serde::Deserialize;

use super::digest::FileDigest;
use super::repo::{ModelRef, check_path, is_hex};
use crate::error::{Error, Kind, Result};

/// More files than any model has.
const MAX_FILES: usize = 20_000;
/// Read by every loader as code, so never taken.
const PICKLES: [&str; 7] = [".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack"];
const SMALL_DATA: [&str; 3] = [".json", ".txt", ".jinja"];
const DOCUMENTS: [&str; 3] = ["README", "LICENSE", "NOTICE"];

/// A repository at a commit.
#[derive(Debug)]
pub struct Listing {
    pub commit: String,
    pub files: Vec<RemoteFile>,
}

/// A file of it; a mirror may leave out what it is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    pub path: String,
    pub n_bytes: Option<u64>,
    pub digest: Option<FileDigest>,
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<RawLfs>,
}

#[derive(Deserialize)]
struct RawLfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer.
    ///
    /// # Errors
    /// `hub_answer` for one that makes no sense, `hub_file_name` for a hostile name.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let raw: RawListing = serde_json::from_slice(json)
            .map_err(|error| senseless(format!("its list of files cannot be read: {error}")))?;
        if !is_hex(&raw.sha, 40) || raw.siblings.len() > MAX_FILES {
            return Err(senseless("its list of files names no commit, or too many files"));
        }
        let files = raw.siblings.into_iter().map(RawFile::checked).collect::<Result<_>>()?;
        Ok(Self { commit: raw.sha, files })
    }

    /// The files to take, small ones and `config.json` before weights: safetensors if there are
    /// any, else the only GGUF file; or those that are `named`.
    ///
    /// # Errors
    /// `hub_pickle`, `hub_no_weights`, `hub_which_file` and `hub_no_file`, each with what to do.
    pub fn choose(&self, model: &ModelRef, named: &[String]) -> Result<Vec<RemoteFile>> {
        let mut chosen: Vec<&RemoteFile> =
            self.files.iter().filter(|file| file.is_data()).collect();
        chosen.sort_by_key(|file| (file.path != "config.json", &file.path));
        let weights = if named.is_empty() {
            self.weights(model)?
        } else {
            named.iter().map(|path| self.named(model, path)).collect::<Result<_>>()?
        };
        chosen.retain(|file| !weights.contains(file));
        chosen.extend(weights);
        Ok(chosen.into_iter().cloned().collect())
    }

    fn weights(&self, model: &ModelRef) -> Result<Vec<&RemoteFile>> {
        let safetensors = self.at_root(&[".safetensors"]);
        let ggufs = self.at_root(&[".gguf"]);
        match (safetensors.len(), ggufs.len()) {
            (0, 0) => Err(self.without_weights(model)),
            (0, 1) => Ok(ggufs),
            (0, _) => {
                let paths: Vec<&str> = ggufs.iter().map(|file| file.path.as_str()).collect();
                let message = format!(
                    "{} holds several GGUF files; add --file with one of: {}",
                    model.repo(),
                    paths.join(", ")
                );
                Err(Error::invalid("hub_which_file", message))
            }
            _ => Ok(safetensors),
        }
    }

    fn named(&self, model: &ModelRef, path: &str) -> Result<&RemoteFile> {
        let found = self.files.iter().find(|file| file.path == path);
        let takes =
            |file: &&RemoteFile| file.ends_with(&[".safetensors", ".gguf"]) || file.is_data();
        found.filter(takes).ok_or_else(|| {
            let repo = model.repo();
            let message = format!("{repo} has no file `{path}` of safetensors, GGUF or JSON");
            Error::not_found("hub_no_file", message)
        })
    }

    fn without_weights(&self, model: &ModelRef) -> Error {
        let repo = model.repo();
        match self.files.iter().find(|file| file.ends_with(&PICKLES)) {
            Some(file) => {
                let message = format!(
                    "{repo} has pickled weights only ({}), which can run code as they are read; \
                     choose a repository with safetensors or GGUF",
                    file.path
                );
                Error::new(Kind::Unsupported, "hub_pickle", message)
            }
            None => {
                let message = format!("{repo} holds no safetensors and no GGUF file at its root");
                Error::new(Kind::Unsupported, "hub_no_weights", message)
            }
        }
    }

    fn at_root(&self, endings: &[&str]) -> Vec<&RemoteFile> {
        let files = self.files.iter();
        files.filter(|file| !file.path.contains('/') && file.ends_with(endings)).collect()
    }
}

impl RemoteFile {
    /// Whether it is taken whatever the weights are. Folders hold parts of embedders as JSON, and
    /// exports to other formats.
    fn is_data(&self) -> bool {
        match self.path.contains('/') {
            true => self.ends_with(&[".json"]),
            false => {
                let starts = |name: &&str| self.path.starts_with(*name);
                let is_document = DOCUMENTS.iter().any(starts);
                self.ends_with(&SMALL_DATA) || is_document && !self.ends_with(&PICKLES)
            }
        }
    }

    fn ends_with(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.path.ends_with(ending))
    }
}

impl RawFile {
    fn checked(self) -> Result<RemoteFile> {
        check_path(&self.rfilename)?;
        let (n_bytes, digest) = match self.lfs {
            Some(lfs) => (Some(lfs.size), Some(lfs.sha256)),
            None => (self.size, self.blob_id),
        };
        let digest = digest.as_deref().and_then(FileDigest::parse);
        Ok(RemoteFile { path: self.rfilename, n_bytes, digest })
    }
}

pub fn senseless(what: impl std::fmt::Display) -> Error {
    let message = format!("the hub's answer makes no sense: {what}; check HF_ENDPOINT");
    Error::new(Kind::Unavailable, "hub_answer", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Result<Listing> {
        let siblings: Vec<_> =
            paths.iter().map(|path| serde_json::json!({ "rfilename": path })).collect();
        let json = serde_json::json!({ "sha": "a".repeat(40), "siblings": siblings });
        Listing::parse(json.to_string().as_bytes())
    }

    fn chosen(paths: &[&str], named: &[&str]) -> Result<Vec<String>> {
        let named: Vec<String> = named.iter().map(|path| (*path).to_owned()).collect();
        let files = listing(paths)?.choose(&"a/b".parse().unwrap(), &named)?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn data_is_taken_and_code_is_left() {
        let paths = [
            "model.safetensors",
            "modeling.py",
            "pytorch_model.bin",
            "tokenizer.json",
            "config.json",
            "README.md",
            "1_Pooling/config.json",
            "onnx/model.onnx",
            "LICENSE",
            "LICENSE.bin",
            "original/weights.safetensors",
            "vocab.txt",
            "run.sh",
            "x.gguf",
            "chat_template.jinja",
            ".gitattributes",
        ];
        let taken = [
            "config.json",
            "1_Pooling/config.json",
            "LICENSE",
            "README.md",
            "chat_template.jinja",
            "tokenizer.json",
            "vocab.txt",
            "model.safetensors",
        ];
        assert_eq!(chosen(&paths, &[]).unwrap(), taken);
    }

    #[test]
    fn one_gguf_is_taken_and_of_several_the_named_one() {
        assert_eq!(chosen(&["a.gguf", "x.bin"], &[]).unwrap(), ["a.gguf"]);
        assert_eq!(chosen(&["a.gguf", "b.gguf"], &["b.gguf"]).unwrap(), ["b.gguf"]);
        let error = chosen(&["a.gguf", "b.gguf"], &[]).unwrap_err();
        assert_eq!(error.code, "hub_which_file");
        assert!(error.message.contains("a.gguf, b.gguf"), "{error}");
        for path in ["c.gguf", "run.sh"] {
            assert_eq!(chosen(&["a.gguf", "run.sh"], &[path]).unwrap_err().code, "hub_no_file");
        }
    }

    #[test]
    fn pickled_weights_are_refused_in_one_sentence() {
        assert_eq!(chosen(&["pytorch_model.bin"], &[]).unwrap_err().code, "hub_pickle");
        assert_eq!(chosen(&["config.json"], &[]).unwrap_err().code, "hub_no_weights");
    }

    #[test]
    fn one_hostile_name_spoils_the_list() {
        let error = listing(&["model.safetensors", "../../.bashrc"]).unwrap_err();
        assert_eq!(error.code, "hub_file_name");
        for json in ["{}", "[]", r#"{"sha":"main","siblings":[]}"#, "<html>"] {
            assert_eq!(Listing::parse(json.as_bytes()).unwrap_err().code, "hub_answer", "{json}");
        }
    }

    #[test]
    fn large_files_go_by_sha256_and_small_ones_by_their_blob() {
        let (sha256, sha1) = ("b".repeat(64), "c".repeat(40));
        let json = serde_json::json!({ "sha": "a".repeat(40), "siblings": [
            { "rfilename": "w", "size": 9, "blobId": sha1, "lfs": { "sha256": sha256, "size": 7, "pointerSize": 1 } },
            { "rfilename": "c", "size": 9, "blobId": sha1 },
        ]});
        let files = Listing::parse(json.to_string().as_bytes()).unwrap().files;
        assert_eq!(
            (files[0].n_bytes, &files[0].digest),
            (Some(7), &Some(FileDigest::Sha256(sha256)))
        );
        assert_eq!(
            (files[1].n_bytes, &files[1].digest),
            (Some(9), &Some(FileDigest::GitBlob(sha1)))
        );
    }
}
