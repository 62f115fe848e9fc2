//! Refusals in the shape that the clients of a route know. A route's shape follows from its path
//! alone, so that what the layers refuse before a handler runs (no key, too large, unknown path)
//! looks like the handler's own refusals.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{
    Components, ContentBuilder, Ref, RefOr, Response as ResponseObject, ResponseBuilder, Schema,
};

use crate::http::problem::{self, Problem, ProblemDetails, ProblemField};

const OPENAI_ROOTS: [&str; 4] = ["/v1/embeddings", "/v1/models", "/v1/files", "/v1/fine_tuning"];
const COHERE_ROOTS: [&str; 1] = ["/v2/rerank"];
const TEI_ROOTS: [&str; 3] = ["/embed", "/rerank", "/info"];

/// How a refusal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// RFC 9457; its `detail` is where Jina's clients look, too.
    Problem,
    OpenAi,
    Cohere,
    Tei,
}

/// Why a request was refused, as OpenAI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenAiError, example = json!({"error": {
    "message": "/dimensions is 4096, not 1 to 224, the length of the vectors.",
    "type": "invalid_request_error",
    "param": "dimensions",
    "code": "invalid_dimensions"
}}))]
pub struct OpenAiErrorBody {
    error: OpenAiErrorObject,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorObject {
    /// What happened, with which value, and what to do.
    message: String,
    /// `invalid_request_error`, `permission_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field that is wrong, if it is about a field.
    param: Option<String>,
    /// Stable; programs may match on it.
    code: Option<String>,
}

/// Why a request was refused, as Cohere's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CohereError, example = json!({
    "id": "req_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "message": "/top_n is 0, not 1 to 1000",
    "code": "invalid_request"
}))]
pub struct CohereErrorBody {
    /// The request's id.
    id: String,
    message: String,
    /// Stable; programs may match on it.
    code: String,
}

/// Why a request was refused, as TEI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeiError, example = json!({
    "error": "/inputs has 900 tokens in text 0, counted from 0, more than the 256 that the model \
              reads; send shorter texts, or `truncate: true` to have the rest cut off.",
    "error_type": "Validation"
}))]
pub struct TeiErrorBody {
    error: String,
    /// `Unhealthy`, `Backend`, `Overloaded`, `Validation`, `Empty` or `Unauthorized`.
    error_type: &'static str,
}

impl Shape {
    pub const ALL: [Self; 4] = [Self::Problem, Self::OpenAi, Self::Cohere, Self::Tei];

    /// The shape of a path, or of a route's template.
    pub fn of(path: &str) -> Self {
        let is_below = |root: &&str| {
            path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if OPENAI_ROOTS.iter().any(&is_below) {
            Self::OpenAi
        } else if COHERE_ROOTS.iter().any(&is_below) {
            Self::Cohere
        } else if TEI_ROOTS.iter().any(is_below) {
            Self::Tei
        } else {
            Self::Problem
        }
    }

    /// Writes the refusal of the request with this id and path into a response that has its
    /// status and headers. The status becomes the one that the shape's owner gives.
    pub fn write(
        self,
        problem: Problem,
        request_id: &str,
        instance: &str,
        response: &mut Response,
    ) {
        let status = problem.status();
        let (status, body) = match self {
            Self::Problem => return problem.details(request_id, instance).write_to(response),
            Self::OpenAi => (without_422(status), json(&openai_error(&problem))),
            Self::Cohere => (
                without_422(status),
                json(&CohereErrorBody {
                    id: request_id.to_owned(),
                    message: problem.detail().to_owned(),
                    code: problem.code().to_owned(),
                }),
            ),
            Self::Tei => tei_error(&problem),
        };
        *response.status_mut() = status;
        *response.body_mut() = Body::from(body);
        let media_type = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
    }

    /// The default answer of an operation with this shape.
    pub fn reference(self) -> RefOr<ResponseObject> {
        RefOr::Ref(Ref::from_response_name(self.name()))
    }

    /// Describes what a refusal looks like.
    pub fn describe(self, components: &mut Components) {
        let mut add = |schemas: Vec<(String, RefOr<Schema>)>, media_type: &str| {
            let main = schemas.first().map(|(name, _)| name.clone()).unwrap_or_default();
            components.schemas.extend(schemas);
            let schema = Ref::from_schema_name(main);
            let content = ContentBuilder::new().schema(Some(schema)).build();
            let response: ResponseObject = ResponseBuilder::new()
                .description("Why the request was refused")
                .content(media_type, content)
                .build();
            components.responses.insert(self.name().to_owned(), response.into());
        };
        match self {
            Self::Problem => add(
                vec![schema_of::<ProblemDetails>(), schema_of::<ProblemField>()],
                problem::MEDIA_TYPE,
            ),
            Self::OpenAi => add(
                vec![schema_of::<OpenAiErrorBody>(), schema_of::<OpenAiErrorObject>()],
                "application/json",
            ),
            Self::Cohere => add(vec![schema_of::<CohereErrorBody>()], "application/json"),
            Self::Tei => add(vec![schema_of::<TeiErrorBody>()], "application/json"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Problem => "Problem",
            Self::OpenAi => "OpenAiError",
            Self::Cohere => "CohereError",
            Self::Tei => "TeiError",
        }
    }
}

fn schema_of<T: ToSchema>() -> (String, RefOr<Schema>) {
    (T::name().into_owned(), T::schema())
}

/// A struct of strings always serialises.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

/// OpenAI and Cohere answer every invalid request with 400.
fn without_422(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        _ => status,
    }
}

fn openai_error(problem: &Problem) -> OpenAiErrorBody {
    let status = problem.status();
    let kind = match status {
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        _ if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    // Their clients match on this one.
    let is_key = status == StatusCode::UNAUTHORIZED;
    let code = if is_key { "invalid_api_key" } else { problem.code() };
    OpenAiErrorBody {
        error: OpenAiErrorObject {
            message: problem.detail().to_owned(),
            kind,
            param: problem.errors().first().and_then(|field| param(&field.pointer)),
            code: Some(code.to_owned()),
        },
    }
}

/// A JSON pointer as OpenAI names fields: `/input/3` is `input[3]`.
fn param(pointer: &str) -> Option<String> {
    let mut name = String::new();
    for step in pointer.split('/').skip(1) {
        let is_index = !name.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        let step = step.replace("~1", "/").replace("~0", "~");
        match (is_index, name.is_empty()) {
            (true, _) => name.push_str(&format!("[{step}]")),
            (false, true) => name.push_str(&step),
            (false, false) => name.push_str(&format!(".{step}")),
        }
    }
    (!name.is_empty()).then_some(name)
}

/// TEI answers what is too long or too many with 413, and nothing at all with 400.
fn tei_error(problem: &Problem) -> (StatusCode, Vec<u8>) {
    let status = match problem.code() {
        "input_too_long" | "too_many_inputs" | "too_many_tokens" => StatusCode::PAYLOAD_TOO_LARGE,
        "empty_input" => StatusCode::BAD_REQUEST,
        _ => problem.status(),
    };
    let error_type = match status {
        _ if problem.code() == "empty_input" => "Empty",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "Unauthorized",
        StatusCode::TOO_MANY_REQUESTS => "Overloaded",
        StatusCode::SERVICE_UNAVAILABLE => "Unhealthy",
        _ if status.is_server_error() => "Backend",
        _ => "Validation",
    };
    (status, json(&TeiErrorBody { error: problem.detail().to_owned(), error_type }))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;
    use crate::error::{Error, Kind};

    async fn written(shape: Shape, error: Error) -> (u16, Value) {
        let problem = Problem::from(error);
        let mut response = problem.clone().into_response();
        shape.write(problem, "req_1", "/path", &mut response);
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn the_path_says_the_shape() {
        for (path, shape) in [
            ("/v1/embeddings", Shape::OpenAi),
            ("/v1/models/{id}", Shape::OpenAi),
            ("/v1/fine_tuning/jobs/ft_1/events", Shape::OpenAi),
            ("/v1/modelsx", Shape::Problem),
            ("/v1/rerank", Shape::Problem),
            ("/v2/rerank", Shape::Cohere),
            ("/rerank", Shape::Tei),
            ("/embed", Shape::Tei),
            ("/embedding", Shape::Problem),
            ("/v1/search", Shape::Problem),
        ] {
            assert_eq!(Shape::of(path), shape, "{path}");
        }
    }

    #[tokio::test]
    async fn openai_reads_message_type_param_and_code() {
        let error = Error::invalid("invalid_request", "odd").with_field("/input/3", "is odd");
        let (status, body) = written(Shape::OpenAi, error).await;
        let expected = json!({"error": {"message": "odd", "type": "invalid_request_error",
                                        "param": "input[3]", "code": "invalid_request"}});
        assert_eq!((status, body), (400, expected));
        for (kind, code, status, kind_text, shown) in [
            (
                Kind::Unauthenticated,
                "unauthenticated",
                401,
                "invalid_request_error",
                "invalid_api_key",
            ),
            (Kind::Forbidden, "scope_missing", 403, "permission_error", "scope_missing"),
            (Kind::NotFound, "model_not_found", 404, "invalid_request_error", "model_not_found"),
            (Kind::Busy, "embedder_busy", 429, "rate_limit_error", "embedder_busy"),
            (Kind::Internal, "internal", 500, "server_error", "internal"),
        ] {
            let (found, body) = written(Shape::OpenAi, Error::new(kind, code, "text")).await;
            assert_eq!(found, status);
            assert_eq!(
                (&body["error"]["type"], &body["error"]["code"]),
                (&json!(kind_text), &json!(shown))
            );
            assert!(body["error"]["param"].is_null());
        }
    }

    #[tokio::test]
    async fn tei_reads_error_and_its_type() {
        for (kind, code, status, error_type) in [
            (Kind::Invalid, "input_too_long", 413, "Validation"),
            (Kind::Invalid, "empty_input", 400, "Empty"),
            (Kind::Invalid, "invalid_request", 422, "Validation"),
            (Kind::Busy, "embedder_busy", 429, "Overloaded"),
            (Kind::Unauthenticated, "unauthenticated", 401, "Unauthorized"),
            (Kind::Internal, "internal", 500, "Backend"),
        ] {
            let (found, body) = written(Shape::Tei, Error::new(kind, code, "text")).await;
            assert_eq!((found, &body["error_type"]), (status, &json!(error_type)), "{code}");
            assert!(body["error"].is_string());
        }
    }

    #[tokio::test]
    async fn cohere_reads_a_message() {
        let (status, body) = written(Shape::Cohere, Error::invalid("invalid_request", "odd")).await;
        let expected = json!({"id": "req_1", "message": "odd", "code": "invalid_request"});
        assert_eq!((status, body), (400, expected));
    }
}
