//! `querent ingest`: files, folders and NDJSON documents into a collection, with a bar.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Global, output, progress, with_app};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::retrieve::parse::Format;
use crate::service::Services;
use crate::store::TenantId;
use crate::store::corpus::NewDocument;

/// Documents and bytes handed over in one call, whichever comes first.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Files (.pdf .docx .md .markdown .txt .html .htm .jsonl .ndjson) or folders of them. A line
    /// of NDJSON is `{"id"?, "title"?, "uri"?, "path"?, "text", "media_type"?, "metadata"?}`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Made when it is not there.
    #[arg(long, short)]
    collection: String,
}

pub async fn run(config: Config, global: &Global, args: IngestArgs) -> Result<()> {
    let tenant = global.tenant()?;
    let n_documents = with_app(config, async |app| {
        ingest(&app.services, &tenant, &args.collection, &args.paths).await
    })
    .await?;
    let done = serde_json::json!({"collection": args.collection, "documents": n_documents});
    if global.json {
        return output::line(&done.to_string());
    }
    output::line(&format!("{n_documents} documents are in `{}`", args.collection))
}

/// Puts the documents of files and folders into a collection, and waits. Returns how many.
///
/// # Errors
/// `nothing_to_ingest`, and those of reading and of the tasks.
pub(super) async fn ingest(
    services: &Services,
    tenant: &TenantId,
    collection: &str,
    paths: &[PathBuf],
) -> Result<usize> {
    let documents = read_all(paths)?;
    if documents.is_empty() {
        return Err(Error::invalid("nothing_to_ingest", "no file of a known kind was found"));
    }
    let n_documents = documents.len();
    services.put_collection(tenant, collection, None).await?;
    hand_over(services, tenant, collection, documents).await?;
    Ok(n_documents)
}

/// Accepts everything first, so that an interrupted run goes on by itself at the next start,
/// then waits.
pub(super) async fn hand_over(
    services: &Services,
    tenant: &TenantId,
    collection: &str,
    documents: Vec<NewDocument>,
) -> Result<()> {
    let bar = progress::bar(documents.len() as u64, "ingesting");
    let mut tasks = Vec::new();
    for batch in batches(documents) {
        tasks.push(services.accept_documents(tenant, collection, batch).await?.task_id);
    }
    let mut failure = None;
    for task in tasks {
        if let Err(error) = progress::wait(services, tenant, &task, &bar).await {
            failure.get_or_insert(error);
        }
    }
    bar.finish_and_clear();
    failure.map_or(Ok(()), Err)
}

fn batches(documents: Vec<NewDocument>) -> Vec<Vec<NewDocument>> {
    let mut batches: Vec<Vec<NewDocument>> = Vec::new();
    let mut n_bytes = 0;
    for document in documents {
        let size = document.content.len();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_DOCUMENTS && n_bytes + size <= BATCH_BYTES => {
                batch.push(document);
                n_bytes += size;
            }
            _ => {
                batches.push(vec![document]);
                n_bytes = size;
            }
        }
    }
    batches
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<NewDocument>> {
    let mut documents = Vec::new();
    for path in paths {
        if path.is_dir() {
            read_folder(path, path, &mut documents)?;
        } else {
            read_file(path.parent().unwrap_or(Path::new("")), path, &mut documents)?;
        }
    }
    Ok(documents)
}

fn read_folder(root: &Path, folder: &Path, documents: &mut Vec<NewDocument>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs_err::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        // A link could lead out of the folder, or round in it.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            read_folder(root, &path, documents)?;
        } else if kind_of(&path).is_some() {
            read_file(root, &path, documents)?;
        }
    }
    Ok(())
}

/// What a file's ending says of it.
enum FileKind {
    Lines,
    Document(Format),
}

fn kind_of(path: &Path) -> Option<FileKind> {
    match path.extension()?.to_str()? {
        extension if ["jsonl", "ndjson"].contains(&extension.to_ascii_lowercase().as_str()) => {
            Some(FileKind::Lines)
        }
        extension => Format::of_extension(extension).map(FileKind::Document),
    }
}

fn read_file(root: &Path, path: &Path, documents: &mut Vec<NewDocument>) -> Result<()> {
    match kind_of(path) {
        None => Err(Error::invalid(
            "file_kind",
            format!(
                "{}: the ending is none of pdf, docx, md, txt, html, jsonl, ndjson",
                path.display()
            ),
        )),
        Some(FileKind::Lines) => read_lines(path, documents),
        Some(FileKind::Document(format)) => {
            let id = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
            documents.push(NewDocument {
                id: Some(id),
                title: None,
                uri: None,
                media_type: format.media_type().into(),
                content: fs_err::read(path)?,
                metadata: Map::new(),
            });
            Ok(())
        }
    }
}

/// A line of NDJSON. Other fields are let pass, so that common exports go in as they are.
#[derive(Debug, Deserialize)]
struct Line {
    id: Option<String>,
    path: Option<String>,
    title: Option<String>,
    uri: Option<String>,
    text: String,
    media_type: Option<String>,
    lang: Option<String>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

fn read_lines(path: &Path, documents: &mut Vec<NewDocument>) -> Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    for (index, text) in fs_err::read_to_string(path)?.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(text).map_err(|error| {
            Error::invalid("ndjson", format!("{}:{}: {error}", path.display(), index + 1))
        })?;
        let mut metadata = line.metadata;
        if let Some(lang) = line.lang {
            metadata.entry("lang").or_insert(lang.into());
        }
        let of_path = line.path.map(|inner| format!("{stem}/{inner}"));
        documents.push(NewDocument {
            id: line.id.or(of_path),
            title: line.title,
            uri: line.uri,
            media_type: line.media_type.unwrap_or_else(|| "text/markdown".into()),
            content: line.text.into_bytes(),
            metadata,
        });
    }
    Ok(())
}
