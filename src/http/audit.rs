//! The audit trail: `/admin/audit`.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::checks::Checks;
use super::document::KEYS;
use super::extract::Query;
use super::guard::Caller;
use super::pages::{List, ListParams, timestamp};
use super::problem::Answer;
use crate::error::Result;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::audit::{AuditEntry, AuditFilter};

const MAX_KEY_CHARS: usize = 64;

/// Which rows are wanted.
#[derive(Debug, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// A key's id, or the first characters of its secret that lists show.
    key: Option<String>,
    /// A status such as 403.
    #[param(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// Nothing before this moment, RFC 3339.
    #[param(format = DateTime)]
    since: Option<String>,
}

/// A call that was refused (401, 403, 429) or that administered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "au_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "at": "2025-11-03T08:00:00Z",
    "key_id": "key_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "key_prefix": "qk_4fJ2mQ8x",
    "method": "DELETE",
    "route": "/v1/collections/{name}",
    "status": 204,
    "code": null,
    "request_id": "req_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "target": "docs"
}))]
pub struct AuditObject {
    id: String,
    #[schema(format = DateTime)]
    at: String,
    key_id: Option<String>,
    /// The first characters of the secret.
    key_prefix: Option<String>,
    method: String,
    /// The template of the path.
    route: String,
    /// 499: the caller left before the answer.
    status: u16,
    /// Why it was refused.
    code: Option<String>,
    request_id: String,
    /// What the path names last.
    target: Option<String>,
}

/// Lists refused and administrative calls of the tenant's keys, newest first.
///
/// Under a flood of refusals a key leaves 120 rows a minute; the log counts the others.
#[utoipa::path(
    get,
    path = "/admin/audit",
    tag = KEYS,
    security(("key" = [Scope::KeysManage])),
    params(AuditParams, ListParams),
    responses((status = 200, description = "A page", body = List<AuditObject>))
)]
pub async fn list_audit(
    State(services): State<Arc<Services>>,
    caller: Caller,
    query: Query,
) -> Answer<axum::Json<List<AuditObject>>> {
    let (filter, rest) = read_filter(query)?;
    let ListParams { limit, after } = ListParams::read(rest)?;
    let store = services.store();
    let page = store.list_audit(caller.tenant(), &filter, limit, after.as_deref()).await?;
    Ok(axum::Json(List::new(page, Into::into)))
}

/// Takes the filters out of a query string.
fn read_filter(Query(mut values): Query) -> Result<(AuditFilter, Query)> {
    let mut checks = Checks::default();
    let key = values.remove("key");
    if let Some(key) = &key {
        checks.line("/key", key, MAX_KEY_CHARS);
    }
    let status = values.remove("status").map(|text| text.parse::<u16>().unwrap_or(0));
    if status.is_some_and(|status| !(100..600).contains(&status)) {
        checks.refuse("/status", "is not a status from 100 to 599");
    }
    let since = values.remove("since").map(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
    if since == Some(None) {
        checks.refuse("/since", "is not a time in RFC 3339");
    }
    checks.finish()?;
    Ok((AuditFilter { key, status, since: since.flatten() }, Query(values)))
}

impl From<AuditEntry> for AuditObject {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: timestamp(entry.at),
            key_id: entry.key_id,
            key_prefix: entry.key_prefix,
            method: entry.method,
            route: entry.route,
            status: entry.status,
            code: entry.code,
            request_id: entry.request_id,
            target: entry.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<(AuditFilter, Query)> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        read_filter(Query(pairs.iter().map(pair).collect()))
    }

    #[test]
    fn filters_are_taken_out_and_the_rest_is_left() {
        let (filter, Query(rest)) =
            read(&[("key", "key_1"), ("status", "403"), ("limit", "5")]).unwrap();
        assert_eq!((filter.key.as_deref(), filter.status), (Some("key_1"), Some(403)));
        assert_eq!(rest.into_keys().collect::<Vec<_>>(), ["limit"]);
        let (filter, _) = read(&[("since", "2025-11-23T20:00:01+08:00")]).unwrap();
        assert!(filter.since.is_some());
    }

    #[test]
    fn odd_filters_are_named() {
        for (name, value) in
            [("key", ""), ("status", "ok"), ("status", "99"), ("status", "600"), ("since", "today")]
        {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.fields[0].pointer, format!("/{name}"), "{value}");
        }
    }
}
