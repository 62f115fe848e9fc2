//! LLaMA-Factory's `dataset_info.json`: which column and which tag means what. Its rules are kept
//! to the letter, also the one that surprises: once there is a `columns` (or `tags`) object, every
//! column (or tag) that it does not list is gone, defaults included.

use std::path::Path;

use serde_json::{Map, Value};

use super::fields::{kind_of, listed, present};
use crate::error::{Error, Result};

/// The file's name, beside the data.
pub const FILE_NAME: &str = "dataset_info.json";

/// Sources that LLaMA-Factory prefers to a local file, in its order.
const REMOTE_KEYS: [&str; 5] =
    ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"];

/// Defines a struct of optional names that reads itself from an object of a dataset.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $key:literal = $default:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $(pub $field: Option<String>,)+ }

        impl Default for $name {
            /// The names that hold when the dataset has no such object.
            fn default() -> Self {
                let default: fn(Option<&str>) -> Option<String> = |name| name.map(str::to_owned);
                Self { $($field: default($default),)+ }
            }
        }

        impl $name {
            const KEYS: &[&str] = &[$($key),+];

            /// The names that an object lists; the unlisted are gone.
            fn listed_in(object: &Map<String, Value>) -> Result<Self, String> {
                Ok(Self { $($field: super::fields::text(object, $key)?.map(str::to_owned),)+ })
            }

            /// Each key with its name.
            pub fn entries(&self) -> Vec<(&'static str, &str)> {
                let entries = [$(($key, self.$field.as_deref())),+];
                entries.into_iter().filter_map(|(key, name)| Some((key, name?))).collect()
            }
        }
    };
}

names! {
    /// The names of a file's columns, by what they mean.
    Columns {
        prompt: "prompt" = Some("instruction"),
        query: "query" = Some("input"),
        response: "response" = Some("output"),
        history: "history" = None,
        messages: "messages" = Some("conversations"),
        system: "system" = None,
        tools: "tools" = None,
        images: "images" = None,
        videos: "videos" = None,
        audios: "audios" = None,
        chosen: "chosen" = None,
        rejected: "rejected" = None,
        kto_tag: "kto_tag" = None,
    }
}

names! {
    /// The keys of a message, and the words for who says it.
    Tags {
        role: "role_tag" = Some("from"),
        content: "content_tag" = Some("value"),
        user: "user_tag" = Some("human"),
        assistant: "assistant_tag" = Some("gpt"),
        observation: "observation_tag" = Some("observation"),
        function: "function_tag" = Some("function_call"),
        system: "system_tag" = Some("system"),
    }
}

impl Tags {
    /// The words of OpenAI's messages.
    pub fn openai() -> Self {
        let name = |name: &str| Some(name.to_owned());
        Self {
            role: name("role"),
            content: name("content"),
            user: name("user"),
            assistant: name("assistant"),
            observation: name("tool"),
            function: name("function_call"),
            system: name("system"),
        }
    }
}

/// How the rows of a dataset are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formatting {
    Alpaca,
    ShareGpt,
    OpenAi,
}

/// One dataset of a `dataset_info.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Beside the `dataset_info.json`: a file, or a folder of files.
    pub file_name: String,
    pub formatting: Formatting,
    /// The rows have a chosen and a rejected answer.
    pub ranking: bool,
    pub num_samples: Option<usize>,
    /// `subset`, which means nothing for local files.
    pub has_subset: bool,
    /// Whether the names below were listed, and are not the defaults.
    pub has_columns: bool,
    pub columns: Columns,
    /// The listed tags, or else the defaults of the formatting.
    pub tags: Tags,
}

/// The datasets of a `dataset_info.json`, unread: a bad one matters only when it is used.
#[derive(Debug)]
pub struct DatasetInfo {
    path: String,
    datasets: Map<String, Value>,
}

impl DatasetInfo {
    /// # Errors
    /// `dataset_info` when the file is missing or is no JSON object.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let text = fs_err::read_to_string(path)
            .map_err(|cause| invalid(format!("{shown} cannot be read")).caused_by(cause))?;
        match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(Value::Object(datasets)) => Ok(Self { path: shown, datasets }),
            Ok(other) => Err(invalid(format!(
                "{shown} must be an object of datasets, it is {}",
                kind_of(&other)
            ))),
            Err(cause) => Err(invalid(format!("{shown} is not valid JSON")).caused_by(cause)),
        }
    }

    /// The datasets that name a file.
    pub fn names_of(&self, file_name: &str) -> Vec<&str> {
        let names_it = |dataset: &Value| dataset["file_name"].as_str() == Some(file_name);
        let named = self.datasets.iter().filter(|(_, dataset)| names_it(dataset));
        named.map(|(name, _)| name.as_str()).collect()
    }

    /// # Errors
    /// `dataset_info` when there is no such dataset, it is not a local file, or it cannot be
    /// understood.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        let Some(dataset) = self.datasets.get(name) else {
            let names = listed(self.datasets.keys().map(String::as_str));
            return Err(invalid(format!("{} has no dataset `{name}`; it has {names}", self.path)));
        };
        let entry = match dataset {
            Value::Object(dataset) => entry(name, dataset),
            other => Err(format!("it must be an object, it is {}", kind_of(other))),
        };
        entry.map_err(|reason| invalid(format!("dataset `{name}` of {}: {reason}", self.path)))
    }

    /// The error for a file that is named without a dataset.
    pub fn unnamed(&self) -> Error {
        let names = listed(self.datasets.keys().map(String::as_str));
        invalid(format!("say which dataset of {0}: {0}#NAME; it has {names}", self.path))
    }
}

fn invalid(message: String) -> Error {
    Error::invalid("dataset_info", message)
}

fn entry(name: &str, dataset: &Map<String, Value>) -> Result<Entry, String> {
    check_local(dataset)?;
    let formatting = formatting(dataset)?;
    let columns = names_object(dataset, "columns", Columns::KEYS)?;
    let tags = names_object(dataset, "tags", Tags::KEYS)?;
    Ok(Entry {
        name: name.to_owned(),
        file_name: super::fields::filled_text(dataset, "file_name")?.to_owned(),
        formatting,
        ranking: present(dataset, "ranking")
            .map_or(Ok(false), |_| super::fields::required_flag(dataset, "ranking"))?,
        num_samples: num_samples(dataset)?,
        has_subset: present(dataset, "subset").is_some(),
        has_columns: columns.is_some(),
        columns: columns.map_or_else(|| Ok(Columns::default()), Columns::listed_in)?,
        tags: match (tags, formatting) {
            (Some(tags), _) => Tags::listed_in(tags)?,
            (None, Formatting::OpenAi) => Tags::openai(),
            (None, _) => Tags::default(),
        },
    })
}

fn check_local(dataset: &Map<String, Value>) -> Result<(), String> {
    for key in REMOTE_KEYS {
        if present(dataset, key).is_some() {
            return Err(format!(
                "`{key}` names data that is not here, and is preferred to `file_name`: download it, and give its `file_name` alone"
            ));
        }
    }
    match super::fields::text(dataset, "split")? {
        None | Some("train") => Ok(()),
        Some(other) => Err(format!("`split` is `{other}`, but a local file has only `train`")),
    }
}

fn formatting(dataset: &Map<String, Value>) -> Result<Formatting, String> {
    match super::fields::text(dataset, "formatting")? {
        None | Some("alpaca") => Ok(Formatting::Alpaca),
        Some("sharegpt") => Ok(Formatting::ShareGpt),
        Some("openai") => Ok(Formatting::OpenAi),
        Some(other) => {
            Err(format!("`formatting` is `{other}`; it can be `alpaca`, `sharegpt` or `openai`"))
        }
    }
}

fn num_samples(dataset: &Map<String, Value>) -> Result<Option<usize>, String> {
    let Some(value) = present(dataset, "num_samples") else { return Ok(None) };
    match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
        Some(count) if count > 0 => Ok(Some(count)),
        _ => Err(format!("`num_samples` must be a whole number above 0, it is {value}")),
    }
}

/// The object under `key`, all of whose keys must be known: a misspelt one would take a default
/// away in silence.
fn names_object<'a>(
    dataset: &'a Map<String, Value>,
    key: &str,
    known: &[&str],
) -> Result<Option<&'a Map<String, Value>>, String> {
    let object = match present(dataset, key) {
        None => return Ok(None),
        Some(Value::Object(object)) => object,
        Some(other) => return Err(format!("`{key}` must be an object, it is {}", kind_of(other))),
    };
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!(
            "`{key}` has no `{unknown}`; it can have {}",
            listed(known.iter().copied())
        )),
        None => Ok(Some(object)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(datasets: Value) -> DatasetInfo {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs_err::write(&path, format!("\u{feff}{datasets}")).unwrap();
        DatasetInfo::open(&path).unwrap()
    }

    fn read(dataset: Value) -> Entry {
        info(json!({ "d": dataset })).entry("d").unwrap()
    }

    fn refusal(dataset: Value) -> String {
        info(json!({ "d": dataset })).entry("d").unwrap_err().to_string()
    }

    #[test]
    fn without_objects_the_defaults_hold() {
        let entry = read(json!({ "file_name": "a.json" }));
        assert_eq!(entry.formatting, Formatting::Alpaca);
        assert!(!entry.ranking && !entry.has_columns && entry.num_samples.is_none());
        let columns = [
            ("prompt", "instruction"),
            ("query", "input"),
            ("response", "output"),
            ("messages", "conversations"),
        ];
        assert_eq!(entry.columns.entries(), columns);
        let tags = [
            ("role_tag", "from"),
            ("content_tag", "value"),
            ("user_tag", "human"),
            ("assistant_tag", "gpt"),
            ("observation_tag", "observation"),
            ("function_tag", "function_call"),
            ("system_tag", "system"),
        ];
        assert_eq!(entry.tags.entries(), tags);
    }

    #[test]
    fn an_object_takes_away_what_it_does_not_list() {
        let entry = read(json!({ "file_name": "a.json", "columns": { "prompt": "q" } }));
        assert_eq!(entry.columns.entries(), [("prompt", "q")]);
        assert_eq!(entry.tags, Tags::default());
        let entry = read(json!({
            "file_name": "a.json", "formatting": "sharegpt", "tags": { "role_tag": "role" }
        }));
        assert_eq!(entry.tags.entries(), [("role_tag", "role")]);
        assert_eq!(entry.columns, Columns::default());
        let nulls = json!({ "file_name": "a", "columns": { "prompt": "q", "query": null } });
        assert_eq!(read(nulls).columns.entries(), [("prompt", "q")]);
    }

    #[test]
    fn openai_without_tags_has_openais_words() {
        let entry = read(json!({ "file_name": "a.json", "formatting": "openai" }));
        assert_eq!(entry.tags, Tags::openai());
        let listed = json!({
            "file_name": "a", "formatting": "openai", "tags": { "role_tag": "who" }
        });
        assert_eq!(read(listed).tags.entries(), [("role_tag", "who")]);
    }

    #[test]
    fn data_elsewhere_is_refused_even_beside_a_file() {
        for key in REMOTE_KEYS {
            let message = refusal(json!({ "file_name": "a", "subset": "s", key: "x/y" }));
            assert!(message.contains(&format!("`{key}` names data that is not here")), "{message}");
        }
        let message = refusal(json!({ "file_name": "a.json", "split": "test" }));
        assert!(message.contains("`split` is `test`"), "{message}");
        assert!(read(json!({ "file_name": "a.json", "subset": "s", "split": "train" })).has_subset);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let cases = [
            (json!({}), "it has no `file_name`"),
            (json!({ "file_name": "a", "formatting": "csv" }), "`formatting` is `csv`"),
            (json!({ "file_name": "a", "ranking": "yes" }), "`ranking` must be true or false"),
            (json!({ "file_name": "a", "num_samples": 0 }), "`num_samples` must be"),
            (json!({ "file_name": "a", "columns": { "respons": "x" } }), "has no `respons`"),
            (json!({ "file_name": "a", "tags": { "user": "x" } }), "has no `user`"),
            (json!({ "file_name": "a", "columns": [] }), "`columns` must be an object"),
            (json!([1]), "it must be an object, it is a list"),
        ];
        for (dataset, expected) in cases {
            let message = refusal(dataset);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn datasets_are_found_by_name_and_by_file() {
        let info = info(json!({ "a": { "file_name": "x.json" }, "b": { "file_name": "y.json" },
            "c": { "file_name": "x.json", "ranking": true } }));
        assert_eq!(info.names_of("x.json"), ["a", "c"]);
        let message = info.entry("z").unwrap_err().to_string();
        assert!(message.ends_with("has no dataset `z`; it has `a`, `b`, `c`"), "{message}");
        assert!(info.unnamed().to_string().ends_with("it has `a`, `b`, `c`"));
        assert!(info.entry("c").unwrap().ranking);
    }
}
