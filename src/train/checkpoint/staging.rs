//! A folder that appears whole or not at all: it is filled beside its place under the name
//! `tmp-<name>-<pid>`, each file synced, and renamed once everything lies on the disk. A process
//! killed at any instant leaves at most a `tmp-…` folder, which [`remove_leftovers`] takes away.

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::model::tensor_file::{self, FileMetadata, NamedTensor, write_failed};

/// How names of unfinished folders begin.
pub const STAGING_PREFIX: &str = "tmp-";
/// Bytes hashed or copied at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// One file of a folder, as its manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The path within the folder, with `/`.
    pub name: String,
    pub bytes: u64,
    /// Lower-case hexadecimal digits.
    pub sha256: String,
}

/// A folder being filled. Dropped without [`StagedFolder::commit`], it is removed again.
#[derive(Debug)]
pub struct StagedFolder {
    staging: PathBuf,
    target: PathBuf,
    files: Vec<FileEntry>,
}

impl StagedFolder {
    /// Starts a folder that shall become `target`; folders above it are made, and what an earlier
    /// process left of the same target is removed. Two processes must not write one target.
    ///
    /// # Errors
    /// `train_target` when `target` has no name of its own; `disk_full`, `disk_write`.
    pub fn begin(target: &Path) -> Result<Self> {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name else { return Err(refused(target, "is no name for a folder")) };
        let parent = parent(target);
        create_dirs(&parent)?;
        let prefix = format!("{STAGING_PREFIX}{name}-");
        remove_dirs(&parent, |found| {
            found.strip_prefix(&prefix).is_some_and(|id| id.parse::<u32>().is_ok())
        })?;
        let staging = parent.join(format!("{prefix}{}", std::process::id()));
        create_dirs(&staging)?;
        Ok(Self { staging, target: target.to_owned(), files: Vec::new() })
    }

    /// As [`Self::begin`], for a target that must not hold anything yet.
    ///
    /// # Errors
    /// `train_target` when it is a file or a folder with something in it.
    pub fn begin_fresh(target: &Path) -> Result<Self> {
        if target.exists() && !is_empty_dir(target)? {
            return Err(refused(
                target,
                "is not empty; name a new folder, or remove this one first",
            ));
        }
        Self::begin(target)
    }

    /// What has been written so far, in the order of writing.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Writes one file; `name` may lead into folders below.
    ///
    /// # Errors
    /// `train_target` for a name that leads out of the folder; `disk_full`, `disk_write`.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_with(name, |out, path| {
            out.write_all(bytes).map_err(|source| write_failed(path, source))
        })
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// As [`tensor_file::write_to`] and [`Self::write_bytes`].
    pub fn write_tensors(
        &mut self,
        name: &str,
        tensors: &[NamedTensor],
        metadata: &FileMetadata,
    ) -> Result<()> {
        self.write_with(name, |out, path| tensor_file::write_to(out, path, tensors, metadata))
    }

    /// Copies a file from elsewhere.
    ///
    /// # Errors
    /// As [`Self::write_bytes`].
    pub fn copy(&mut self, name: &str, source: &Path) -> Result<()> {
        let mut file = fs_err::File::open(source)?;
        self.write_with(name, |out, path| {
            copy_all(&mut file, out).map_err(|source| write_failed(path, source))
        })
    }

    /// Makes a folder below that may stay empty.
    ///
    /// # Errors
    /// As [`Self::write_bytes`].
    pub fn make_dir(&mut self, name: &str) -> Result<()> {
        create_dirs(&self.path_of(name)?)
    }

    /// Puts the folder in its place and returns where it is. An empty folder there is replaced.
    ///
    /// # Errors
    /// `disk_write` when the place is taken.
    pub fn commit(mut self) -> Result<PathBuf> {
        self.sync_dirs()?;
        fs_err::rename(&self.staging, &self.target)
            .map_err(|source| write_failed(&self.target, source))?;
        // From here on there is nothing for `drop` to remove.
        self.staging = PathBuf::new();
        sync_dir(&parent(&self.target))?;
        Ok(self.target.clone())
    }

    fn write_with(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut HashingWriter, &Path) -> Result<()>,
    ) -> Result<()> {
        let path = self.path_of(name)?;
        create_dirs(&parent(&path))?;
        let failed = |source| write_failed(&path, source);
        let file = fs_err::File::create(&path).map_err(failed)?;
        let mut out = HashingWriter::new(file);
        fill(&mut out, &path)?;
        let (bytes, sha256) = out.finish().map_err(failed)?;
        self.files.push(FileEntry { name: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    fn path_of(&self, name: &str) -> Result<PathBuf> {
        if is_plain(name) {
            Ok(self.staging.join(name))
        } else {
            Err(refused(Path::new(name), "is no name for a file of the folder"))
        }
    }

    /// Syncs every folder, innermost first, so that the names in them survive a loss of power.
    fn sync_dirs(&self) -> Result<()> {
        let mut dirs = vec![self.staging.clone()];
        let mut at = 0;
        while let Some(dir) = dirs.get(at).cloned() {
            for entry in fs_err::read_dir(&dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    dirs.push(path);
                }
            }
            at += 1;
        }
        dirs.iter().rev().try_for_each(|dir| sync_dir(dir))
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.staging.as_os_str().is_empty() {
            // Nobody can be told here; what stays is removed at the next start.
            fs_err::remove_dir_all(&self.staging).ok();
        }
    }
}

/// Removes what a killed process left unfinished in a folder, and returns the names. Only one run
/// at a time may write into a folder, so that nothing found here is still in use.
///
/// # Errors
/// When the folder cannot be read or an entry cannot be removed.
pub fn remove_leftovers(dir: &Path) -> Result<Vec<String>> {
    remove_dirs(dir, |name| name.starts_with(STAGING_PREFIX))
}

/// Length and SHA-256 of a file on the disk.
///
/// # Errors
/// When it cannot be read.
pub fn digest(path: &Path) -> Result<(u64, String)> {
    let mut file = fs_err::File::open(path)?;
    let mut sink = HashingWriter::new(io::sink());
    copy_all(&mut file, &mut sink)?;
    Ok((sink.n_bytes, hexadecimal(&sink.hash.finalize())))
}

/// Whether a name stays within its folder.
pub(super) fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    let failed = |source| write_failed(dir, source);
    fs_err::File::open(dir).map_err(failed)?.sync_all().map_err(failed)
}

pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn create_dirs(dir: &Path) -> Result<()> {
    fs_err::create_dir_all(dir).map_err(|source| write_failed(dir, source))
}

/// Removes the folders in `dir` whose name is chosen, and returns the names.
fn remove_dirs(dir: &Path, is_chosen: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_chosen(&name) && entry.file_type()?.is_dir() {
            fs_err::remove_dir_all(entry.path())?;
            removed.push(name);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Counts and hashes what passes through.
struct HashingWriter<W = fs_err::File> {
    out: W,
    hash: Sha256,
    n_bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), n_bytes: 0 }
    }
}

impl HashingWriter {
    fn finish(self) -> io::Result<(u64, String)> {
        self.out.sync_all()?;
        Ok((self.n_bytes, hexadecimal(&self.hash.finalize())))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.out.write(bytes)?;
        self.hash.update(&bytes[..n_written]);
        self.n_bytes += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn copy_all(source: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n_read = source.read(&mut buffer)?;
        if n_read == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..n_read])?;
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_empty_dir(path: &Path) -> Result<bool> {
    Ok(path.is_dir() && fs_err::read_dir(path)?.next().is_none())
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(Kind::Conflict, "train_target", format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_only_when_committed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let mut folder = StagedFolder::begin_fresh(&target).unwrap();
        folder.write_bytes("a.txt", b"abc").unwrap();
        folder.write_bytes("below/b.txt", b"").unwrap();
        folder.make_dir("empty").unwrap();
        assert!(!target.exists());
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((folder.files()[0].bytes, folder.files()[0].sha256.as_str()), (3, abc));
        assert_eq!(folder.commit().unwrap(), target);
        assert_eq!(digest(&target.join("a.txt")).unwrap(), (3, abc.to_owned()));
        assert!(target.join("below/b.txt").is_file() && target.join("empty").is_dir());
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_committed_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = StagedFolder::begin(&dir.path().join("out")).unwrap();
        folder.write_bytes("a", b"abc").unwrap();
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        drop(folder);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_of_the_same_target_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tmp-out-77", "tmp-out-x", "tmp-out-5-77", "tmp-other-77", "out-77"] {
            fs_err::create_dir_all(dir.path().join(name)).unwrap();
        }
        StagedFolder::begin(&dir.path().join("out")).unwrap().commit().unwrap();
        assert!(!dir.path().join("tmp-out-77").exists());
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_target_with_something_in_it_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("mine"), b"x").unwrap();
        let error = StagedFolder::begin_fresh(dir.path()).unwrap_err();
        assert_eq!(error.code, "train_target");
        assert!(error.message.contains("is not empty"), "{error}");
        let error = StagedFolder::begin_fresh(&dir.path().join("mine")).unwrap_err();
        assert_eq!(error.code, "train_target");
        assert_eq!(fs_err::read(dir.path().join("mine")).unwrap(), b"x");
        // An empty folder that the user made beforehand is fine.
        let empty = dir.path().join("empty");
        fs_err::create_dir_all(&empty).unwrap();
        StagedFolder::begin_fresh(&empty).unwrap().commit().unwrap();
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = StagedFolder::begin(&dir.path().join("out")).unwrap();
        for name in ["../x", "/x", "", "a/../../x"] {
            assert_eq!(folder.write_bytes(name, b"").unwrap_err().code, "train_target", "{name}");
        }
    }
}
