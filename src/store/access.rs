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

use super::sql::{query, query_as};
use super::{Page, Store, TenantId, from_ms, new_id, now_ms, page_of, page_rows, to_ms};
use crate::error::{Error, Result};

const SECRET_PREFIX: &str = "qk_";
const N_SECRET_CHARS: usize = 43;
const N_VISIBLE_CHARS: usize = 11;
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

/// What a key is made with.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub name: Option<String>,
    pub scopes: Vec<Scope>,
    /// From then on the key opens nothing. None: it does not expire.
    pub expires_at: Option<OffsetDateTime>,
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
    pub tenant: TenantId,
    pub scopes: Vec<Scope>,
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
                               expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *",
        )
        .bind(new_id("key"))
        .bind(tenant.as_str())
        .bind(&new.name)
        .bind(visible_prefix(&secret))
        .bind(Sha256::digest(secret.as_bytes()).to_vec())
        .bind(new.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "))
        .bind(now_ms())
        .bind(new.expires_at.map(to_ms))
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
            return Ok(());
        }
        let shown: String = id.chars().take(80).collect();
        Err(Error::not_found("key_not_found", format!("The key {shown:?} does not exist.")))
    }

    /// Who holds this secret, if it is a key that is neither revoked nor expired.
    pub async fn verify_key(&self, secret: &str) -> Result<Option<Principal>> {
        let well_formed = secret.strip_prefix(SECRET_PREFIX).is_some_and(|rest| {
            rest.len() == N_SECRET_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if !well_formed {
            return Ok(None);
        }
        let candidates: Vec<KeyRow> = query_as("SELECT * FROM keys WHERE prefix = $1")
            .bind(visible_prefix(secret))
            .fetch_all(&self.reader)
            .await?;
        let hash = Sha256::digest(secret.as_bytes());
        let now = now_ms();
        candidates
            .into_iter()
            .find(|row| bool::from(row.secret_hash.ct_eq(hash.as_slice())))
            .filter(|row| row.revoked_at.is_none())
            .filter(|row| row.expires_at.is_none_or(|expiry| expiry > now))
            .map(|row| row.principal())
            .transpose()
    }
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
}

impl KeyRow {
    fn scopes(&self) -> Result<Vec<Scope>> {
        self.scopes.split_whitespace().map(str::parse).collect()
    }

    fn key(self) -> Result<Key> {
        Ok(Key {
            scopes: self.scopes()?,
            id: self.id,
            name: self.name,
            prefix: self.prefix,
            created_at: from_ms(self.created_at),
            expires_at: self.expires_at.map(from_ms),
            revoked_at: self.revoked_at.map(from_ms),
        })
    }

    fn principal(self) -> Result<Principal> {
        Ok(Principal {
            scopes: self.scopes()?,
            tenant: TenantId::new(self.tenant)?,
            key_id: self.id,
        })
    }
}
