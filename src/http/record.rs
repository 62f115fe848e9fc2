//! The audit layer: each refused call (401, 403, 429) and each administrative one leaves a row.
//!
//! It stands outside the guard, the deadline and the catcher of panics, so that it sees what they
//! answer. An administrative call is answered when its row is on disk.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use utoipa::openapi::OpenApi;

use super::guard::{self, Access};
use super::layers::RequestId;
use super::problem::Problem;
use crate::service::journal::Journal;
use crate::store::access::{Principal, Scope};
use crate::store::audit::NewAuditEntry;

/// Whoever holds one of these administers.
const ADMINISTRATIVE: [Scope; 3] = [Scope::KeysManage, Scope::ModelsPromote, Scope::JobsWrite];
/// What administers a corpus, which the scopes do not tell from using it.
const ALSO_ADMINISTRATIVE: [(&str, &str); 2] =
    [("DELETE", "/v1/collections/{name}"), ("PUT", "/v1/collections/{name}/glossary")];
/// Reading the trail leaves no trail.
const AUDIT_ROUTE: &str = "/admin/audit";
const MAX_TARGET_CHARS: usize = 256;
/// The status of a call whose caller did not wait for the answer.
const CALLER_LEFT: u16 = 499;

/// Writes the rows; shared by all requests.
#[derive(Debug)]
pub struct Recorder {
    journal: Journal,
    administrative: BTreeSet<(String, String)>,
}

/// Who calls, for the layers outside the guard: it fills this in when it knows.
#[derive(Debug, Clone, Default)]
pub struct Identity(pub Arc<OnceLock<Principal>>);

impl Recorder {
    pub fn new(journal: Journal, api: &OpenApi) -> Self {
        let administers = |(method, route): &(String, String), access: &Option<Access>| {
            let Some(Access::Key(scopes)) = access else { return false };
            let by_scope = scopes.iter().any(|scope| ADMINISTRATIVE.contains(scope));
            let by_name = ALSO_ADMINISTRATIVE.contains(&(method.as_str(), route.as_str()));
            route != AUDIT_ROUTE && (by_scope || by_name)
        };
        let table = guard::table(api).into_iter();
        let administrative =
            table.filter(|(operation, access)| administers(operation, access)).map(|(it, _)| it);
        Self { journal, administrative: administrative.collect() }
    }

    fn is_administrative(&self, method: &Method, route: &str) -> bool {
        self.administrative.contains(&(method.to_string(), route.to_owned()))
    }
}

/// The layer.
pub async fn record(
    State(recorder): State<Arc<Recorder>>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = Identity::default();
    request.extensions_mut().insert(identity.clone());
    let call = Call::new(&recorder, &request, identity);
    let response = next.run(request).await;
    let code = response.extensions().get::<Problem>().map(|problem| problem.code().to_owned());
    call.end(response.status(), code).await;
    response
}

/// A call under way.
struct Call<'a> {
    recorder: &'a Recorder,
    identity: Identity,
    is_administrative: bool,
    /// None once it has been dealt with.
    entry: Option<NewAuditEntry>,
}

impl<'a> Call<'a> {
    fn new(recorder: &'a Recorder, request: &Request, identity: Identity) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("unknown", MatchedPath::as_str);
        let request_id = request.extensions().get::<RequestId>();
        let request_id = request_id.map_or("", |id| id.0.as_str());
        let mut entry = NewAuditEntry::now(request.method().as_str(), route, request_id);
        entry.key_prefix = guard::sent_prefix(request.headers()).map(str::to_owned);
        entry.target = target(route, request.uri().path());
        let is_administrative = recorder.is_administrative(request.method(), route);
        Self { recorder, identity, is_administrative, entry: Some(entry) }
    }

    async fn end(mut self, status: StatusCode, code: Option<String>) {
        let Some(entry) = self.take(status.as_u16(), code) else { return };
        if matches!(status.as_u16(), 401 | 403 | 429) {
            self.recorder.journal.note_refusal(entry);
        } else if self.is_administrative {
            let journal = self.recorder.journal.clone();
            // A task of its own: the caller may leave while the row waits for its turn.
            let _ = tokio::spawn(async move { journal.record(entry).await }).await;
        }
    }

    fn take(&mut self, status: u16, code: Option<String>) -> Option<NewAuditEntry> {
        let entry = NewAuditEntry { status, code, ..self.entry.take()? };
        let Some(caller) = self.identity.0.get() else { return Some(entry) };
        Some(NewAuditEntry {
            tenant: Some(caller.tenant.clone()),
            key_id: Some(caller.key_id.clone()),
            key_prefix: Some(caller.key_prefix.clone()).filter(|prefix| !prefix.is_empty()),
            ..entry
        })
    }
}

impl Drop for Call<'_> {
    /// Of a request that was broken off nobody knows how far it came.
    fn drop(&mut self) {
        let is_known = self.is_administrative && self.identity.0.get().is_some();
        if let Some(entry) = self.take(CALLER_LEFT, Some("caller_left".to_owned()))
            && is_known
        {
            self.recorder.journal.record_later(entry);
        }
    }
}

/// What the path has in place of the template's last parameter.
fn target(route: &str, path: &str) -> Option<String> {
    let pairs = route.split('/').zip(path.split('/'));
    let parameters = pairs.filter(|(name, _)| name.starts_with('{') && !name.starts_with("{*"));
    let (_, value) = parameters.last()?;
    Some(value.chars().take(MAX_TARGET_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_last_parameter() {
        for (route, path, expected) in [
            ("/admin/keys/{id}", "/admin/keys/key_1", Some("key_1")),
            ("/v1/collections/{name}/glossary", "/v1/collections/docs/glossary", Some("docs")),
            ("/v1/{name}/documents/{id}", "/v1/docs/documents/a%2Fb", Some("a%2Fb")),
            ("/admin/keys", "/admin/keys", None),
            ("/docs/{*rest}", "/docs/a/b", None),
        ] {
            assert_eq!(target(route, path).as_deref(), expected, "{route}");
        }
    }
}
