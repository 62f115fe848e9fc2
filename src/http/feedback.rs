//! Feedback: giving it, reading it, deleting it.
//!
//! Giving needs the scope `feedback`, which a chat frontend holds. Reading and deleting show and
//! touch what all users have asked, so they need the scopes of training: `jobs.read` and
//! `jobs.write`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::checks::Checks;
use super::document::FEEDBACK;
use super::extract::{Json, Query};
use super::guard::Caller;
use super::pages::{List, ListParams, timestamp};
use super::problem::Answer;
use super::query::MAX_USER_CHARS;
use crate::error::Result;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::feedback::{
    Feedback, FeedbackFilter, FeedbackKind, NewFeedback, RequestForm, StoredRequest,
};

const MAX_ID_CHARS: usize = 64;
const MAX_TEXT_CHARS: usize = 8_000;

/// What somebody did with an answer or said of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "target": "se_01997a3e6b6a7c0f8e1d2c3b4a596877", "kind": "click", "chunk_id": "ck_1812"
}))]
pub struct FeedbackRequest {
    /// Id of the rewrite (`rw_…`) or search (`se_…`) that it is about.
    #[schema(max_length = 64)]
    target: String,
    kind: FeedbackKindName,
    /// `thumb`: 1 or -1, which true and false stand for. `dwell`: seconds. Otherwise as you like.
    #[schema(schema_with = value_schema)]
    #[serde(default)]
    value: Option<Value>,
    /// A passage of the answer; `click`, `cite` and `dwell` need one.
    #[schema(max_length = 64)]
    chunk_id: Option<String>,
    /// `edit`: the question as it should have been. Otherwise a remark.
    #[schema(max_length = 8000)]
    text: Option<String>,
    /// Who gave it, by a name of the caller's choice.
    #[schema(max_length = 128)]
    user: Option<String>,
}

/// What was done or said.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKindName {
    Thumb,
    Click,
    Cite,
    Edit,
    Dwell,
}

/// Feedback as it is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackObject {
    id: String,
    target: String,
    kind: FeedbackKindName,
    value: Option<f64>,
    chunk_id: Option<String>,
    text: Option<String>,
    user: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// What it is about; null where requests are not kept.
    request: Option<KeptRequestObject>,
}

/// A request with its answer, as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptRequestObject {
    id: String,
    rewrite_id: String,
    user: Option<String>,
    collection: Option<String>,
    /// `plain`, or `hashed`: then every text in `detail` is a salted hash.
    form: &'static str,
    rewriter: Option<String>,
    embedder: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The question, the standalone question, the search queries and the passages shown.
    #[schema(value_type = Object)]
    detail: Value,
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedFeedbackResponse {
    feedback: u64,
    /// Requests with their answers.
    requests: u64,
}

/// Gives feedback.
///
/// The same again changes nothing; another value for the same target, kind and passage replaces
/// the earlier one.
#[utoipa::path(
    post,
    path = "/v1/feedback",
    tag = FEEDBACK,
    security(("key" = [Scope::Feedback])),
    request_body = FeedbackRequest,
    responses((status = 204, description = "It is stored"))
)]
pub async fn create_feedback(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Json(request): Json<FeedbackRequest>,
) -> Answer<StatusCode> {
    services.give_feedback(caller.tenant(), request.check()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists feedback, oldest first.
///
/// Each entry has the request that it is about with its answer, where that is kept.
#[utoipa::path(
    get,
    path = "/v1/feedback",
    tag = FEEDBACK,
    security(("key" = [Scope::JobsRead])),
    params(
        ListParams,
        ("target" = Option<String>, Query, description = "Only what is about this answer"),
        ("kind" = Option<FeedbackKindName>, Query, description = "Only of this kind"),
        ("user" = Option<String>, Query, description = "Only of this user"),
    ),
    responses((status = 200, description = "The feedback", body = List<FeedbackObject>))
)]
pub async fn list_feedback(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Query(mut values): Query,
) -> Answer<axum::Json<List<FeedbackObject>>> {
    let filter = filter(&mut values)?;
    let page = ListParams::read(Query(values))?;
    let found =
        services.list_feedback(caller.tenant(), &filter, page.limit, page.after.as_deref()).await?;
    Ok(axum::Json(List::new(found, Into::into)))
}

/// Deletes feedback and kept requests.
///
/// Of one user with `user`, of the whole tenant with `all=true`: what the user said, what the user
/// asked, and what others said of that.
#[utoipa::path(
    delete,
    path = "/v1/feedback",
    tag = FEEDBACK,
    security(("key" = [Scope::JobsWrite])),
    params(
        ("user" = Option<String>, Query, description = "Whose"),
        ("all" = Option<bool>, Query, description = "`true`: everybody's"),
    ),
    responses((status = 200, description = "How much it was", body = DeletedFeedbackResponse))
)]
pub async fn delete_feedback(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Query(mut values): Query,
) -> Answer<axum::Json<DeletedFeedbackResponse>> {
    let mut checks = Checks::default();
    let user = user(&mut values, &mut checks);
    let all = match values.remove("all").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            checks.refuse("/all", "is neither true nor false");
            false
        }
    };
    if user.is_some() == all {
        checks.refuse("/user", "or `all=true` is needed, and only one of them");
    }
    for name in values.keys() {
        checks.refuse(format!("/{}", super::checks::segment(name)), "is not one of user, all");
    }
    checks.finish()?;
    let (feedback, requests) = services.delete_feedback(caller.tenant(), user.as_deref()).await?;
    Ok(axum::Json(DeletedFeedbackResponse { feedback, requests }))
}

impl FeedbackRequest {
    fn check(self) -> Result<NewFeedback> {
        let mut checks = Checks::default();
        checks.line("/target", &self.target, MAX_ID_CHARS);
        if let Some(chunk) = &self.chunk_id {
            checks.line("/chunk_id", chunk, MAX_ID_CHARS);
        }
        if let Some(text) = &self.text {
            checks.text("/text", text, MAX_TEXT_CHARS);
        }
        if let Some(user) = &self.user {
            checks.line("/user", user, MAX_USER_CHARS);
        }
        let value = match &self.value {
            None | Some(Value::Null) => None,
            Some(Value::Bool(up)) => Some(if *up { 1.0 } else { -1.0 }),
            Some(Value::Number(number)) => number.as_f64(),
            Some(_) => {
                checks.refuse("/value", "is neither a number nor true or false");
                None
            }
        };
        checks.finish()?;
        Ok(NewFeedback {
            target: self.target,
            kind: self.kind.into(),
            chunk_id: self.chunk_id,
            value,
            text: self.text,
            user: self.user,
        })
    }
}

fn filter(values: &mut BTreeMap<String, String>) -> Result<FeedbackFilter> {
    let mut checks = Checks::default();
    let target = values.remove("target");
    if let Some(target) = &target {
        checks.line("/target", target, MAX_ID_CHARS);
    }
    let kind = values.remove("kind").and_then(|name| {
        let kind = FeedbackKind::named(&name);
        if kind.is_none() {
            checks.refuse("/kind", "is not one of thumb, click, cite, edit, dwell");
        }
        kind
    });
    let user = user(values, &mut checks);
    checks.finish()?;
    Ok(FeedbackFilter { target, kind, user })
}

fn user(values: &mut BTreeMap<String, String>, checks: &mut Checks) -> Option<String> {
    let user = values.remove("user")?;
    checks.line("/user", &user, MAX_USER_CHARS);
    Some(user)
}

fn value_schema() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
    let of = |kind| ObjectBuilder::new().schema_type(kind).build();
    Schema::OneOf(
        OneOfBuilder::new()
            .item(of(Type::Number))
            .item(of(Type::Boolean))
            .item(of(Type::Null))
            .description(Some("1 or -1, true or false, or seconds"))
            .build(),
    )
}

impl From<FeedbackKindName> for FeedbackKind {
    fn from(name: FeedbackKindName) -> Self {
        match name {
            FeedbackKindName::Thumb => Self::Thumb,
            FeedbackKindName::Click => Self::Click,
            FeedbackKindName::Cite => Self::Cite,
            FeedbackKindName::Edit => Self::Edit,
            FeedbackKindName::Dwell => Self::Dwell,
        }
    }
}

impl From<FeedbackKind> for FeedbackKindName {
    fn from(kind: FeedbackKind) -> Self {
        match kind {
            FeedbackKind::Thumb => Self::Thumb,
            FeedbackKind::Click => Self::Click,
            FeedbackKind::Cite => Self::Cite,
            FeedbackKind::Edit => Self::Edit,
            FeedbackKind::Dwell => Self::Dwell,
        }
    }
}

impl From<Feedback> for FeedbackObject {
    fn from(feedback: Feedback) -> Self {
        let given = feedback.given;
        Self {
            id: feedback.id,
            target: given.target,
            kind: given.kind.into(),
            value: given.value,
            chunk_id: given.chunk_id,
            text: given.text,
            user: given.user,
            created_at: timestamp(feedback.created_at),
            updated_at: timestamp(feedback.updated_at),
            request: feedback.request.map(Into::into),
        }
    }
}

impl From<StoredRequest> for KeptRequestObject {
    fn from(request: StoredRequest) -> Self {
        Self {
            id: request.id,
            rewrite_id: request.rewrite_id,
            user: request.user,
            collection: request.collection,
            form: match request.form {
                RequestForm::Hashed => "hashed",
                RequestForm::Plain => "plain",
            },
            rewriter: request.rewriter,
            embedder: request.embedder,
            created_at: timestamp(request.created_at),
            // Written by ourselves as JSON.
            detail: serde_json::from_str(&request.detail).unwrap_or_default(),
        }
    }
}
