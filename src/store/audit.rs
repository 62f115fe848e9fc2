//! The audit trail: which calls were refused, and which ones administered. A row names the key
//! and never holds its secret, nor anything of a query, a body or an answer.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::sql::{query, query_as};
use super::{Page, Store, TenantId, from_ms, new_id, now_ms, page_of, page_rows, to_ms};
use crate::error::Result;

/// Rows that one statement removes, so that no writer waits long for a purge.
const ROWS_PER_PURGE: i64 = 5_000;

/// One call to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuditEntry {
    /// None: the caller had no valid key.
    pub tenant: Option<TenantId>,
    pub key_id: Option<String>,
    /// The first characters of the key that was sent.
    pub key_prefix: Option<String>,
    pub method: String,
    /// The route's template, such as `/v1/collections/{name}`.
    pub route: String,
    pub status: u16,
    /// The code of the refusal.
    pub code: Option<String>,
    pub request_id: String,
    /// What the path names last.
    pub target: Option<String>,
    pub at: OffsetDateTime,
}

/// One call as it was remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    pub id: String,
    pub at: OffsetDateTime,
    pub key_id: Option<String>,
    pub key_prefix: Option<String>,
    pub method: String,
    pub route: String,
    pub status: u16,
    pub code: Option<String>,
    pub request_id: String,
    pub target: Option<String>,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// A key's id or its visible prefix.
    pub key: Option<String>,
    pub status: Option<u16>,
    /// From then on.
    pub since: Option<OffsetDateTime>,
}

impl Store {
    /// Adds rows, all of them or none.
    pub async fn append_audit(&self, entries: &[NewAuditEntry]) -> Result<()> {
        let mut transaction = self.begin().await?;
        for entry in entries {
            query(
                "INSERT INTO audit (id, at, tenant, key_id, key_prefix, method, route, status,
                                    code, request_id, target)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(new_id("au"))
            .bind(to_ms(entry.at))
            .bind(entry.tenant.as_ref().map(TenantId::as_str))
            .bind(&entry.key_id)
            .bind(&entry.key_prefix)
            .bind(&entry.method)
            .bind(&entry.route)
            .bind(i64::from(entry.status))
            .bind(&entry.code)
            .bind(&entry.request_id)
            .bind(&entry.target)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A tenant's rows, newest first.
    pub async fn list_audit(
        &self,
        tenant: &TenantId,
        filter: &AuditFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<AuditEntry>> {
        self.audit_page(Some(tenant), filter, limit, after).await
    }

    /// The rows of callers without a valid key, which belong to no tenant: for whoever runs the
    /// server, newest first.
    pub async fn list_unauthenticated_audit(
        &self,
        filter: &AuditFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<AuditEntry>> {
        self.audit_page(None, filter, limit, after).await
    }

    /// Removes the rows from before a moment. Returns how many.
    pub async fn purge_audit(&self, before: OffsetDateTime) -> Result<u64> {
        let mut n_removed = 0;
        loop {
            let removed = query(
                "DELETE FROM audit WHERE id IN
                     (SELECT id FROM audit WHERE at < $1 ORDER BY at LIMIT $2)",
            )
            .bind(to_ms(before))
            .bind(ROWS_PER_PURGE)
            .execute(&self.writer)
            .await?
            .rows_affected();
            n_removed += removed;
            if removed == 0 {
                return Ok(n_removed);
            }
        }
    }

    async fn audit_page(
        &self,
        tenant: Option<&TenantId>,
        filter: &AuditFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<AuditEntry>> {
        let whose = match tenant {
            Some(_) => {
                "SELECT * FROM audit WHERE tenant = $1
                   AND ($2 = '' OR id < $2) AND ($3 = '' OR key_id = $3 OR key_prefix = $3)
                   AND ($4 = 0 OR status = $4) AND at >= $5
                 ORDER BY id DESC LIMIT $6"
            }
            None => {
                "SELECT * FROM audit WHERE tenant IS NULL AND $1 = ''
                   AND ($2 = '' OR id < $2) AND ($3 = '' OR key_id = $3 OR key_prefix = $3)
                   AND ($4 = 0 OR status = $4) AND at >= $5
                 ORDER BY id DESC LIMIT $6"
            }
        };
        let rows: Vec<AuditRow> = query_as(whose)
            .bind(tenant.map_or("", TenantId::as_str))
            .bind(after.unwrap_or_default())
            .bind(filter.key.as_deref().unwrap_or_default())
            .bind(filter.status.map_or(0, i64::from))
            .bind(filter.since.map_or(i64::MIN, to_ms))
            .bind(page_rows(limit))
            .fetch_all(&self.reader)
            .await?;
        page_of(rows, limit, |row| row.id.clone(), |row| Ok(row.entry()))
    }
}

impl NewAuditEntry {
    /// An entry of this moment.
    pub fn now(method: &str, route: &str, request_id: &str) -> Self {
        Self {
            tenant: None,
            key_id: None,
            key_prefix: None,
            method: method.to_owned(),
            route: route.to_owned(),
            status: 0,
            code: None,
            request_id: request_id.to_owned(),
            target: None,
            at: from_ms(now_ms()),
        }
    }
}

#[derive(FromRow)]
struct AuditRow {
    id: String,
    at: i64,
    key_id: Option<String>,
    key_prefix: Option<String>,
    method: String,
    route: String,
    status: i64,
    code: Option<String>,
    request_id: String,
    target: Option<String>,
}

impl AuditRow {
    fn entry(self) -> AuditEntry {
        AuditEntry {
            id: self.id,
            at: from_ms(self.at),
            key_id: self.key_id,
            key_prefix: self.key_prefix,
            method: self.method,
            route: self.route,
            status: u16::try_from(self.status).unwrap_or(0),
            code: self.code,
            request_id: self.request_id,
            target: self.target,
        }
    }
}
