//! Reading requests: bodies, paths and query strings, with problems for what cannot be read.

use std::collections::BTreeMap;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Segment;

use super::checks::segment;
use super::object::Object;
use super::problem::Problem;
use crate::error::{Error, Kind};

/// A body longer than this is parsed off the runtime's threads: they must not be held for long.
const INLINE_PARSE_BYTES: usize = 64 * 1024;
/// Of a body that is too long, this many times the limit is read and thrown away, so that the
/// client is done sending and reads why it was refused. Whoever sends more is cut off.
const DRAIN_LIMITS: usize = 4;
/// A detail may quote the caller's own value, which can be long.
const MAX_DETAIL_CHARS: usize = 300;

/// The longest body; set for every request by the router.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body, or the default when there is no body at all.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

/// The parameters of a path.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The parameters of a query string, the last of each name.
#[derive(Debug)]
pub struct Query(pub BTreeMap<String, String>);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        if !is_json(&media_type) {
            return Err(unsupported(&media_type, "application/json").into());
        }
        let bytes = read_body(request).await?;
        off_thread(bytes.len(), move || parse_json(&bytes)).await.map(Self)
    }
}

impl<S, T> FromRequest<S> for OptionalJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Default + Send + 'static,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        let bytes = read_body(request).await?;
        match bytes.is_empty() {
            true => Ok(Self(T::default())),
            false if is_json(&media_type) => parse_json(&bytes).map(Self),
            false => Err(unsupported(&media_type, "application/json").into()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(values)) => Ok(Self(values)),
            Err(rejection) if rejection.status().is_server_error() => {
                Err(Error::internal(rejection.body_text()).into())
            }
            Err(rejection) => Err(Problem::malformed("invalid_path", rejection.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(values)) => Ok(Self(values)),
            Err(rejection) => {
                Err(Problem::malformed("invalid_query_string", rejection.body_text()))
            }
        }
    }
}

/// The media type of a body without its parameters, in lower case; empty when none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the media type is JSON (RFC 6839 suffix included).
pub fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || media_type.starts_with("application/") && media_type.ends_with("+json")
}

/// 415: what was sent, and what is read.
pub fn unsupported(media_type: &str, read: &str) -> Error {
    let sent = match media_type {
        "" => "The body has no `content-type`".to_owned(),
        _ => format!("A body of type {:?} is not read here", shorten(media_type)),
    };
    Error::new(Kind::Unsupported, "unsupported_media_type", format!("{sent}; send {read}."))
}

/// The whole body, if it is within the limit.
pub async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let limit = request.extensions().get::<BodyLimit>().map_or(0, |limit| limit.0);
    let declared: Option<usize> = number(request.headers(), &CONTENT_LENGTH);
    let waits = request.headers().contains_key(EXPECT);
    let mut stream = request.into_body().into_data_stream();
    if declared.is_some_and(|n_bytes| n_bytes > limit) {
        // A client that waits for `100 Continue` has sent nothing yet: there is nothing to drain.
        if !waits {
            drain(&mut stream, limit.saturating_mul(DRAIN_LIMITS)).await;
        }
        return Err(too_large(limit).into());
    }
    let mut body = Vec::with_capacity(declared.unwrap_or(0).min(limit));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::malformed("incomplete_body", "The body ended before it was complete.")
        })?;
        if body.len() + chunk.len() > limit {
            drain(&mut stream, limit.saturating_mul(DRAIN_LIMITS)).await;
            return Err(too_large(limit).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// Runs a computation whose cost grows with the size of a body where it holds nobody up.
pub async fn off_thread<T: Send + 'static>(
    n_bytes: usize,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if n_bytes <= INLINE_PARSE_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::from(Error::failed("read a body", error)))?
}

/// Reads a JSON object into a type; what does not fit is named by its pointer.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        json_problem(pointer, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| json_problem(String::new(), &error))?;
    Ok(value)
}

fn json_problem(pointer: String, error: &serde_json::Error) -> Problem {
    let text = shorten(&error.to_string());
    if error.classify() != Category::Data {
        return Problem::malformed(
            "malformed_json",
            format!("The body is not valid JSON: {text}."),
        );
    }
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    let pointer = match field_name(detail) {
        Some(field) if !pointer.ends_with(&format!("/{}", segment(field))) => {
            format!("{pointer}/{}", segment(field))
        }
        _ => pointer,
    };
    let place = if pointer.is_empty() { "The body" } else { pointer.as_str() };
    Error::invalid("invalid_request", format!("{place}: {detail}"))
        .with_field(pointer.as_str(), detail)
        .into()
}

/// The name in serde's "unknown field `name`, expected …", "duplicate …" and "missing …", which
/// are errors of the object around the field.
fn field_name(detail: &str) -> Option<&str> {
    let (what, rest) = detail.split_once(" field `")?;
    let (name, _) = rest.split_once('`')?;
    ["unknown", "duplicate", "missing"].contains(&what).then_some(name)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter().fold(String::new(), |pointer, step| match step {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => {
            format!("{pointer}/{}", segment(key))
        }
        Segment::Unknown => pointer,
    })
}

fn too_large(limit: usize) -> Error {
    let message =
        format!("The body is longer than {limit} bytes, the limit set by `[http] max_body_bytes`.");
    Error::new(Kind::TooLarge, "body_too_large", message)
}

async fn drain(stream: &mut BodyDataStream, max_bytes: usize) {
    let mut n_bytes = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        n_bytes += chunk.len();
        if n_bytes > max_bytes {
            return;
        }
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default, deserialize_with = "crate::http::object::list")]
        #[expect(dead_code, reason = "only its type matters")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its type matters")]
        size: u8,
    }

    fn refused(body: &[u8]) -> Value {
        let problem = parse_json::<Outer>(body).unwrap_err();
        serde_json::to_value(problem.details("req_1", "/")).unwrap()
    }

    #[test]
    fn broken_json_is_400_with_its_place() {
        let bodies: [&[u8]; 6] = [
            b"",
            b"{",
            b"{\"inner\": [}",
            b"{} x",
            b"{\"inner\": \"\xff\"}",
            br#"{"inner": "\ud800"}"#,
        ];
        for body in bodies {
            let problem = refused(body);
            assert_eq!(problem["status"], 400, "{problem}");
            assert_eq!(problem["code"], "malformed_json");
            assert!(problem["detail"].as_str().unwrap().contains("line 1"), "{problem}");
        }
    }

    #[test]
    fn nesting_is_harmless() {
        for depth in [100, 1_000, 100_000] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let body = format!("{{\"inner\":{nested}}}");
            assert!(parse_json::<Value>(body.as_bytes()).is_ok() == (depth < 127), "{depth}");
            assert!(parse_json::<Outer>(body.as_bytes()).is_err());
            assert!(parse_json::<Outer>(nested.as_bytes()).is_err());
        }
    }

    #[test]
    fn wrong_fields_are_422_with_their_pointer() {
        for (body, pointer, named) in [
            (r#"{"inner": [{"size": 1}, {"size": 300}]}"#, "/inner/1/size", "300"),
            (r#"{"inner": [{"size": "一"}]}"#, "/inner/0/size", "一"),
            (r#"{"inner": [{"size": 1, "seize/d": 2}]}"#, "/inner/0/seize~1d", "seize/d"),
            (r#"{"outer": 1}"#, "/outer", "outer"),
            (r#"{"inner": [], "inner": []}"#, "/inner", "duplicate"),
            (r#"{"inner": [{}]}"#, "/inner/0/size", "missing"),
            (r#"{"inner": [[1]]}"#, "/inner/0", "an object"),
            ("[[]]", "", "an object"),
            ("null", "", "an object"),
        ] {
            let problem = refused(body.as_bytes());
            assert_eq!(problem["status"], 422, "{problem}");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
            let detail = problem["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains(named) && !detail.contains(" at line "), "{body}: {detail}");
        }
    }

    #[test]
    fn quoted_values_are_cut() {
        let body = format!(r#"{{"inner": [{{"size": "{}"}}]}}"#, "长".repeat(10_000));
        let detail = refused(body.as_bytes())["detail"].as_str().unwrap().to_owned();
        assert!(detail.chars().count() < MAX_DETAIL_CHARS + 50, "{detail}");
    }

    #[test]
    fn media_types_lose_their_parameters() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("text/plain", false),
            ("application/x-ndjson", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_json(&media_type(&headers)), json, "{value}");
        }
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused_with_or_without_a_length() {
        for declared in [true, false] {
            for (n_bytes, fits) in [(8, true), (9, false)] {
                let mut request = Request::new(Body::from(vec![b'x'; n_bytes]));
                request.extensions_mut().insert(BodyLimit(8));
                if declared {
                    request.headers_mut().insert(CONTENT_LENGTH, n_bytes.into());
                }
                assert_eq!(read_body(request).await.is_ok(), fits, "{n_bytes} {declared}");
            }
        }
    }
}
