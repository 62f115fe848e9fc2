//! Keys: who may call, for which tenant and for what.
//!
//! A secret is `qk_` and 43 base-62 characters, about 256 random bits. Only its SHA-256 is
//! stored: a random key has nothing that a slow hash would protect. The secret is shown once,
//! when the key is made; the first characters stay visible so that a person can tell keys apart.

use std::fmt;
use std::str::FromStr;

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::last_known::{KnownKey, SecretHash, is_outage};
use super::sql::{query, query_as};
use super::{Page, Store, TenantId, from_ms, new_id, now_ms, page_of, page_rows, to_ms};
use crate::error::{Error, Result};

const SECRET_PREFIX: &str = "qk_";
const N_SECRET_CHARS: usize = 43;
const N_VISIBLE_CHARS: usize = 11;
/// How exactly the last use of a key is known.
const USE_PRECISION_MS: i64 = 60_000;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Query,
    Embed,
    CorpusRead,
    CorpusWrite,
    Feedback,
    JobsRead,
    JobsWrite,
    ModelsPromote,
    KeysManage,
    Metrics,
}

impl Scope {
    pub const ALL: [Self; 10] = [
        Self::Query,
        Self::Embed,
        Self::CorpusRead,
        Self::CorpusWrite,
        Self::Feedback,
        Self::JobsRead,
        Self::JobsWrite,
        Self::ModelsPromote,
        Self::KeysManage,
        Self::Metrics,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Embed => "embed",
            Self::CorpusRead => "corpus.read",
            Self::CorpusWrite => "corpus.write",
            Self::Feedback => "feedback",
            Self::JobsRead => "jobs.read",
            Self::JobsWrite => "jobs.write",
            Self::ModelsPromote => "models.promote",
            Self::KeysManage => "keys.manage",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid(
                "unknown_scope",
                format!("The scope {shown:?} does not exist; the scopes are {known}."),
            )
        })
    }
}

/// How much a key may ask. None: the server's default; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyLimits {
    pub rate_per_minute: Option<u32>,
    /// Requests at one time, until their answers have ended.
    pub max_concurrent: Option<u32>,
}

/// What a key is made with.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub name: Option<String>,
    pub scopes: Vec<Scope>,
    /// From then on the key opens nothing. None: it does not expire.
    pub expires_at: Option<OffsetDateTime>,
    pub limits: KeyLimits,
}

/// A key without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub id: String,
    pub name: Option<String>,
    /// The first characters of the secret.
    pub prefix: String,
    pub scopes: Vec<Scope>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    pub limits: KeyLimits,
    /// To the minute. None: never, or not yet written.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A key just made. The secret cannot be read again.
#[derive(Clone)]
pub struct CreatedKey {
    pub key: Key,
    pub secret: String,
}

impl fmt::Debug for CreatedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CreatedKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub key_id: String,
    /// The first characters of the secret.
    pub key_prefix: String,
    pub tenant: TenantId,
    pub scopes: Vec<Scope>,
    pub limits: KeyLimits,
    /// Whether `last_used_at` is over a minute old, so that a use is worth noting.
    pub is_use_worth_noting: bool,
}

impl Principal {
    /// Whether the key covers an operation.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

impl Store {
    /// Makes a key for a tenant. A key without a scope is `Invalid`.
    pub async fn create_key(&self, tenant: &TenantId, new: NewKey) -> Result<CreatedKey> {
        if new.scopes.is_empty() {
            return Err(Error::invalid("no_scopes", "A key needs at least one scope."));
        }
        let secret = new_secret()?;
        let row: KeyRow = query_as(
            "INSERT INTO keys (id, tenant, name, prefix, secret_hash, scopes, created_at,
                               expires_at, rate_per_minute, max_concurrent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *",
        )
        .bind(new_id("key"))
        .bind(tenant.as_str())
        .bind(&new.name)
        .bind(visible_prefix(&secret))
        .bind(Sha256::digest(secret.as_bytes()).to_vec())
        .bind(new.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "))
        .bind(now_ms())
        .bind(new.expires_at.map(to_ms))
        .bind(new.limits.rate_per_minute.map(i64::from))
        .bind(new.limits.max_concurrent.map(i64::from))
        .fetch_one(&self.writer)
        .await?;
        Ok(CreatedKey { key: row.key()?, secret })
    }

    /// The tenant's keys, oldest first, revoked and expired ones included.
    pub async fn list_keys(
        &self,
        tenant: &TenantId,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<Key>> {
        let rows: Vec<KeyRow> =
            query_as("SELECT * FROM keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(tenant.as_str())
                .bind(after.unwrap_or_default())
                .bind(page_rows(limit))
                .fetch_all(&self.reader)
                .await?;
        page_of(rows, limit, |row| row.id.clone(), |row| row.key())
    }

    /// Closes a key for good; doing it again changes nothing. `NotFound` for another tenant's.
    pub async fn revoke_key(&self, tenant: &TenantId, id: &str) -> Result<()> {
        let revoked = query(
            "UPDATE keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 AND tenant = $3",
        )
        .bind(now_ms())
        .bind(id)
        .bind(tenant.as_str())
        .execute(&self.writer)
        .await?;
        if revoked.rows_affected() == 1 {
            self.last_known.forget_key(id);
            return Ok(());
        }
        let shown: String = id.chars().take(80).collect();
        Err(Error::not_found("key_not_found", format!("The key {shown:?} does not exist.")))
    }

    /// Who holds this secret, if it is a key that is neither revoked nor expired. While the
    /// database is gone, a key that was good some minutes ago still is.
    pub async fn verify_key(&self, secret: &str) -> Result<Option<Principal>> {
        let Some(prefix) = prefix_of_secret(secret) else { return Ok(None) };
        let hash: SecretHash = Sha256::digest(secret.as_bytes()).into();
        match self.ask(self.find_key(prefix, &hash)).await {
            Ok(found) => {
                self.last_known.note_key(hash, found.as_ref());
                Ok(found.map(|key| key.principal))
            }
            Err(error) if is_outage(&error) => self.last_known.key(&hash).map(Some).ok_or(error),
            Err(error) => Err(error),
        }
    }

    async fn find_key(&self, prefix: &str, hash: &SecretHash) -> Result<Option<KnownKey>> {
        let candidates: Vec<KeyRow> = query_as("SELECT * FROM keys WHERE prefix = $1")
            .bind(prefix)
            .fetch_all(&self.reader)
            .await?;
        let now = now_ms();
        let found = candidates
            .into_iter()
            .find(|row| bool::from(row.secret_hash.ct_eq(hash.as_slice())))
            .filter(|row| row.revoked_at.is_none())
            .filter(|row| row.expires_at.is_none_or(|expiry| expiry > now));
        let known = |row: KeyRow| {
            let expires_at = row.expires_at;
            Ok(KnownKey { principal: row.principal(now)?, expires_at })
        };
        found.map(known).transpose()
    }

    /// Notes when keys were used, unless it is known to the minute.
    pub async fn note_key_uses(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            query(
                "UPDATE keys SET last_used_at = $1
                 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $3)",
            )
            .bind(now_ms())
            .bind(id)
            .bind(now_ms() - USE_PRECISION_MS)
            .execute(&self.writer)
            .await?;
        }
        Ok(())
    }
}

/// The part of a secret that may be shown; none for a text that is no secret by its form.
pub fn prefix_of_secret(secret: &str) -> Option<&str> {
    let rest = secret.strip_prefix(SECRET_PREFIX)?;
    let well_formed =
        rest.len() == N_SECRET_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well_formed.then(|| visible_prefix(secret))
}

fn new_secret() -> Result<String> {
    let mut secret = String::from(SECRET_PREFIX);
    while secret.len() < SECRET_PREFIX.len() + N_SECRET_CHARS {
        let mut bytes = [0_u8; 64];
        OsRng.try_fill_bytes(&mut bytes).map_err(|error| Error::failed("draw a key", error))?;
        // Bytes from 248 on are drawn again: 248 is 4 * 62, so that no character is favoured.
        let drawn = bytes.into_iter().filter(|byte| *byte < 248);
        let missing = SECRET_PREFIX.len() + N_SECRET_CHARS - secret.len();
        secret.extend(drawn.take(missing).map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    Ok(secret)
}

fn visible_prefix(secret: &str) -> &str {
    secret.get(..N_VISIBLE_CHARS).unwrap_or(secret)
}

#[derive(FromRow)]
struct KeyRow {
    id: String,
    tenant: String,
    name: Option<String>,
    prefix: String,
    secret_hash: Vec<u8>,
    scopes: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    rate_per_minute: Option<i64>,
    max_concurrent: Option<i64>,
    last_used_at: Option<i64>,
}

impl KeyRow {
    fn scopes(&self) -> Result<Vec<Scope>> {
        self.scopes.split_whitespace().map(str::parse).collect()
    }

    fn limits(&self) -> KeyLimits {
        let limit = |value: Option<i64>| value.map(|value| u32::try_from(value).unwrap_or(0));
        KeyLimits {
            rate_per_minute: limit(self.rate_per_minute),
            max_concurrent: limit(self.max_concurrent),
        }
    }

    fn key(self) -> Result<Key> {
        Ok(Key {
            scopes: self.scopes()?,
            limits: self.limits(),
            last_used_at: self.last_used_at.map(from_ms),
            id: self.id,
            name: self.name,
            prefix: self.prefix,
            created_at: from_ms(self.created_at),
            expires_at: self.expires_at.map(from_ms),
            revoked_at: self.revoked_at.map(from_ms),
        })
    }

    fn principal(self, now: i64) -> Result<Principal> {
        let last_use = self.last_used_at.unwrap_or(i64::MIN);
        Ok(Principal {
            scopes: self.scopes()?,
            limits: self.limits(),
            is_use_worth_noting: last_use < now - USE_PRECISION_MS,
            tenant: TenantId::new(self.tenant)?,
            key_prefix: self.prefix,
            key_id: self.id,
        })
    }
}
