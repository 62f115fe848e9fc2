//! Refusals on the wire: [`Error`] -> `application/problem+json` (RFC 9457).
//!
//! Here alone a [`Kind`] becomes a status. The text of an internal fault goes to the log with the
//! request id, never to the caller; neither do the causes of other errors.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, FieldError, Kind};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What a handler answers.
pub type Answer<T> = Result<T, Problem>;

const RETRY_WHEN_BUSY_SECONDS: u64 = 1;
const RETRY_WHEN_UNAVAILABLE_SECONDS: u64 = 5;
const INTERNAL_DETAIL: &str =
    "The server failed to answer. Please quote the request id when you report it.";

/// A refusal on its way out. It travels in the response's extensions until
/// [`super::layers::finish`], which knows the request, renders it.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    /// For the log only.
    cause: Option<String>,
    /// Methods that the path does serve, for a 405.
    allow: Option<String>,
    /// When it is worth coming back; those that are busy or unavailable have a default.
    retry_after_seconds: Option<u64>,
}

impl Problem {
    /// A body or path that cannot even be read: 400.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 405, with the methods that are served there.
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("This path does not serve the method; it serves {allow}.");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        Self { allow: Some(allow), ..problem }
    }

    /// For a failure that came without one: the framework's own answers.
    pub fn of_status(status: StatusCode) -> Self {
        let detail = status.canonical_reason().unwrap_or("The request failed");
        Self::new(status, "refused", format!("{detail}."))
    }

    /// The same mistake as a part of a larger body that has one document a line.
    pub fn within(mut self, pointer: &str, line: usize) -> Self {
        self.detail = format!("Line {line}: {}", self.detail);
        for field in &mut self.errors {
            field.pointer.insert_str(0, pointer);
        }
        self
    }

    /// Says when it is worth coming back, in whole seconds and at least one.
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { retry_after_seconds: Some(seconds.max(1)), ..self }
    }

    /// A refusal that was rendered for an earlier request, to be rendered for this one.
    pub fn of_details(details: ProblemDetails) -> Option<Self> {
        let field = |ProblemField { pointer, detail }| FieldError { pointer, detail };
        let status = StatusCode::from_u16(details.status).ok()?;
        let problem = Self::new(status, details.code, details.detail);
        Some(Self { errors: details.errors.into_iter().map(field).collect(), ..problem })
    }

    /// What the log should say, if anything.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What happened, for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The document, for the request with this id and path.
    pub fn details(self, request_id: &str, instance: &str) -> ProblemDetails {
        let field = |FieldError { pointer, detail }| ProblemField { pointer, detail };
        ProblemDetails {
            type_uri: format!("urn:querent:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            instance: instance.to_owned(),
            code: self.code.into_owned(),
            request_id: request_id.to_owned(),
            errors: self.errors.into_iter().map(field).collect(),
        }
    }

    fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            cause: None,
            allow: None,
            retry_after_seconds: None,
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        match self.status {
            _ if self.retry_after_seconds.is_some() => self.retry_after_seconds,
            StatusCode::TOO_MANY_REQUESTS => Some(RETRY_WHEN_BUSY_SECONDS),
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_WHEN_UNAVAILABLE_SECONDS),
            _ => None,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let is_internal = error.kind == Kind::Internal;
        let cause = (is_internal || error.source.is_some()).then(|| error.to_string());
        let detail = if is_internal { INTERNAL_DETAIL.to_owned() } else { error.message };
        let problem = Self::new(status_of(error.kind), error.code, detail);
        Self { errors: error.fields, cause, ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"querent\""));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow.as_ref().and_then(|list| list.parse().ok()) {
            headers.insert(ALLOW, allow);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The status of a kind of failure.
fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid | Kind::Unusable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Why a request was refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:querent:problem:invalid_request",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "/top_k is 0, not 1 to 100",
    "instance": "/v1/search",
    "code": "invalid_request",
    "request_id": "req_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "errors": [{"pointer": "/top_k", "detail": "is 0, not 1 to 100"}]
}))]
pub struct ProblemDetails {
    /// `urn:querent:problem:` and the code.
    #[serde(rename = "type")]
    type_uri: String,
    /// The status in words.
    title: String,
    status: u16,
    /// What happened, with which value, and what to do.
    detail: String,
    /// The path of the request.
    instance: String,
    /// Stable; programs may match on it.
    code: String,
    request_id: String,
    /// The fields that are wrong, if it is about fields.
    errors: Vec<ProblemField>,
}

/// A field that is wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemField {
    /// JSON pointer into the body, for example `/messages/0/role`.
    pointer: String,
    detail: String,
}

impl ProblemDetails {
    /// The document as a body, written into a response that has its status and headers.
    pub fn write_to(&self, response: &mut Response) {
        // A struct of strings and numbers always serialises.
        *response.body_mut() = Body::from(serde_json::to_vec(self).unwrap_or_default());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KINDS: [(Kind, u16); 12] = [
        (Kind::Invalid, 422),
        (Kind::Unusable, 422),
        (Kind::Unauthenticated, 401),
        (Kind::Forbidden, 403),
        (Kind::NotFound, 404),
        (Kind::Conflict, 409),
        (Kind::TooLarge, 413),
        (Kind::Unsupported, 415),
        (Kind::Busy, 429),
        (Kind::Unavailable, 503),
        (Kind::Timeout, 504),
        (Kind::Internal, 500),
    ];

    #[test]
    fn kinds_have_their_status_and_headers() {
        for (kind, status) in KINDS {
            let response = Problem::from(Error::new(kind, "some_code", "text")).into_response();
            assert_eq!(response.status(), status, "{kind:?}");
            let has = |name| response.headers().contains_key(name);
            assert_eq!(has(RETRY_AFTER), matches!(status, 429 | 503), "{kind:?}");
            assert_eq!(has(WWW_AUTHENTICATE), status == 401, "{kind:?}");
        }
    }

    #[test]
    fn waits_are_whole_seconds() {
        for (ms, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (59_500, "60")] {
            let busy = Problem::from(Error::new(Kind::Busy, "rate_limited", "text"));
            let response = busy.retry_after(Duration::from_millis(ms)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds, "{ms}");
        }
    }

    #[test]
    fn a_rendered_refusal_can_be_rendered_again() {
        let error = Error::invalid("invalid_request", "`mode` is odd.").with_field("/mode", "odd");
        let details = |problem: Problem, id: &str| {
            serde_json::to_value(problem.details(id, "/v1/rewrite")).unwrap()
        };
        let first = details(Problem::from(error), "req_1");
        let again = Problem::of_details(serde_json::from_value(first.clone()).unwrap()).unwrap();
        let again = details(again, "req_2");
        assert_eq!(again["request_id"], "req_2");
        for member in ["type", "title", "status", "detail", "instance", "code", "errors"] {
            assert_eq!(again[member], first[member], "{member}");
        }
    }

    #[test]
    fn internal_text_stays_inside() {
        let error = Error::failed("open /srv/secret.db", std::io::Error::other("disk 客户 full"));
        let problem = Problem::from(error);
        assert_eq!(problem.cause(), Some("failed to open /srv/secret.db: disk 客户 full"));
        let document = serde_json::to_string(&problem.details("req_1", "/v1/search")).unwrap();
        assert!(!document.contains("secret") && !document.contains("disk"), "{document}");
    }

    #[test]
    fn causes_of_other_errors_stay_inside() {
        let error = Error::new(Kind::Unavailable, "index_unreadable", "The index is not readable.")
            .caused_by(std::io::Error::other("/srv/index/3"));
        let problem = Problem::from(error);
        assert!(problem.cause().is_some_and(|cause| cause.contains("/srv/index/3")));
        let document = serde_json::to_string(&problem.details("req_1", "/")).unwrap();
        assert!(document.contains("not readable") && !document.contains("/srv"), "{document}");
    }

    #[test]
    fn documents_have_every_member() {
        let error = Error::invalid("invalid_request", "`mode` is odd.").with_field("/mode", "odd");
        let details = Problem::from(error).details("req_9", "/v1/rewrite");
        assert_eq!(
            serde_json::to_value(details).unwrap(),
            json!({
                "type": "urn:querent:problem:invalid_request",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "`mode` is odd.",
                "instance": "/v1/rewrite",
                "code": "invalid_request",
                "request_id": "req_9",
                "errors": [{"pointer": "/mode", "detail": "odd"}],
            })
        );
    }

    #[test]
    fn wrong_methods_learn_the_right_ones() {
        let response = Problem::method_not_allowed("GET, PUT".into()).into_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, PUT");
    }
}
