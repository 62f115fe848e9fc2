//! The bodies of an upload: JSON with a list of documents, NDJSON with one a line, or files
//! ([`super::multipart`]).

use std::collections::HashMap;

use axum::extract::{FromRequest, Request};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::multipart;
use crate::error::Result;
use crate::http::checks::Checks;
use crate::http::extract::{is_json, media_type, off_thread, parse_json, read_body, unsupported};
use crate::http::object;
use crate::http::problem::Problem;
use crate::store::corpus::NewDocument;

pub(super) const MAX_DOCUMENTS: usize = 1_000;
const MAX_ID_CHARS: usize = 256;
const MAX_TITLE_CHARS: usize = 1_000;
const MAX_URI_CHARS: usize = 2_048;
const MAX_MEDIA_TYPE_CHARS: usize = 128;
const DEFAULT_MEDIA_TYPE: &str = "text/plain";
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Documents to upload.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"documents": [{
    "id": "manual-7",
    "title": "CRM 手册",
    "uri": "https://example.com/manual",
    "text": "客户画像把一位客户的资料汇成一页。",
    "metadata": {"lang": "zh"}
}]}))]
pub struct DocumentsRequest {
    #[schema(min_items = 1, max_items = 1000)]
    #[serde(deserialize_with = "object::list")]
    documents: Vec<DocumentInput>,
}

/// A document with its content, which is either `text` or `content_base64`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentInput {
    /// Unique in the collection; one is made up when there is none.
    #[schema(max_length = 256)]
    id: Option<String>,
    #[schema(max_length = 1000)]
    title: Option<String>,
    #[schema(max_length = 2048)]
    uri: Option<String>,
    text: Option<String>,
    /// Needs `media_type`.
    #[schema(format = Byte)]
    content_base64: Option<String>,
    /// `text/plain` when it is left out with `text`.
    media_type: Option<String>,
    /// What filters can ask for.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// The content as it came in a file.
    #[serde(skip)]
    file: Option<Vec<u8>>,
}

/// The documents of a request, checked.
pub struct Upload(pub Vec<NewDocument>);

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        let read: fn(&[u8]) -> Result<Vec<DocumentInput>, Problem> = match media_type.as_str() {
            lines if is_lines(lines) => read_lines,
            json if is_json(json) => read_list,
            "multipart/form-data" => {
                let headers = request.headers().clone();
                let bytes = read_body(request).await?;
                let read = move || Ok(Self(check(multipart::read(headers, bytes)?)?));
                return off_thread(usize::MAX, read).await;
            }
            other => {
                let read = "application/json, application/x-ndjson or multipart/form-data";
                return Err(unsupported(other, read).into());
            }
        };
        let bytes = read_body(request).await?;
        off_thread(bytes.len(), move || Ok(Self(check(read(&bytes)?)?))).await
    }
}

/// Whether the media type is NDJSON, which has several names and none that is registered.
pub(super) fn is_lines(media_type: &str) -> bool {
    ["application/x-ndjson", "application/ndjson", "application/jsonl"].contains(&media_type)
}

fn read_list(bytes: &[u8]) -> Result<Vec<DocumentInput>, Problem> {
    parse_json::<DocumentsRequest>(bytes).map(|request| request.documents)
}

/// Blank lines are skipped; a line that cannot be read is named.
pub(super) fn read_lines(bytes: &[u8]) -> Result<Vec<DocumentInput>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    filled
        .enumerate()
        .map(|(index, (line_index, line))| {
            let place = format!("/documents/{index}");
            parse_json(line).map_err(|problem| problem.within(&place, line_index + 1))
        })
        .collect()
}

fn check(inputs: Vec<DocumentInput>) -> Result<Vec<NewDocument>> {
    let mut checks = Checks::default();
    if inputs.is_empty() || inputs.len() > MAX_DOCUMENTS {
        let detail = format!("has {} entries, not 1 to {MAX_DOCUMENTS}", inputs.len());
        checks.refuse("/documents", detail);
        return checks.finish().map(|()| Vec::new());
    }
    check_ids(&inputs, &mut checks);
    let documents = inputs
        .into_iter()
        .enumerate()
        .map(|(index, input)| input.check(&format!("/documents/{index}"), &mut checks))
        .collect();
    checks.finish()?;
    Ok(documents)
}

/// Which of two documents with one id would stay is anybody's guess, so both are refused.
fn check_ids(inputs: &[DocumentInput], checks: &mut Checks) {
    let mut first_with = HashMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let Some(id) = &input.id else { continue };
        let place = format!("/documents/{index}/id");
        checks.line(&place, id, MAX_ID_CHARS);
        if let Some(first) = first_with.insert(id.as_str(), index) {
            checks.refuse(place, format!("is also the id of /documents/{first}"));
        }
    }
}

impl DocumentInput {
    /// A file. Its name says where it comes from, and stands for a title that it lacks.
    pub(super) fn of_file(name: Option<String>, media_type: String, content: Vec<u8>) -> Self {
        Self {
            id: None,
            title: name.clone(),
            uri: name,
            text: None,
            content_base64: None,
            media_type: Some(media_type),
            metadata: None,
            file: Some(content),
        }
    }

    pub(super) fn set_id(&mut self, id: String) {
        self.id = Some(id);
    }

    /// Adds what is said of all files; what the document says of itself stays.
    pub(super) fn add_metadata(&mut self, shared: &Map<String, Value>) {
        let own = self.metadata.get_or_insert_default();
        for (key, value) in shared {
            own.entry(key).or_insert_with(|| value.clone());
        }
    }

    fn check(self, place: &str, checks: &mut Checks) -> NewDocument {
        if let Some(title) = &self.title {
            checks.text(&format!("{place}/title"), title, MAX_TITLE_CHARS);
        }
        if let Some(uri) = &self.uri {
            checks.line(&format!("{place}/uri"), uri, MAX_URI_CHARS);
        }
        if let Some(media_type) = &self.media_type {
            checks.line(&format!("{place}/media_type"), media_type, MAX_MEDIA_TYPE_CHARS);
        }
        let media_type = self.media_type.filter(|media_type| !media_type.trim().is_empty());
        let content = match (self.text, self.content_base64, self.file) {
            (_, _, Some(file)) => {
                if file.is_empty() {
                    checks.refuse(place, "is an empty file");
                }
                file
            }
            (Some(text), None, None) => read_text(text, place, checks),
            (None, Some(encoded), None) => {
                if media_type.is_none() {
                    checks
                        .refuse(format!("{place}/media_type"), "is missing: what is the content?");
                }
                read_base64(&encoded, place, checks)
            }
            _ => {
                checks.refuse(place, "needs either `text` or `content_base64`");
                Vec::new()
            }
        };
        NewDocument {
            id: self.id,
            title: self.title.filter(|title| !title.trim().is_empty()),
            uri: self.uri,
            media_type: media_type.unwrap_or_else(|| DEFAULT_MEDIA_TYPE.to_owned()),
            content,
            metadata: self.metadata.unwrap_or_default(),
        }
    }
}

fn read_text(text: String, place: &str, checks: &mut Checks) -> Vec<u8> {
    if text.trim().is_empty() {
        checks.refuse(format!("{place}/text"), "is empty");
    }
    text.into_bytes()
}

fn read_base64(encoded: &str, place: &str, checks: &mut Checks) -> Vec<u8> {
    let content = BASE64.decode(encoded).unwrap_or_default();
    if content.is_empty() {
        checks.refuse(format!("{place}/content_base64"), "is empty or not base64 (RFC 4648, §4)");
    }
    content
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn upload(documents: Value) -> Result<Vec<NewDocument>> {
        let body = json!({ "documents": documents }).to_string();
        check(read_list(body.as_bytes()).unwrap())
    }

    #[test]
    fn text_and_base64_become_bytes() {
        let documents = upload(json!([
            {"id": "a", "text": "客户画像", "metadata": {"lang": "zh"}},
            {"content_base64": "JVBERi0=", "media_type": "application/pdf", "title": " "},
            {"content_base64": "JVBERi0", "media_type": "application/pdf"},
            {"text": "# A", "media_type": "text/markdown"}
        ]))
        .unwrap();
        assert_eq!(documents[0].content, "客户画像".as_bytes());
        assert_eq!(documents[0].media_type, "text/plain");
        assert_eq!(documents[0].metadata["lang"], "zh");
        assert_eq!(documents[1].content, b"%PDF-");
        assert_eq!(documents[1].title, None);
        assert_eq!(documents[2].content, b"%PDF-");
        assert_eq!(documents[3].media_type, "text/markdown");
    }

    #[test]
    fn odd_documents_are_refused_with_their_place() {
        let long = |n: usize| "x".repeat(n);
        for (documents, pointer) in [
            (json!([]), "/documents"),
            (json!(vec![json!({"text": "x"}); 1_001]), "/documents"),
            (json!([{"text": "x"}, {}]), "/documents/1"),
            (json!([{"text": "x", "content_base64": "eA=="}]), "/documents/0"),
            (json!([{"text": " \n"}]), "/documents/0/text"),
            (json!([{"content_base64": "eA=="}]), "/documents/0/media_type"),
            (
                json!([{"content_base64": "no base64!", "media_type": "a/b"}]),
                "/documents/0/content_base64",
            ),
            (json!([{"content_base64": "", "media_type": "a/b"}]), "/documents/0/content_base64"),
            (json!([{"id": "", "text": "x"}]), "/documents/0/id"),
            (json!([{"id": "a\u{0}", "text": "x"}]), "/documents/0/id"),
            (json!([{"id": long(257), "text": "x"}]), "/documents/0/id"),
            (json!([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]), "/documents/1/id"),
            (json!([{"uri": long(2_049), "text": "x"}]), "/documents/0/uri"),
            (json!([{"title": long(1_001), "text": "x"}]), "/documents/0/title"),
            (json!([{"media_type": "", "text": "x"}]), "/documents/0/media_type"),
        ] {
            let error = upload(documents).unwrap_err();
            assert_eq!(error.fields[0].pointer, pointer, "{error}");
        }
    }

    #[test]
    fn lines_are_documents() {
        let read = |body: &str| read_lines(body.as_bytes());
        let documents = read("{\"text\": \"a\"}\n\n  \n{\"text\": \"b\"}\r\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert!(read("").unwrap().is_empty());
        let details =
            |body: &str| serde_json::to_value(read(body).unwrap_err().details("r", "/")).unwrap();
        let wrong = details("{\"text\": \"a\"}\n\n{\"txet\": \"b\"}");
        assert_eq!(wrong["errors"][0]["pointer"], "/documents/1/txet", "{wrong}");
        assert!(wrong["detail"].as_str().unwrap().starts_with("Line 3: "), "{wrong}");
        let broken = details("{\"text\": \"a\"}\n{\"text\":");
        assert_eq!(broken["status"], 400);
        assert!(broken["detail"].as_str().unwrap().starts_with("Line 2: "), "{broken}");
    }
}
