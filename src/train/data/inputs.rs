//! From what a person names to the files to read: plain files, folders, and datasets of a
//! `dataset_info.json`, named as `DIR/dataset_info.json#NAME` or found beside a file.

use std::path::{Path, PathBuf};

use super::dataset_info::{DatasetInfo, Entry, FILE_NAME};
use super::fit;
use super::passages::{passages_of, queries_of};
use super::rows::Task;
use crate::error::{Error, Result};

/// Files of tables and archives, which a person may well try.
const OTHER_TYPES: [&str; 11] =
    ["arrow", "csv", "gz", "parquet", "tsv", "txt", "xls", "xlsx", "xz", "zip", "zst"];

/// Files that are read alike.
#[derive(Debug)]
pub struct Input {
    pub paths: Vec<PathBuf>,
    pub entry: Option<Entry>,
    /// The passages that the queries of the file name.
    pub passages: Option<PathBuf>,
}

/// # Errors
/// `data_missing` without files, `dataset_info` for a dataset that does not fit, and
/// `data_file_missing` and `data_file_type` for files that cannot be read.
pub fn resolve(files: &[PathBuf], task: Task) -> Result<Vec<Input>> {
    if files.is_empty() {
        return Err(Error::invalid("data_missing", "no data file is named"));
    }
    let (mut inputs, mut lone_passages) = (Vec::new(), Vec::new());
    for file in files {
        match dataset(file) {
            Some((info, Some(name))) => inputs.push(described(&info, &name, task)?),
            Some((info, None)) => return Err(DatasetInfo::open(&info)?.unnamed()),
            None => {
                for path in files_of(file)? {
                    match plain(path.clone(), task)? {
                        Some(input) => inputs.push(input),
                        None => lone_passages.push(path),
                    }
                }
            }
        }
    }
    check_passages(&lone_passages, &inputs)?;
    Ok(inputs)
}

/// Passages must be those of some queries that are read, lest they be left out unseen.
fn check_passages(passages: &[PathBuf], inputs: &[Input]) -> Result<()> {
    let read = inputs.iter().filter_map(|input| input.passages.as_ref());
    let read = read.map(fs_err::canonicalize).collect::<Result<Vec<_>, _>>()?;
    for path in passages {
        if !read.contains(&fs_err::canonicalize(path)?) {
            let queries = queries_of(path).unwrap_or_default();
            let message = format!(
                "{} has passages only; name {} too, which has the queries",
                path.display(),
                queries.display()
            );
            return Err(Error::invalid("data_missing", message));
        }
    }
    Ok(())
}

/// The `dataset_info.json` that a name means, and the dataset in it.
fn dataset(file: &Path) -> Option<(PathBuf, Option<String>)> {
    let is_info = |path: &Path| path.file_name().is_some_and(|name| name == FILE_NAME);
    if is_info(file) {
        return Some((file.to_owned(), None));
    }
    let (path, name) = file.to_str()?.rsplit_once('#')?;
    is_info(Path::new(path)).then(|| (PathBuf::from(path), Some(name.to_owned())))
}

fn described(info: &Path, name: &str, task: Task) -> Result<Input> {
    let entry = DatasetInfo::open(info)?.entry(name)?;
    fit::check(&entry, task)?;
    let paths = files_of(&info.with_file_name(&entry.file_name))?;
    Ok(Input { paths, entry: Some(entry), passages: None })
}

/// The file itself, or the files of a folder in the order of their names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        check_type(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for file in fs_err::read_dir(path)? {
        let file = file?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if file.is_file() && !is_hidden && !file.ends_with(FILE_NAME) {
            check_type(&file)?;
            paths.push(file);
        }
    }
    paths.sort();
    if paths.is_empty() {
        let message = format!("the folder {} has no data files", path.display());
        return Err(Error::not_found("data_file_missing", message));
    }
    Ok(paths)
}

fn check_type(path: &Path) -> Result<()> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if OTHER_TYPES.contains(&ending.as_str()) {
        let message = format!(
            "{} is a .{ending} file; only JSONL and JSON are read: convert it",
            path.display()
        );
        return Err(Error::invalid("data_file_type", message));
    }
    Ok(())
}

/// A file as its neighbour `dataset_info.json` describes it, or as its rows look. None for
/// passages, which are read with their queries.
fn plain(path: PathBuf, task: Task) -> Result<Option<Input>> {
    if task == Task::Contrastive {
        return contrastive(path);
    }
    let entry = entry_beside(&path, task)?;
    if let Some(entry) = &entry {
        fit::check(entry, task)?;
    }
    Ok(Some(Input { paths: vec![path], entry, passages: None }))
}

fn contrastive(path: PathBuf) -> Result<Option<Input>> {
    if let Some(queries) = queries_of(&path) {
        return if queries.is_file() { Ok(None) } else { Err(lonely(&path, &queries)) };
    }
    let passages = passages_of(&path);
    if let Some(passages) = passages.as_ref().filter(|passages| !passages.is_file()) {
        return Err(lonely(&path, passages));
    }
    Ok(Some(Input { paths: vec![path], entry: None, passages }))
}

fn lonely(path: &Path, other: &Path) -> Error {
    let message = format!("{} needs {} beside it", path.display(), other.display());
    Error::not_found("data_file_missing", message)
}

/// The one dataset beside a file that names it and is for the task.
fn entry_beside(path: &Path, task: Task) -> Result<Option<Entry>> {
    let info_path = path.with_file_name(FILE_NAME);
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|_| info_path.is_file()) else { return Ok(None) };
    let info = DatasetInfo::open(&info_path)?;
    let entries: Vec<Entry> =
        info.names_of(name).into_iter().map(|name| info.entry(name)).collect::<Result<_>>()?;
    let mut fitting: Vec<Entry> =
        entries.iter().filter(|entry| fit::is_for(entry, task)).cloned().collect();
    if fitting.len() > 1 {
        let names = super::fields::listed(fitting.iter().map(|entry| entry.name.as_str()));
        let message = format!(
            "several datasets of {0} name {name}: {names}; say which: {0}#NAME",
            info_path.display()
        );
        return Err(Error::invalid("dataset_info", message));
    }
    Ok(fitting.pop().or_else(|| entries.into_iter().next()))
}
