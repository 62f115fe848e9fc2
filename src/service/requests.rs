//! What is remembered of a request for as long as feedback may come, and what is written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use super::Services;
use super::question::{Found, Mode, Passage, Question, Rewritten};
use crate::config::{Config, QueryLog};
use crate::rewrite::conversation::{Action, Role, SearchKind};
use crate::store::TenantId;
use crate::store::feedback::{RequestForm, StoredRequest};

/// Memory for requests that feedback may come on.
const MAX_REMEMBERED_BYTES: u64 = 64 * 1024 * 1024;
/// Requests that wait to be written; more are not written.
const MAX_UNWRITTEN: usize = 4_096;

/// A request with its answer.
#[derive(Debug, Clone)]
pub struct Remembered {
    pub tenant: TenantId,
    /// `rw_…` or `se_…`
    pub id: String,
    pub rewrite_id: String,
    pub user: Option<String>,
    pub collection: Option<String>,
    pub rewriter: Option<String>,
    pub embedder: String,
    pub asked_at: OffsetDateTime,
    pub detail: RequestDetail,
}

/// The question, both contracts and what was shown; kept as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct RequestDetail {
    pub query: String,
    pub messages: Vec<KeptMessage>,
    pub facts: BTreeMap<String, String>,
    pub now: Option<String>,
    pub locale: Option<String>,
    pub mode: &'static str,
    pub action: &'static str,
    pub reason: &'static str,
    pub standalone: String,
    pub search: Vec<KeptQuery>,
    pub degraded: Vec<String>,
    /// In the order in which they were shown; empty for a rewrite.
    pub results: Vec<KeptResult>,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeptMessage {
    pub role: &'static str,
    pub content: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeptQuery {
    pub text: String,
    pub kind: &'static str,
    pub weight: f32,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeptResult {
    pub document_id: String,
    pub chunk_id: String,
    pub score: f32,
}

impl Remembered {
    pub fn of_rewrite(tenant: &TenantId, question: &Question, rewritten: &Rewritten) -> Self {
        Self {
            tenant: tenant.clone(),
            id: rewritten.id.clone(),
            rewrite_id: rewritten.id.clone(),
            user: question.user.clone(),
            collection: question.collection.clone(),
            rewriter: rewritten.model.rewriter.clone(),
            embedder: rewritten.model.embedder.clone(),
            asked_at: OffsetDateTime::now_utc(),
            detail: detail(question, rewritten),
        }
    }

    pub fn of_search(tenant: &TenantId, question: &Question, found: &Found) -> Self {
        let mut whole = Self::of_rewrite(tenant, question, &found.rewritten);
        whole.id.clone_from(&found.id);
        whole.detail.degraded.clone_from(&found.degraded);
        let kept = |passage: &Passage| KeptResult {
            document_id: passage.document_id.clone(),
            chunk_id: passage.chunk_id.clone(),
            score: passage.score,
        };
        whole.detail.results = found.results.iter().map(kept).collect();
        whole
    }

    /// As it is written down; with a salt, its texts are hashed.
    pub fn stored(&self, salt: Option<&[u8]>, keep_days: Option<u32>) -> StoredRequest {
        let detail = match salt {
            Some(salt) => self.detail.hashed(salt),
            None => self.detail.clone(),
        };
        let expires_at = keep_days.map(|days| self.asked_at + time::Duration::days(days.into()));
        StoredRequest {
            id: self.id.clone(),
            rewrite_id: self.rewrite_id.clone(),
            user: self.user.clone(),
            collection: self.collection.clone(),
            form: if salt.is_some() { RequestForm::Hashed } else { RequestForm::Plain },
            rewriter: self.rewriter.clone(),
            embedder: self.embedder.clone(),
            // Strings and finite numbers always serialise.
            detail: serde_json::to_string(&detail).unwrap_or_default(),
            created_at: self.asked_at,
            expires_at,
        }
    }

    fn n_bytes(&self) -> usize {
        let detail = &self.detail;
        let messages: usize = detail.messages.iter().map(|message| message.content.len()).sum();
        let search: usize = detail.search.iter().map(|query| query.text.len()).sum();
        let facts: usize = detail.facts.iter().map(|(key, value)| key.len() + value.len()).sum();
        let results: usize =
            detail.results.iter().map(|r| r.document_id.len() + r.chunk_id.len() + 64).sum();
        1_024 + detail.query.len() + detail.standalone.len() + messages + search + facts + results
    }
}

impl RequestDetail {
    /// The same with every text that a person wrote, or that was made of it, as a salted hash.
    fn hashed(&self, salt: &[u8]) -> Self {
        let hash = |text: &String| {
            let digest = Sha256::new().chain_update(salt).chain_update(text).finalize();
            digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let mut hashed = self.clone();
        hashed.query = hash(&self.query);
        hashed.standalone = hash(&self.standalone);
        for message in &mut hashed.messages {
            message.content = hash(&message.content);
        }
        for query in &mut hashed.search {
            query.text = hash(&query.text);
        }
        for value in hashed.facts.values_mut() {
            *value = hash(value);
        }
        hashed
    }
}

fn detail(question: &Question, rewritten: &Rewritten) -> RequestDetail {
    let outcome = &rewritten.outcome;
    let message = |(role, content): &(Role, String)| KeptMessage {
        role: match role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: content.clone(),
    };
    let search = outcome.search.iter().map(|query| KeptQuery {
        text: query.text.clone(),
        kind: match query.kind {
            SearchKind::Keyword => "keyword",
            SearchKind::Semantic => "semantic",
        },
        weight: query.weight,
    });
    RequestDetail {
        query: rewritten.query.clone(),
        messages: question.messages.iter().map(message).collect(),
        facts: question.facts.clone(),
        now: question.now.and_then(|now| now.format(&Rfc3339).ok()),
        locale: question.locale.clone(),
        mode: match question.mode {
            Mode::Auto => "auto",
            Mode::Always => "always",
            Mode::Never => "never",
        },
        action: match outcome.action {
            Action::Pass => "pass",
            Action::Rewrite => "rewrite",
            Action::Clarify => "clarify",
        },
        reason: outcome.reason,
        standalone: outcome.standalone.clone(),
        search: search.collect(),
        degraded: rewritten.degraded.clone(),
        results: Vec::new(),
    }
}

/// How long a request may wait to be written.
const FORGOTTEN_FOR: time::Duration = time::Duration::minutes(10);

/// The requests of the last hour or so, and the way to the database.
pub(super) struct Requests {
    recent: Cache<String, Arc<Remembered>>,
    log: QueryLog,
    unwritten: mpsc::Sender<Arc<Remembered>>,
    /// Whose requests were forgotten lately, and when. Held while requests are written, so that
    /// none is written after its user's were deleted.
    forgotten: tokio::sync::Mutex<Vec<Forgotten>>,
}

/// Requests of a user, or of a whole tenant, up to a moment.
struct Forgotten {
    tenant: TenantId,
    user: Option<String>,
    at: OffsetDateTime,
}

impl Forgotten {
    fn covers(&self, request: &Remembered) -> bool {
        request.tenant == self.tenant
            && request.asked_at <= self.at
            && (self.user.is_none() || request.user == self.user)
    }
}

impl Requests {
    /// The memory, and the requests that are to be written.
    pub fn new(config: &Config) -> (Self, mpsc::Receiver<Arc<Remembered>>) {
        let (unwritten, receiver) = mpsc::channel(MAX_UNWRITTEN);
        let window = Duration::from_secs(u64::from(config.feedback.window_minutes) * 60);
        let weigher = |_: &String, request: &Arc<Remembered>| {
            u32::try_from(request.n_bytes()).unwrap_or(u32::MAX)
        };
        let recent = Cache::builder()
            .weigher(weigher)
            .max_capacity(MAX_REMEMBERED_BYTES)
            .time_to_live(window)
            .support_invalidation_closures()
            .build();
        (
            Self { recent, log: config.log.queries, unwritten, forgotten: Default::default() },
            receiver,
        )
    }

    pub fn remember(&self, request: Remembered) {
        let request = Arc::new(request);
        self.recent.insert(request.id.clone(), Arc::clone(&request));
        if request.rewrite_id != request.id {
            self.recent.insert(request.rewrite_id.clone(), Arc::clone(&request));
        }
        if self.log != QueryLog::Off && self.unwritten.try_send(request).is_err() {
            tracing::warn!("the log of queries cannot keep up; a request was not written");
        }
    }

    pub fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Remembered>> {
        self.recent.get(id).filter(|request| request.tenant == *tenant)
    }

    /// Forgets a user's requests, or the whole tenant's.
    pub fn forget(&self, tenant: &TenantId, user: Option<&str>) {
        let (tenant, user) = (tenant.clone(), user.map(str::to_owned));
        let of_them = move |_: &String, request: &Arc<Remembered>| {
            request.tenant == tenant && (user.is_none() || request.user == user)
        };
        if let Err(error) = self.recent.invalidate_entries_if(of_them) {
            tracing::error!(error = %error, "requests could not be forgotten");
        }
    }
}

impl Services {
    /// Deletes a user's feedback and requests, or all of the tenant's; gives both numbers.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn delete_feedback(
        &self,
        tenant: &TenantId,
        user: Option<&str>,
    ) -> crate::error::Result<(u64, u64)> {
        let mut forgotten = self.requests.forgotten.lock().await;
        let at = OffsetDateTime::now_utc();
        // What is older than this has been written, or was never to be.
        forgotten.retain(|earlier| at - earlier.at < FORGOTTEN_FOR);
        forgotten.push(Forgotten { tenant: tenant.clone(), user: user.map(str::to_owned), at });
        self.requests.forget(tenant, user);
        self.store().delete_feedback(tenant, user).await
    }

    /// Writes requests down in the form that `[log] queries` says.
    pub(super) async fn write_requests(&self, requests: &[Arc<Remembered>]) {
        let result = async {
            let salt = match self.config.log.queries {
                QueryLog::Off => return Ok(()),
                QueryLog::Plain => None,
                QueryLog::Hashed => Some(self.store().salt("queries").await?),
            };
            let days = Some(self.config.log.retention_days);
            let forgotten = self.requests.forgotten.lock().await;
            let rows: Vec<_> = requests
                .iter()
                .filter(|request| !forgotten.iter().any(|forgotten| forgotten.covers(request)))
                .map(|request| (request.tenant.clone(), request.stored(salt.as_deref(), days)))
                .collect();
            self.store().put_requests(&rows).await
        };
        if let Err(error) = result.await {
            tracing::error!(error = %error, n = requests.len(), "requests were not written");
        }
    }
}
