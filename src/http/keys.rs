//! Keys: `/admin/keys`. A key can only make keys of its own tenant with scopes that it holds.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::checks::Checks;
use super::document::KEYS;
use super::extract::{Json, Path, Query};
use super::guard::Caller;
use super::idempotency::Repeated;
use super::pages::{List, ListParams, timestamp};
use super::problem::Answer;
use crate::error::{Error, Kind, Result};
use crate::service::Services;
use crate::store::access::{Key, KeyLimits, NewKey, Scope};

const MAX_NAME_CHARS: usize = 100;
const MAX_RATE_PER_MINUTE: u32 = 1_000_000;
const MAX_CONCURRENT: u32 = 10_000;

/// What a key is made with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "the shop's search box",
    "scopes": ["query"],
    "expires_at": "2027-01-01T00:00:00Z",
    "rate_per_minute": 600,
    "max_concurrent": 8
}))]
pub struct KeyRequest {
    #[schema(max_length = 100)]
    name: Option<String>,
    /// Some of the maker's own, of `query`, `embed`, `corpus.read`, `corpus.write`, `feedback`,
    /// `jobs.read`, `jobs.write`, `models.promote`, `keys.manage`, `metrics`.
    #[schema(min_items = 1)]
    scopes: Vec<String>,
    /// From then on the key opens nothing. Null: it does not expire.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Requests in a minute. Null: `[limits] key_rate_per_minute`; 0: no limit.
    #[schema(minimum = 0, maximum = 1000000)]
    rate_per_minute: Option<i64>,
    /// Requests at one time, until their answers have ended. Null: `[limits] key_max_concurrent`;
    /// 0: no limit.
    #[schema(minimum = 0, maximum = 10000)]
    max_concurrent: Option<i64>,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "key_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "name": "the shop's search box",
    "prefix": "qk_4fJ2mQ8x",
    "scopes": ["query"],
    "created_at": "2025-11-03T08:00:00Z",
    "expires_at": "2027-01-01T00:00:00Z",
    "revoked_at": null,
    "rate_per_minute": 600,
    "max_concurrent": null,
    "last_used_at": "2025-11-03T08:12:00Z"
}))]
pub struct KeyObject {
    id: String,
    name: Option<String>,
    /// The first characters of the secret.
    prefix: String,
    scopes: Vec<&'static str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// Null: the server's default. 0: no limit.
    rate_per_minute: Option<u32>,
    /// Null: the server's default. 0: no limit.
    max_concurrent: Option<u32>,
    /// To the minute; null when it was not used yet.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// A key just made.
#[derive(Serialize, ToSchema)]
pub struct CreatedKeyResponse {
    #[serde(flatten)]
    key: KeyObject,
    /// Shown this once; null when the call is repeated by its `Idempotency-Key`. Whoever lost the
    /// first answer revokes the key and makes another.
    secret: Option<String>,
}

/// Lists the tenant's keys, oldest first, with the revoked and the expired ones.
#[utoipa::path(
    get,
    path = "/admin/keys",
    tag = KEYS,
    security(("key" = [Scope::KeysManage])),
    params(ListParams),
    responses((status = 200, description = "A page", body = List<KeyObject>))
)]
pub async fn list_keys(
    State(services): State<Arc<Services>>,
    caller: Caller,
    query: Query,
) -> Answer<axum::Json<List<KeyObject>>> {
    let ListParams { limit, after } = ListParams::read(query)?;
    let page = services.store().list_keys(caller.tenant(), limit, after.as_deref()).await?;
    Ok(axum::Json(List::new(page, Into::into)))
}

/// Makes a key.
///
/// The secret is shown in this answer and never again.
#[utoipa::path(
    post,
    path = "/admin/keys",
    tag = KEYS,
    security(("key" = [Scope::KeysManage])),
    request_body = KeyRequest,
    responses((status = 201, description = "The key with its secret", body = CreatedKeyResponse))
)]
pub async fn create_key(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Json(request): Json<KeyRequest>,
) -> Answer<(
    StatusCode,
    Extension<Repeated>,
    [(HeaderName, &'static str); 1],
    axum::Json<CreatedKeyResponse>,
)> {
    let new = request.check(caller.scopes(), OffsetDateTime::now_utc())?;
    let created = services.store().create_key(caller.tenant(), new).await?;
    let without_secret = CreatedKeyResponse { key: created.key.into(), secret: None };
    let repeated = serde_json::to_vec(&without_secret).map_err(Error::from)?;
    let response = CreatedKeyResponse { secret: Some(created.secret), ..without_secret };
    Ok((
        StatusCode::CREATED,
        Extension(Repeated(repeated)),
        [(CACHE_CONTROL, "no-store")],
        axum::Json(response),
    ))
}

/// Revokes a key for good.
#[utoipa::path(
    delete,
    path = "/admin/keys/{id}",
    tag = KEYS,
    security(("key" = [Scope::KeysManage])),
    params(("id" = String, Path, description = "The key")),
    responses((status = 204, description = "It opens nothing any more"))
)]
pub async fn delete_key(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    services.store().revoke_key(caller.tenant(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl KeyRequest {
    fn check(self, held: &[Scope], now: OffsetDateTime) -> Result<NewKey> {
        let mut checks = Checks::default();
        if let Some(name) = &self.name {
            checks.line("/name", name, MAX_NAME_CHARS);
        }
        let scopes = read_scopes(&self.scopes, &mut checks);
        let expires_at = read_expiry(self.expires_at.as_deref(), now, &mut checks);
        let limits = KeyLimits {
            rate_per_minute: limit(
                "/rate_per_minute",
                self.rate_per_minute,
                MAX_RATE_PER_MINUTE,
                &mut checks,
            ),
            max_concurrent: limit(
                "/max_concurrent",
                self.max_concurrent,
                MAX_CONCURRENT,
                &mut checks,
            ),
        };
        checks.finish()?;
        match scopes.iter().find(|scope| !held.contains(scope)) {
            None => Ok(NewKey { name: self.name, scopes, expires_at, limits }),
            Some(missing) => Err(Error::new(
                Kind::Forbidden,
                "scope_not_held",
                format!("A key can only give scopes that it has itself, and it lacks `{missing}`."),
            )),
        }
    }
}

/// The scopes in the order given, each once.
fn read_scopes(names: &[String], checks: &mut Checks) -> Vec<Scope> {
    let mut scopes = Vec::new();
    if names.is_empty() {
        checks.refuse("/scopes", "is empty: a key needs at least one scope");
    }
    for (index, name) in names.iter().enumerate() {
        match name.parse::<Scope>() {
            Ok(scope) if scopes.contains(&scope) => {}
            Ok(scope) => scopes.push(scope),
            Err(error) => checks.refuse(format!("/scopes/{index}"), error.message),
        }
    }
    scopes
}

fn limit(pointer: &str, value: Option<i64>, most: u32, checks: &mut Checks) -> Option<u32> {
    value.map(|value| checks.number(pointer, Some(value), 0..=most, 0))
}

fn read_expiry(
    text: Option<&str>,
    now: OffsetDateTime,
    checks: &mut Checks,
) -> Option<OffsetDateTime> {
    let expiry = OffsetDateTime::parse(text?, &Rfc3339).ok();
    if expiry.is_none_or(|expiry| expiry <= now) {
        checks.refuse("/expires_at", "is not a time to come in RFC 3339");
    }
    expiry
}

impl From<Key> for KeyObject {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.into_iter().map(Scope::as_str).collect(),
            created_at: timestamp(key.created_at),
            expires_at: key.expires_at.map(timestamp),
            revoked_at: key.revoked_at.map(timestamp),
            rate_per_minute: key.limits.rate_per_minute,
            max_concurrent: key.limits.max_concurrent,
            last_used_at: key.last_used_at.map(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2025-11-23 12:00 UTC);
    const HELD: [Scope; 2] = [Scope::Query, Scope::KeysManage];

    fn check(body: Value) -> Result<NewKey> {
        serde_json::from_value::<KeyRequest>(body).unwrap().check(&HELD, NOW)
    }

    #[test]
    fn keys_give_what_they_have_and_no_more() {
        let new = check(json!({"scopes": ["query", "query"], "name": "搜索框"})).unwrap();
        assert_eq!(new.scopes, [Scope::Query]);
        let refused = check(json!({"scopes": ["query", "corpus.write"]})).unwrap_err();
        assert_eq!((refused.kind, refused.code), (Kind::Forbidden, "scope_not_held"));
    }

    #[test]
    fn odd_keys_are_refused_with_their_place() {
        for (body, pointer) in [
            (json!({"scopes": []}), "/scopes"),
            (json!({"scopes": ["query", "all"]}), "/scopes/1"),
            (json!({"scopes": ["query"], "name": "\n"}), "/name"),
            (json!({"scopes": ["query"], "expires_at": "2025-11-23T12:00:00Z"}), "/expires_at"),
            (json!({"scopes": ["query"], "expires_at": "soon"}), "/expires_at"),
            (json!({"scopes": ["query"], "rate_per_minute": -1}), "/rate_per_minute"),
            (json!({"scopes": ["query"], "max_concurrent": 10_001}), "/max_concurrent"),
        ] {
            assert_eq!(check(body).unwrap_err().fields[0].pointer, pointer);
        }
        let body = json!({"scopes": ["query"], "expires_at": "2025-11-23T20:00:01+08:00"});
        assert!(check(body).unwrap().expires_at.is_some());
        let body = json!({"scopes": ["query"], "rate_per_minute": 0, "max_concurrent": 7});
        let limits = KeyLimits { rate_per_minute: Some(0), max_concurrent: Some(7) };
        assert_eq!(check(body).unwrap().limits, limits);
    }
}
