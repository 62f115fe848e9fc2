//! A suite as a folder: `suite.toml`, and the files that it names. The same for the suites of this
//! program and for those on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::{ConfigBuilder, File, FileFormat, builder::DefaultState};
use include_dir::{Dir, include_dir};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::suite::{Expect, Suite, SuiteDocument, SuiteTurn};
use crate::error::{Error, Kind, Result};
use crate::rewrite::conversation::{Action, Role};
use crate::store::glossary::GlossaryTerm;

static SUITES: [(&str, Dir<'_>); 2] = [
    ("seed-cases", include_dir!("$CARGO_MANIFEST_DIR/evals/seed-cases")),
    ("product-docs", include_dir!("$CARGO_MANIFEST_DIR/evals/product-docs")),
];

/// The suites that come with the program.
pub fn names() -> Vec<&'static str> {
    SUITES.iter().map(|(name, _)| *name).collect()
}

/// Reads a suite of this program by its name, or one by its folder.
///
/// # Errors
/// `suite_missing`, `suite_damaged` with the file and the line.
pub fn open(name: &str) -> Result<Suite> {
    let mut files = BTreeMap::new();
    let path = Path::new(name);
    if let Some((_, dir)) = SUITES.iter().find(|(own, _)| *own == name) {
        collect_bundled(dir, &mut files);
    } else if path.is_dir() {
        collect(path, path, &mut files)?;
    } else {
        let message = format!(
            "no suite `{name}`: neither a folder nor one of {}; sets of others take --data FILE",
            names().join(", ")
        );
        return Err(Error::not_found("suite_missing", message));
    }
    read(&Files(files))
}

/// The files of a suite by their paths below its folder.
struct Files(BTreeMap<String, Vec<u8>>);

#[derive(Debug, Deserialize)]
struct Description {
    name: String,
    files: Names,
    primary: Primary,
}

#[derive(Debug, Deserialize)]
struct Names {
    cases: Option<String>,
    turns: Option<String>,
    corpus: Option<String>,
    glossary: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Primary {
    metric: String,
}

/// A row of either kind of suite.
#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    conversation: Option<String>,
    split: Option<String>,
    lang: Option<String>,
    kind: Option<String>,
    #[serde(default, alias = "history")]
    messages: Vec<Message>,
    query: String,
    #[serde(default)]
    facts: BTreeMap<String, String>,
    glossary: Option<Vec<GlossaryTerm>>,
    now: Option<String>,
    locale: Option<String>,
    rewrite: Option<String>,
    #[serde(default)]
    relevant: Vec<Relevant>,
    expect: Option<ExpectRow>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Debug, Deserialize)]
struct Relevant {
    document: String,
}

#[derive(Debug, Deserialize)]
struct ExpectRow {
    action: OneOrMore,
    standalone: Vec<String>,
    #[serde(default)]
    must_include: Vec<String>,
    #[serde(default)]
    must_not_include: Vec<String>,
    #[serde(default)]
    resolved_by: Option<ResolvedBy>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct ResolvedBy {
    turn: Option<usize>,
    #[serde(default)]
    fact: Vec<String>,
    glossary: Option<String>,
    #[serde(default)]
    date: bool,
}

#[derive(Debug, Deserialize)]
struct GlossaryFile {
    terms: Vec<GlossaryTerm>,
}

fn read(files: &Files) -> Result<Suite> {
    let description = files.description()?;
    let names = &description.files;
    let rows = names.turns.as_ref().or(names.cases.as_ref());
    let rows = rows.ok_or_else(|| damaged("suite.toml names neither `turns` nor `cases`"))?;
    let documents = names.corpus.as_ref().map(|dir| files.documents(dir)).unwrap_or_default();
    let glossary = match &names.glossary {
        None => Vec::new(),
        Some(name) => {
            let file: GlossaryFile = serde_json::from_slice(files.get(name)?)
                .map_err(|error| damaged(format!("{name}: {error}")))?;
            file.terms
        }
    };
    Ok(Suite {
        name: description.name,
        primary: description.primary.metric,
        documents,
        glossary,
        turns: files.turns(rows)?,
        sha256: files.sha256(),
    })
}

impl Files {
    fn get(&self, name: &str) -> Result<&[u8]> {
        let found = self.0.get(name).map(Vec::as_slice);
        found.ok_or_else(|| damaged(format!("the file {name} is missing")))
    }

    fn text(&self, name: &str) -> Result<&str> {
        let bytes = self.get(name)?;
        std::str::from_utf8(bytes).map_err(|error| damaged(format!("{name}: {error}")))
    }

    fn description(&self) -> Result<Description> {
        let text = self.text("suite.toml")?;
        let source = File::from_str(text, FileFormat::Toml);
        ConfigBuilder::<DefaultState>::default()
            .add_source(source)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| damaged(format!("suite.toml: {error}")))
    }

    fn documents(&self, dir: &str) -> Vec<SuiteDocument> {
        let below = format!("{dir}/");
        let pages = self.0.iter().filter_map(|(path, content)| {
            let id = path.strip_prefix(&below)?;
            Some(SuiteDocument {
                id: id.to_owned(),
                title: None,
                media_type: "text/markdown",
                content: content.clone(),
            })
        });
        pages.collect()
    }

    fn turns(&self, name: &str) -> Result<Vec<SuiteTurn>> {
        let rows = self.text(name)?.lines().enumerate();
        let rows = rows.filter(|(_, line)| !line.trim().is_empty());
        rows.map(|(index, line)| {
            let wrong = |reason: String| damaged(format!("{name}:{}: {reason}", index + 1));
            let row: Row = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            turn(row).map_err(wrong)
        })
        .collect()
    }

    fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (path, content) in &self.0 {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn turn(row: Row) -> Result<SuiteTurn, String> {
    let slices = [("kind", row.kind), ("lang", row.lang), ("split", row.split)];
    let slices = slices.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let history = row.messages.into_iter().map(message).collect::<Result<_, _>>()?;
    let now = row.now.as_deref().map(|now| OffsetDateTime::parse(now, &Rfc3339)).transpose();
    let mut golds: Vec<String> = row.rewrite.into_iter().collect();
    let expect = match row.expect {
        None => None,
        Some(mut expect) => {
            golds.append(&mut expect.standalone);
            Some(expected(expect)?)
        }
    };
    let turn = SuiteTurn {
        id: row.id,
        conversation: row.conversation,
        slices: slices.collect(),
        history,
        query: row.query,
        facts: row.facts,
        now: now.map_err(|error| format!("`now`: {error}"))?,
        locale: row.locale,
        glossary: row.glossary,
        golds,
        grades: row.relevant.into_iter().map(|page| (page.document, 1)).collect(),
        expect,
    };
    Ok(turn.with_language())
}

fn message(message: Message) -> Result<(Role, String), String> {
    let role = match message.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => return Err(format!("no role is called `{other}`")),
    };
    Ok((role, message.content))
}

fn expected(row: ExpectRow) -> Result<Expect, String> {
    let actions = match row.action {
        OneOrMore::One(action) => vec![action],
        OneOrMore::More(actions) => actions,
    };
    let action = |name: &String| match name.as_str() {
        "pass" => Ok(Action::Pass),
        "rewrite" => Ok(Action::Rewrite),
        "clarify" => Ok(Action::Clarify),
        other => Err(format!("no action is called `{other}`")),
    };
    let by = row.resolved_by.unwrap_or_default();
    let mut sources: BTreeSet<String> = by.turn.map(|n| format!("turn {n}")).into_iter().collect();
    sources.extend(by.fact.iter().map(|key| format!("fact {key}")));
    sources.extend(by.glossary.map(|id| format!("glossary {id}")));
    sources.extend(by.date.then(|| "date".to_owned()));
    Ok(Expect {
        actions: actions.iter().map(action).collect::<Result<_, _>>()?,
        must_include: row.must_include,
        must_not_include: row.must_not_include,
        sources,
    })
}

fn collect_bundled(dir: &Dir<'_>, files: &mut BTreeMap<String, Vec<u8>>) {
    for file in dir.files() {
        files.insert(slashed(file.path()), file.contents().to_vec());
    }
    for dir in dir.dirs() {
        collect_bundled(dir, files);
    }
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        // A link could lead out of the folder, or round in it.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = slashed(path.strip_prefix(root).unwrap_or(&path));
            files.insert(name, fs_err::read(&path)?);
        }
    }
    Ok(())
}

fn slashed(path: &Path) -> String {
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

fn damaged(reason: impl Into<String>) -> Error {
    Error::new(
        Kind::Unusable,
        "suite_damaged",
        format!("the suite cannot be read: {}", reason.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::rewriting::Need;

    #[test]
    fn the_suites_of_this_program_are_read_whole() {
        let cases = open("seed-cases").unwrap();
        assert_eq!((cases.turns.len(), cases.primary.as_str()), (302, "passed"));
        assert!(cases.documents.is_empty());
        let docs = open("product-docs").unwrap();
        assert_eq!((docs.turns.len(), docs.documents.len()), (395, 66));
        assert_eq!(docs.primary, "ndcg@10");
        assert!(docs.glossary.iter().any(|term| term.id == "apple"));
        let known: BTreeSet<&str> = docs.documents.iter().map(|page| page.id.as_str()).collect();
        for turn in &docs.turns {
            let is_complete = turn.slices["kind"] == "complete";
            assert_eq!(turn.need() == Some(Need::Nothing), is_complete, "{}", turn.id);
            assert!(turn.grades.keys().all(|id| known.contains(id.as_str())), "{}", turn.id);
        }
    }

    #[test]
    fn a_folder_on_the_disk_gives_what_the_program_holds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs_err::create_dir_all(root.join("pages/en")).unwrap();
        let toml = "name = \"mine\"\n[files]\nturns = \"t.jsonl\"\ncorpus = \"pages\"\n[primary]\nmetric = \"mrr@10\"\n";
        fs_err::write(root.join("suite.toml"), toml).unwrap();
        fs_err::write(root.join("pages/en/lamp.md"), "# Lamp\nIt glows.").unwrap();
        let row = r#"{"id":"1","query":"and it?","history":[{"role":"user","content":"a lamp"}],"rewrite":"and the lamp?","relevant":[{"document":"en/lamp.md"}]}"#;
        fs_err::write(root.join("t.jsonl"), format!("{row}\n\n")).unwrap();
        let suite = open(&root.to_string_lossy()).unwrap();
        assert_eq!((suite.name.as_str(), suite.primary.as_str()), ("mine", "mrr@10"));
        assert_eq!(suite.documents[0].id, "en/lamp.md");
        assert_eq!(suite.turns[0].grades["en/lamp.md"], 1);
        assert_eq!(suite.turns[0].slices["lang"], "en");
        fs_err::write(root.join("t.jsonl"), format!("{row}\n{{\"id\":2}}\n")).unwrap();
        let error = open(&root.to_string_lossy()).unwrap_err();
        assert!(error.message.contains("t.jsonl:2"), "{error}");
    }
}
