//! Files as a form sends them: `multipart/form-data` (RFC 7578).

use axum::body::{Body, Bytes};
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use futures::executor::block_on;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::upload::{DocumentInput, MAX_DOCUMENTS, is_lines, read_lines};
use crate::error::Error;
use crate::http::extract::parse_json;
use crate::http::problem::Problem;
use crate::retrieve::parse::Format;

/// As long as file systems allow; what is longer is cut.
const MAX_NAME_CHARS: usize = 255;
/// The media type of NDJSON, told by its extension.
const LINES: &str = "application/x-ndjson";

/// Files to upload.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it only describes the form")]
pub struct DocumentsForm {
    /// One or more files; `files` is understood as well. What a file is, is told by its part's
    /// `content-type`, or else by the extension of its name. The name becomes the document's
    /// `uri`, and its title when it has none of its own.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
    /// Unique in the collection, for a single file; one is made up when there is none.
    #[schema(max_length = 256)]
    id: Option<String>,
    /// JSON: what filters can ask for, of all files.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// What a form holds.
#[derive(Default)]
struct Form {
    files: Vec<DocumentInput>,
    id: Option<String>,
    metadata: Map<String, Value>,
}

/// Reads the documents of a form. The body is all there, so nothing waits.
pub(super) fn read(headers: HeaderMap, body: Bytes) -> Result<Vec<DocumentInput>, Problem> {
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers;
    // The limit of all bodies has been held by whoever read this one.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = block_on(read_form(request))?;
    let mut documents = form.files;
    for document in &mut documents {
        document.add_metadata(&form.metadata);
    }
    match (form.id, documents.as_mut_slice()) {
        (None, _) => {}
        (Some(id), [document]) => document.set_id(id),
        (Some(_), several) => {
            let detail = format!("is given for {} documents, not one", several.len());
            return Err(invalid("/id", &detail));
        }
    }
    Ok(documents)
}

async fn read_form(request: Request) -> Result<Form, Problem> {
    let parts = Multipart::from_request(request, &()).await;
    let mut parts = parts.map_err(|rejection| malformed(&rejection.body_text()))?;
    let mut form = Form::default();
    while let Some(part) =
        parts.next_field().await.map_err(|error| malformed(&error.body_text()))?
    {
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" | "files" => form.files.extend(read_file(part).await?),
            "id" => form.id = Some(read_text(part).await?).filter(|id| !id.is_empty()),
            "metadata" => {
                let text = read_text(part).await?;
                let metadata = parse_json(text.as_bytes());
                form.metadata = metadata.map_err(|_| invalid("/metadata", "is no JSON object"))?;
            }
            _ => {
                let shown: String = name.chars().take(80).collect();
                let detail = format!("the form has a field {shown:?}; send file, id or metadata");
                return Err(invalid("", &detail));
            }
        }
        if form.files.len() > MAX_DOCUMENTS {
            break;
        }
    }
    Ok(form)
}

async fn read_text(part: Field<'_>) -> Result<String, Problem> {
    part.text().await.map_err(|error| malformed(&error.body_text()))
}

/// One document, or those of a file of NDJSON.
async fn read_file(part: Field<'_>) -> Result<Vec<DocumentInput>, Problem> {
    let name = file_name(part.headers()).or_else(|| part.file_name().and_then(base_name));
    let declared = part.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let media_type = media_type(declared, name.as_deref());
    let content = part.bytes().await.map_err(|error| malformed(&error.body_text()))?;
    if is_lines(&media_type) {
        return read_lines(&content);
    }
    Ok(vec![DocumentInput::of_file(name, media_type, content.into())])
}

/// What was declared, if it is something that is read; what the name's extension says; or what was
/// declared after all, to be refused by its name.
fn media_type(declared: Option<&str>, name: Option<&str>) -> String {
    let declared = declared.map(str::trim).filter(|declared| !declared.is_empty());
    let declared = declared.unwrap_or("application/octet-stream");
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if is_lines(&essence) {
        return essence;
    }
    let is_read = Format::of_media_type(declared).is_ok();
    let extension = name.and_then(|name| Some(name.rsplit_once('.')?.1.to_ascii_lowercase()));
    match extension.as_deref() {
        _ if is_read => declared.to_owned(),
        Some("ndjson" | "jsonl") => LINES.to_owned(),
        Some(extension) => Format::of_extension(extension)
            .map_or_else(|| declared.to_owned(), |format| format.media_type().to_owned()),
        None => declared.to_owned(),
    }
}

/// The name in `filename*=UTF-8''…` (RFC 8187), which some clients send for names that are not
/// ASCII.
fn file_name(headers: &HeaderMap) -> Option<String> {
    let disposition = headers.get(CONTENT_DISPOSITION)?.to_str().ok()?;
    let value = disposition.split(';').find_map(|it| it.trim().strip_prefix("filename*="))?;
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(hex(rest.next()?)? * 16 + hex(rest.next()?)?).ok()?,
            byte => byte,
        });
    }
    base_name(&String::from_utf8(bytes).ok()?)
}

/// The last part of a path, which some clients send; a name is never a path on this machine.
fn base_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    let printable = last.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS);
    let name = printable.collect::<String>().trim().to_owned();
    (!name.is_empty()).then_some(name)
}

fn malformed(reason: &str) -> Problem {
    Problem::malformed("malformed_multipart", format!("The form cannot be read: {reason}."))
}

fn invalid(pointer: &str, detail: &str) -> Problem {
    let place = if pointer.is_empty() { "The body:" } else { pointer };
    Error::invalid("invalid_request", format!("{place} {detail}"))
        .with_field(pointer, detail)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

    fn form(parts: &[(&str, &str)]) -> Result<Vec<DocumentInput>, Problem> {
        let mut body = String::new();
        for (headers, content) in parts {
            body +=
                &format!("--x\r\nContent-Disposition: form-data; {headers}\r\n\r\n{content}\r\n");
        }
        read_body("multipart/form-data; boundary=x", &(body + "--x--\r\n"))
    }

    fn read_body(media_type: &str, body: &str) -> Result<Vec<DocumentInput>, Problem> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]);
        read(headers, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn malformed_forms_are_400() {
        for (media_type, body) in [
            ("multipart/form-data", "--x--\r\n"),
            ("multipart/form-data; boundary=x", ""),
            ("multipart/form-data; boundary=x", "--y\r\n\r\n--y--"),
            ("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=file"),
            ("multipart/form-data; boundary=x", "--x\r\nno header\r\n\r\na\r\n--x--\r\n"),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=file\r\n\r\nnever ends",
            ),
        ] {
            let problem = read_body(media_type, body).err().unwrap_or_else(|| panic!("{body}"));
            assert_eq!((problem.status().as_u16(), problem.code()), (400, "malformed_multipart"));
        }
    }

    #[test]
    fn fields_that_make_no_sense_are_422() {
        let file = ("name=file; filename=a.md", "# A");
        for parts in [
            &[file, ("name=colour", "red")][..],
            &[file, ("name=metadata", "[1]")],
            &[file, ("name=metadata", "{")],
            &[file, file, ("name=id", "a")],
        ] {
            let problem = form(parts).err().unwrap();
            assert_eq!((problem.status().as_u16(), problem.code()), (422, "invalid_request"));
        }
        assert_eq!(form(&[file, ("name=id", "a"), ("name=metadata", "{}")]).unwrap().len(), 1);
        assert_eq!(
            form(&[file, ("name=files; filename=b.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}")])
                .unwrap()
                .len(),
            3
        );
    }

    #[test]
    fn the_type_is_the_declared_one_or_that_of_the_name() {
        for (declared, name, media_type_is) in [
            (Some("text/html; charset=utf-8"), Some("a.pdf"), "text/html; charset=utf-8"),
            (Some("application/octet-stream"), Some("a.b.PDF"), "application/pdf"),
            (Some("application/octet-stream"), Some("a.png"), "application/octet-stream"),
            (Some("image/png"), None, "image/png"),
            (None, Some("a.md"), "text/markdown"),
            (Some(" "), Some("a.docx"), DOCX),
            (None, Some("a.jsonl"), LINES),
            (None, Some("pdf"), "application/octet-stream"),
            (None, None, "application/octet-stream"),
        ] {
            assert_eq!(media_type(declared, name), media_type_is);
        }
    }

    #[test]
    fn names_lose_their_path() {
        for (name, base) in [
            ("手册.pdf", Some("手册.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\文档\\a.docx", Some("a.docx")),
            ("a/", None),
            ("\u{7}", None),
        ] {
            assert_eq!(base_name(name).as_deref(), base, "{name}");
        }
        assert_eq!(base_name(&"长".repeat(900)).unwrap().chars().count(), MAX_NAME_CHARS);
        let header = "form-data; name=\"file\"; filename*=utf-8''%E6%89%8B%2Fa.md";
        let headers = HeaderMap::from_iter([(CONTENT_DISPOSITION, header.parse().unwrap())]);
        assert_eq!(file_name(&headers).as_deref(), Some("a.md"));
    }
}
