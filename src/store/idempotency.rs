//! Answers that are repeated when a request comes again with its `Idempotency-Key`.
//!
//! A request claims its row before anything is done, and completes it with the answer. The claim
//! is a lease: one that a crash left behind lapses, and the next attempt takes the row over.

use std::time::Duration;

use sqlx::FromRow;

use super::sql::{query, query_as};
use super::{Store, new_id, now_ms};
use crate::error::{Error, Result};

/// How long an answer is repeated.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// A row that lapses between two looks at it is looked at again, this often.
const MAX_LOOKS: usize = 5;

/// Which request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The API key that asks.
    pub key_id: String,
    pub idempotency_key: String,
    /// Of the method, the path and the body.
    pub request_hash: [u8; 32],
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The request is to be carried out, and the row completed or released by this token.
    Granted(String),
    /// It is being carried out.
    Running,
    /// It was carried out.
    Done(StoredAnswer),
    /// The key was used for another request.
    Mismatch,
}

/// An answer to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// None: it is not kept.
    pub body: Option<Vec<u8>>,
}

impl Store {
    /// Claims the row of an attempt, or tells what became of an earlier one.
    pub async fn claim_idempotency(&self, attempt: &Attempt, lease: Duration) -> Result<Claim> {
        for _ in 0..MAX_LOOKS {
            // Looked at first: of many repetitions all but one only read.
            if let Some(row) = self.idempotency_row(attempt).await? {
                return row.claim(attempt);
            }
            if let Some(token) = self.take_idempotency(attempt, lease).await? {
                return Ok(Claim::Granted(token));
            }
        }
        Ok(Claim::Running)
    }

    /// Keeps the answer of a claim, unless the claim has lapsed and is another's by now.
    pub async fn complete_idempotency(
        &self,
        attempt: &Attempt,
        token: &str,
        answer: &StoredAnswer,
    ) -> Result<()> {
        query(
            "UPDATE idempotency SET state = 'done', expires_at = $1, status = $2, headers = $3,
                                    body = $4
             WHERE key_id = $5 AND idempotency_key = $6 AND claim = $7",
        )
        .bind(now_ms() + KEPT_MS)
        .bind(i64::from(answer.status))
        .bind(serde_json::to_string(&answer.headers)?)
        .bind(&answer.body)
        .bind(&attempt.key_id)
        .bind(&attempt.idempotency_key)
        .bind(token)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Gives a claim up, so that the next attempt is carried out.
    pub async fn release_idempotency(&self, attempt: &Attempt, token: &str) -> Result<()> {
        query(
            "DELETE FROM idempotency
             WHERE key_id = $1 AND idempotency_key = $2 AND claim = $3",
        )
        .bind(&attempt.key_id)
        .bind(&attempt.idempotency_key)
        .bind(token)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Removes rows that have lapsed. Returns how many.
    pub async fn purge_idempotency(&self) -> Result<u64> {
        let removed = query("DELETE FROM idempotency WHERE expires_at <= $1")
            .bind(now_ms())
            .execute(&self.writer)
            .await?;
        Ok(removed.rows_affected())
    }

    async fn idempotency_row(&self, attempt: &Attempt) -> Result<Option<Row>> {
        Ok(query_as(
            "SELECT request_hash, state, status, headers, body FROM idempotency
             WHERE key_id = $1 AND idempotency_key = $2 AND expires_at > $3",
        )
        .bind(&attempt.key_id)
        .bind(&attempt.idempotency_key)
        .bind(now_ms())
        .fetch_optional(&self.reader)
        .await?)
    }

    /// Takes a row that nobody holds; none when somebody was faster.
    async fn take_idempotency(&self, attempt: &Attempt, lease: Duration) -> Result<Option<String>> {
        let token = new_id("claim");
        let now = now_ms();
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(KEPT_MS);
        let taken = query(
            "INSERT INTO idempotency (key_id, idempotency_key, request_hash, claim, state,
                                      expires_at)
             VALUES ($1, $2, $3, $4, 'running', $5)
             ON CONFLICT (key_id, idempotency_key) DO UPDATE SET
                 request_hash = excluded.request_hash, claim = excluded.claim,
                 state = excluded.state, expires_at = excluded.expires_at,
                 status = NULL, headers = NULL, body = NULL
             WHERE idempotency.expires_at <= $6",
        )
        .bind(&attempt.key_id)
        .bind(&attempt.idempotency_key)
        .bind(attempt.request_hash.as_slice())
        .bind(&token)
        .bind(now + lease_ms)
        .bind(now)
        .execute(&self.writer)
        .await?;
        Ok((taken.rows_affected() == 1).then_some(token))
    }
}

#[derive(FromRow)]
struct Row {
    request_hash: Vec<u8>,
    state: String,
    status: Option<i64>,
    headers: Option<String>,
    body: Option<Vec<u8>>,
}

impl Row {
    fn claim(self, attempt: &Attempt) -> Result<Claim> {
        if self.request_hash != attempt.request_hash {
            return Ok(Claim::Mismatch);
        }
        if self.state == "running" {
            return Ok(Claim::Running);
        }
        let status = self.status.and_then(|status| u16::try_from(status).ok());
        Ok(Claim::Done(StoredAnswer {
            status: status.ok_or_else(|| Error::internal("a stored answer has no status"))?,
            headers: serde_json::from_str(self.headers.as_deref().unwrap_or("[]"))?,
            body: self.body,
        }))
    }
}
