//! The cache on disk, as `huggingface_hub` lays it out: `models--ORG--NAME/` with `blobs/DIGEST`,
//! `snapshots/COMMIT/FILE` (links to blobs) and `refs/REVISION` (the commit of it).

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use super::digest::FileDigest;
use super::repo::{ModelRef, is_hex};
use super::settings::HubSettings;
use crate::error::Result;
use crate::model::files::ModelFolder;

/// `refs` are as deep as revisions have slashes: `refs/pr/1`.
const MAX_REF_DEPTH: usize = 4;

/// A model of the cache at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    pub model: ModelRef,
    pub commit: String,
    /// The snapshot's folder.
    pub path: PathBuf,
}

impl CachedModel {
    /// The folder, by the repository's name and its commit.
    ///
    /// # Errors
    /// `model_files` when no model is in it.
    pub fn open(&self) -> Result<ModelFolder> {
        let id = format!("{}@{}", self.model.repo(), &self.commit[..12.min(self.commit.len())]);
        Ok(ModelFolder::open(&self.path)?.with_id(id))
    }
}

/// One repository's folder.
pub struct RepoCache {
    dir: PathBuf,
    lock: PathBuf,
}

impl RepoCache {
    pub fn new(settings: &HubSettings, model: &ModelRef) -> Self {
        let folder = model.folder();
        let lock = settings.cache.join(".locks").join(&folder).join("querent.lock");
        Self { dir: settings.cache.join(folder), lock }
    }

    /// Waits for other processes that pull the same repository; `on_wait` is told of it. The lock
    /// ends with the file.
    pub fn lock(&self, on_wait: impl FnOnce()) -> Result<fs_err::File> {
        if let Some(dir) = self.lock.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let file =
            fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(&self.lock)?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                on_wait();
                file.file().lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(file)
    }

    pub fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub fn blob(&self, digest: &FileDigest) -> PathBuf {
        self.blobs().join(digest.as_str())
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// Puts a blob into a snapshot under its name, in one step.
    pub fn link(&self, commit: &str, path: &str, digest: &FileDigest) -> Result<()> {
        let link = self.snapshot(commit).join(path);
        let up = "../".repeat(2 + path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", digest.as_str()));
        if fs_err::read_link(&link).is_ok_and(|held| held == target) {
            return Ok(());
        }
        if let Some(dir) = link.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let staging = self.dir.join("snapshots").join(format!(".linking-{}", std::process::id()));
        if staging.symlink_metadata().is_ok() {
            fs_err::remove_file(&staging)?;
        }
        fs_err::os::unix::fs::symlink(&target, &staging)?;
        Ok(fs_err::rename(&staging, &link)?)
    }

    /// Notes the commit of a revision, in one step.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.dir.join("refs").join(revision);
        if let Some(dir) = path.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let staging = self.dir.join(format!(".ref-{}", std::process::id()));
        fs_err::write(&staging, commit)?;
        Ok(fs_err::rename(&staging, &path)?)
    }

    /// The commit of a revision: of a branch or a tag as it was when it was last pulled.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_hex(revision, 40) {
            return Some(revision.to_owned());
        }
        let commit = fs_err::read_to_string(self.dir.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        is_hex(commit, 40).then(|| commit.to_owned())
    }
}

/// The model in the cache; none when it was not pulled. Makes no connection.
pub fn find(settings: &HubSettings, model: &ModelRef) -> Option<CachedModel> {
    let repo = RepoCache::new(settings, model);
    let commit = repo.commit(&model.revision)?;
    let path = repo.snapshot(&commit);
    path.is_dir().then(|| CachedModel { model: model.clone(), commit, path })
}

/// All models of the cache at all revisions that were pulled, by name.
///
/// # Errors
/// When a folder of it cannot be read; a cache that is not there holds nothing.
pub fn cached(settings: &HubSettings) -> Result<Vec<CachedModel>> {
    let mut found = Vec::new();
    for folder in names(&settings.cache)? {
        let mut revisions = Vec::new();
        let refs = settings.cache.join(&folder).join("refs");
        collect_refs(&refs, "", MAX_REF_DEPTH, &mut revisions)?;
        let models = revisions.iter().filter_map(|rev| ModelRef::from_folder(&folder, rev));
        found.extend(models.filter_map(|model| find(settings, &model)));
    }
    found.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(found)
}

fn collect_refs(dir: &Path, prefix: &str, depth: usize, revisions: &mut Vec<String>) -> Result<()> {
    for name in names(dir)? {
        let path = dir.join(&name);
        if path.is_file() {
            revisions.push(format!("{prefix}{name}"));
        } else if path.is_dir() && depth > 1 {
            collect_refs(&path, &format!("{prefix}{name}/"), depth - 1, revisions)?;
        }
    }
    Ok(())
}

/// The names in a folder; none when it is not there.
fn names(dir: &Path) -> Result<Vec<String>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
