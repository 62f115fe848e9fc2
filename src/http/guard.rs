//! Who may call what.
//!
//! An operation declares its need in its `#[utoipa::path]`: `security(("key" = [Scope::Query]))`,
//! `security(("key" = []))` for any valid key, `security(())` for nobody's business. The guard
//! reads these declarations from the API's description and decides before a handler runs; a route
//! that declares nothing is closed. A key that is unknown, malformed, expired, revoked or not
//! there at all gives one and the same answer. A good key is then held to its [`Limits`], before
//! its scopes are looked at and before a byte of a body is read; open routes have no limits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, security::SecurityRequirement};

use super::HttpSettings;
use super::limits::Limits;
use super::ops::DOCS_PATHS;
use super::problem::{Answer, Problem};
use super::record::Identity;
use crate::error::{Error, Kind, Result};
use crate::service::journal::Journal;
use crate::store::access::{KeyLimits, Principal, Scope, prefix_of_secret};
use crate::store::{Store, TenantId};

/// Name of the security scheme in the API's description.
pub const SCHEME: &str = "key";

/// The tenant of everybody in development mode.
const DEV_TENANT: &str = "default";

/// What is looked up when no key is given. It opens nothing: it is not drawn at random, and it
/// has the form of a key only so that the look-up is done.
const NO_KEY: &str = "qk_0000000000000000000000000000000000000000000";

/// What an operation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// No key.
    Open,
    /// A valid key that holds all of these scopes; none means that any valid key will do.
    Key(Vec<Scope>),
}

/// What each operation declares, by method and route. `None`: nothing, so it is closed.
pub fn table(api: &OpenApi) -> BTreeMap<(String, String), Option<Access>> {
    let mut table = BTreeMap::new();
    for (path, item) in &api.paths.paths {
        for (method, operation) in methods(item) {
            table.insert((method.to_string(), path.clone()), access(operation));
        }
    }
    for path in DOCS_PATHS {
        let need = Some(Access::Key(Vec::new()));
        table.insert((Method::GET.to_string(), path.to_owned()), need);
    }
    table
}

/// The decision maker, shared by all requests.
#[derive(Debug)]
pub struct Guard {
    store: Store,
    journal: Journal,
    limits: Limits,
    /// Everybody, in development mode.
    everybody: Option<Principal>,
    table: BTreeMap<(String, String), Option<Access>>,
}

impl Guard {
    pub fn new(store: Store, journal: Journal, api: &OpenApi, settings: &HttpSettings) -> Self {
        let tenant = TenantId::new(DEV_TENANT).ok().filter(|_| settings.dev);
        let everybody = tenant.map(|tenant| Principal {
            key_id: DEV_TENANT.to_owned(),
            key_prefix: String::new(),
            tenant,
            scopes: Scope::ALL.to_vec(),
            limits: KeyLimits::default(),
            is_use_worth_noting: false,
        });
        let limits = Limits::new(settings.limits.clone());
        Self { store, journal, limits, everybody, table: table(api) }
    }

    /// What the route declares for the method; a 405 when it is served, but not so.
    fn access(&self, method: &Method, route: &str) -> Answer<Option<&Access>> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        if let Some(access) = self.table.get(&(method.to_string(), route.to_owned())) {
            return Ok(access.as_ref());
        }
        let others = self.table.keys().filter(|(_, path)| path == route);
        let allow = others.map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
        if allow.is_empty() { Ok(None) } else { Err(Problem::method_not_allowed(allow)) }
    }

    /// Who is calling, by the key of the request.
    async fn principal(&self, headers: &HeaderMap) -> Result<Principal> {
        if let Some(everybody) = &self.everybody {
            check_host(headers)?;
            return Ok(everybody.clone());
        }
        let secret = bearer(headers).unwrap_or(NO_KEY);
        self.store.verify_key(secret).await?.ok_or_else(|| {
            Error::new(
                Kind::Unauthenticated,
                "unauthenticated",
                "A valid API key is needed; send it as `Authorization: Bearer qk_…`.",
            )
        })
    }
}

/// The layer: lets a request through with its [`Caller`], or refuses it.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let declared = route.as_ref().map(|route| guard.access(request.method(), route.as_str()));
    if let Some(Ok(Some(Access::Open))) = declared {
        return Ok(next.run(request).await);
    }
    let principal = guard.principal(request.headers()).await?;
    if let Some(Identity(identity)) = request.extensions().get() {
        identity.get_or_init(|| principal.clone());
    }
    if principal.is_use_worth_noting {
        guard.journal.note_key_use(&principal.key_id);
    }
    let permit = guard.limits.admit(&principal).await?;
    match declared {
        // Of an unknown route nobody learns without a key that it is unknown.
        None => {}
        Some(declared) => check_scopes(declared?, &principal)?,
    }
    request.extensions_mut().insert(Caller(principal));
    // Work that outlives the request takes a copy with it.
    request.extensions_mut().insert(permit.clone());
    Ok(permit.hold(next.run(request).await))
}

/// Who is calling, for handlers. There is none on open routes.
#[derive(Debug, Clone)]
pub struct Caller(Principal);

impl Caller {
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    pub fn scopes(&self) -> &[Scope] {
        &self.0.scopes
    }

    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Answer<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| undeclared().into())
    }
}

fn check_scopes(declared: Option<&Access>, principal: &Principal) -> Result<()> {
    let Some(Access::Key(scopes)) = declared else { return Err(undeclared()) };
    match scopes.iter().find(|scope| !principal.may(**scope)) {
        None => Ok(()),
        Some(missing) => Err(Error::new(
            Kind::Forbidden,
            "scope_missing",
            format!("The key does not have the scope `{missing}`, which this operation needs."),
        )),
    }
}

fn undeclared() -> Error {
    Error::new(Kind::Forbidden, "no_scope_declared", "This operation is closed to everybody.")
}

/// What may be shown of the key that a request was sent with, valid or not.
pub fn sent_prefix(headers: &HeaderMap) -> Option<&str> {
    prefix_of_secret(bearer(headers)?)
}

/// The secret of `Authorization: Bearer …`; none when the header is missing, double or other.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// In development mode any web page that a browser shows could ask, by a name that it lets point
/// to this machine; so the name must be this machine's own.
fn check_host(headers: &HeaderMap) -> Result<()> {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return Ok(()) };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    {
        return Ok(());
    }
    Err(Error::new(
        Kind::Forbidden,
        "foreign_host",
        "In development mode the server answers to localhost only; use a key to call it by name.",
    ))
}

fn methods(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let operations = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
        (Method::OPTIONS, &item.options),
        (Method::HEAD, &item.head),
        (Method::TRACE, &item.trace),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Reads a declaration. One that says several things, or something unknown, says nothing.
fn access(operation: &Operation) -> Option<Access> {
    let [requirement] = operation.security.as_deref()? else { return None };
    let requirement = serde_json::to_value::<&SecurityRequirement>(requirement).ok()?;
    let schemes = requirement.as_object()?;
    if schemes.is_empty() {
        return Some(Access::Open);
    }
    let scopes = schemes.get(SCHEME).filter(|_| schemes.len() == 1)?.as_array()?;
    let scope = |scope: &Value| scope.as_str()?.parse::<Scope>().ok();
    scopes.iter().map(scope).collect::<Option<Vec<Scope>>>().map(Access::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_operation_declares_what_it_needs() {
        let open = ["/livez", "/readyz"];
        let docs = ["/version", "/openapi.json", "/docs", "/docs/", "/docs/{*rest}"];
        let any_key = [&docs[..], &["/v1/models", "/v1/models/{id}"]].concat();
        let table = table(&crate::http::openapi());
        assert!(table.len() > 20, "{table:?}");
        for ((method, path), access) in table {
            let Some(access) = access else { panic!("{method} {path} declares nothing") };
            assert_eq!(access == Access::Open, open.contains(&path.as_str()), "{method} {path}");
            let any = access == Access::Key(Vec::new());
            assert_eq!(any, any_key.contains(&path.as_str()), "{method} {path}");
        }
    }

    #[test]
    fn odd_declarations_open_nothing() {
        let need = |security: &str| {
            let text = format!(r#"{{"responses": {{}}, "security": {security}}}"#);
            access(&serde_json::from_str::<Operation>(&text).unwrap())
        };
        assert_eq!(need("[{}]"), Some(Access::Open));
        assert_eq!(need(r#"[{"key": []}]"#), Some(Access::Key(Vec::new())));
        assert_eq!(need(r#"[{"key": ["embed"]}]"#), Some(Access::Key(vec![Scope::Embed])));
        for closed in [
            "[]",
            r#"[{"key": ["everything"]}]"#,
            r#"[{"cookie": []}]"#,
            r#"[{"key": ["embed"], "cookie": []}]"#,
            r#"[{"key": ["embed"]}, {}]"#,
        ] {
            assert_eq!(need(closed), None, "{closed}");
        }
        assert_eq!(access(&Operation::default()), None);
    }

    #[test]
    fn only_one_bearer_header_is_read() {
        let read = |values: &[&str]| bearer(&headers(AUTHORIZATION, values)).map(str::to_owned);
        assert_eq!(read(&["Bearer qk_1"]).as_deref(), Some("qk_1"));
        assert_eq!(read(&["bearer  qk_1 "]).as_deref(), Some("qk_1"));
        for odd in [&["Basic qk_1"][..], &["qk_1"], &["Bearer"], &[], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn development_mode_answers_to_this_machine_only() {
        let check = |host: &str| check_host(&headers(HOST, &[host])).is_ok();
        for own in ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert!(check(own), "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example:80", "192.168.1.2", "", "[::2]:1"] {
            assert!(!check(foreign), "{foreign}");
        }
    }
}
