//! The directories of a shard: building beside it, exchanging, moving aside, and trimming the
//! write-ahead log.
//!
//! A shard lives in `<id>`. Beside it there may be `<id>.building` (a rebuild; worthless until
//! it is swapped in), `<id>.old` (the one that a rebuild replaced) and `<id>.broken` (one that
//! did not load; while it stands alone the collection has to be rebuilt).

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::error::{Error, Result};

const BUILDING: &str = "building";
const OLD: &str = "old";
const BROKEN: &str = "broken";

/// Finishes or undoes what a crash cut short, for all shards of a directory.
pub(super) fn recover(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(BUILDING) => fs::remove_dir_all(&path)?,
            Some(OLD) if path.with_extension("").exists() => fs::remove_dir_all(&path)?,
            Some(OLD) => fs::rename(&path, path.with_extension(""))?,
            Some(BROKEN) if path.with_extension("").exists() => fs::remove_dir_all(&path)?,
            _ => {}
        }
    }
    sync_directory(directory)
}

/// An empty directory to build in.
pub(super) fn start_build(path: &Path) -> Result<PathBuf> {
    let building = path.with_extension(BUILDING);
    remove_if_there(&building)?;
    fs::create_dir_all(&building)?;
    Ok(building)
}

/// Gives a build up. What cannot be removed now is removed at the next start.
pub(super) fn discard_build(building: &Path) {
    let _ = fs::remove_dir_all(building);
}

/// Puts a finished build in the place of the shard, which must be closed.
pub(super) fn exchange(path: &Path, building: &Path) -> Result<()> {
    let old = path.with_extension(OLD);
    remove_if_there(&old)?;
    if path.exists() {
        fs::rename(path, &old)?;
    }
    fs::rename(building, path)?;
    sync_parent(path)?;
    remove_if_there(&old)?;
    remove_if_there(&path.with_extension(BROKEN))
}

/// Takes a shard that does not load out of the way, and keeps it for whoever wants to look.
pub(super) fn move_aside(path: &Path) -> Result<()> {
    let broken = path.with_extension(BROKEN);
    remove_if_there(&broken)?;
    fs::rename(path, &broken)?;
    sync_parent(path)
}

/// Whether the shard was moved aside and has not been rebuilt.
pub(super) fn is_broken(path: &Path) -> bool {
    !path.exists() && path.with_extension(BROKEN).exists()
}

/// Removes a shard and everything beside it.
pub(super) fn remove(path: &Path) -> Result<()> {
    for extension in [BUILDING, OLD, BROKEN] {
        remove_if_there(&path.with_extension(extension))?;
    }
    remove_if_there(path)?;
    sync_parent(path)
}

/// Removes closed segments of the log but the newest, which carries the numbering of
/// operations on. qdrant-edge 0.7.2 reads none of them again, and never removes any.
pub(super) fn trim_wal(path: &Path) -> Result<()> {
    let directory = path.join("wal");
    if !directory.exists() {
        return Ok(());
    }
    let mut closed = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let file = entry?;
        let name = file.file_name();
        let start = name.to_str().and_then(|name| name.strip_prefix("closed-"));
        if let Some(start) = start.and_then(|start| start.parse::<u64>().ok()) {
            closed.push((start, file.path()));
        }
    }
    closed.sort();
    closed.pop();
    for (_, file) in closed {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// Makes a finished build durable before it takes the place of a good one.
pub(super) fn sync_tree(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            fs::File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(directory)
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path
        .parent()
        .ok_or_else(|| Error::internal(format!("{} has no parent", path.display())))?;
    sync_directory(parent)
}

fn sync_directory(directory: &Path) -> Result<()> {
    Ok(fs::File::open(directory)?.sync_all()?)
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}
