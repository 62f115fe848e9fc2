//! Whether a described dataset fits the task, and a file its description.

use std::collections::BTreeSet;

use super::dataset_info::{Entry, Formatting};
use super::fields::listed;
use super::rows::Task;
use crate::error::{Error, Result};

/// Whether the dataset's flags are those of the task: what decides between several datasets of
/// one file.
pub fn is_for(entry: &Entry, task: Task) -> bool {
    let is_judged = entry.columns.kto_tag.is_some();
    entry.ranking == (task == Task::Preference) && is_judged == (task == Task::Kto)
}

/// # Errors
/// `dataset_info` when the dataset cannot serve the task, or names too little.
pub fn check(entry: &Entry, task: Task) -> Result<()> {
    let reason = flags(entry, task).or_else(|| columns(entry, task)).or_else(|| tags(entry));
    match reason {
        None => Ok(()),
        Some(reason) => {
            let message = format!("dataset `{}` of dataset_info.json: {reason}", entry.name);
            Err(Error::invalid("dataset_info", message))
        }
    }
}

/// # Errors
/// `data_column_missing` when the dataset names a column that the file lacks.
pub fn check_columns(entry: &Entry, file: &str, keys: &BTreeSet<String>) -> Result<()> {
    if !entry.has_columns {
        return Ok(());
    }
    let missing = entry.columns.entries().into_iter().find(|(_, name)| !keys.contains(*name));
    let Some((key, name)) = missing else { return Ok(()) };
    let message = format!(
        "{file} has no column `{name}`, which dataset `{}` names as `{key}`; its columns: {}",
        entry.name,
        listed(keys.iter().map(String::as_str))
    );
    Err(Error::invalid("data_column_missing", message))
}

/// The columns of a file that its description does not name.
pub fn unused_columns(entry: &Entry, keys: &BTreeSet<String>) -> Option<String> {
    let used: Vec<&str> = entry.columns.entries().into_iter().map(|(_, name)| name).collect();
    let unused: Vec<&str> =
        keys.iter().map(String::as_str).filter(|key| !used.contains(key)).collect();
    if unused.is_empty() { None } else { Some(listed(unused.into_iter())) }
}

fn flags(entry: &Entry, task: Task) -> Option<String> {
    let is_judged = entry.columns.kto_tag.is_some();
    match task {
        Task::Contrastive | Task::Reward => Some(
            "it describes chats; give a file of queries, with passages for contrastive training"
                .to_owned(),
        ),
        Task::Preference if !entry.ranking => {
            Some("preference training needs `\"ranking\": true`".to_owned())
        }
        Task::Sft | Task::Kto if entry.ranking => {
            Some(format!("`ranking` is true, which is for preferences, not for {}", task.name()))
        }
        Task::Kto if !is_judged => Some("KTO needs `kto_tag` among its `columns`".to_owned()),
        Task::Sft if is_judged => {
            Some("it names a `kto_tag`, which is for KTO, not for SFT".to_owned())
        }
        _ => None,
    }
}

fn columns(entry: &Entry, task: Task) -> Option<String> {
    let columns = &entry.columns;
    let is_alpaca = entry.formatting == Formatting::Alpaca;
    let wanted = [
        ("prompt", is_alpaca && columns.prompt.is_none() && columns.query.is_none()),
        ("response", is_alpaca && task != Task::Preference && columns.response.is_none()),
        ("messages", !is_alpaca && columns.messages.is_none()),
        ("chosen", task == Task::Preference && columns.chosen.is_none()),
        ("rejected", task == Task::Preference && columns.rejected.is_none()),
    ];
    let (key, _) = wanted.into_iter().find(|(_, is_missing)| *is_missing)?;
    Some(format!(
        "its `columns` must name `{key}`; once there is a `columns` object, what it does not list has no default"
    ))
}

fn tags(entry: &Entry) -> Option<String> {
    let named = entry.tags.entries();
    let wanted = ["role_tag", "content_tag", "user_tag", "assistant_tag"];
    let key = wanted.into_iter().find(|wanted| named.iter().all(|(key, _)| key != wanted))?;
    (entry.formatting != Formatting::Alpaca).then(|| {
        format!(
            "its `tags` must name `{key}`; once there is a `tags` object, what it does not list has no default"
        )
    })
}
