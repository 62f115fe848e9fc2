//! What people said of an answer, and the requests that it is about.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::sql::{Transaction, query, query_as, query_scalar};
use super::{Page, Store, TenantId, from_ms, new_id, now_ms, page_of, page_rows, to_ms};
use crate::error::{Error, Result};

/// How much of a request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestForm {
    /// Texts as salted hashes: equal ones can be counted, none can be read.
    Hashed,
    Plain,
}

impl RequestForm {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::Plain => "plain",
        }
    }

    fn named(name: &str) -> Result<Self> {
        [Self::Hashed, Self::Plain]
            .into_iter()
            .find(|form| form.as_str() == name)
            .ok_or_else(|| unknown(name))
    }
}

/// A request with its answer, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRequest {
    /// `rw_…` or `se_…`
    pub id: String,
    /// Of a search, the id of the rewrite within it; of a rewrite, its own.
    pub rewrite_id: String,
    pub user: Option<String>,
    pub collection: Option<String>,
    pub form: RequestForm,
    pub rewriter: Option<String>,
    pub embedder: String,
    /// JSON.
    pub detail: String,
    pub created_at: OffsetDateTime,
    /// None: as long as there is feedback on it.
    pub expires_at: Option<OffsetDateTime>,
}

/// What somebody did or said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedbackKind {
    /// Value 1 or -1.
    Thumb,
    /// A passage was opened.
    Click,
    /// A passage was used in an answer.
    Cite,
    /// The question as it should have been, in `text`.
    Edit,
    /// Seconds spent with a passage, in `value`.
    Dwell,
}

impl FeedbackKind {
    pub const ALL: [Self; 5] = [Self::Thumb, Self::Click, Self::Cite, Self::Edit, Self::Dwell];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thumb => "thumb",
            Self::Click => "click",
            Self::Cite => "cite",
            Self::Edit => "edit",
            Self::Dwell => "dwell",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Feedback to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFeedback {
    /// As it was given: `rw_…` or `se_…`
    pub target: String,
    pub kind: FeedbackKind,
    pub chunk_id: Option<String>,
    pub value: Option<f64>,
    pub text: Option<String>,
    pub user: Option<String>,
}

/// Feedback with the request that it is about, where that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    pub id: String,
    pub given: NewFeedback,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub request: Option<StoredRequest>,
}

/// Which feedback is wanted; what is none does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedbackFilter {
    pub target: Option<String>,
    pub kind: Option<FeedbackKind>,
    pub user: Option<String>,
}

impl Store {
    /// Writes requests; one that is there already stays as it is.
    pub async fn put_requests(&self, requests: &[(TenantId, StoredRequest)]) -> Result<()> {
        let mut transaction = self.begin().await?;
        for (tenant, request) in requests {
            insert_request(&mut transaction, tenant, request).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The request that has this id, or whose rewrite has it.
    pub async fn find_request(&self, tenant: &TenantId, id: &str) -> Result<Option<StoredRequest>> {
        let row: Option<RequestRow> = query_as(
            "SELECT id, rewrite_id, user_id, collection, form, rewriter, embedder, detail,
                    created_at, expires_at
             FROM requests WHERE tenant = $1 AND (id = $2 OR rewrite_id = $2)",
        )
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(&self.reader)
        .await?;
        row.map(RequestRow::request).transpose()
    }

    /// The newest requests whose texts are kept as they were, newest first.
    pub async fn plain_requests(
        &self,
        tenant: &TenantId,
        limit: usize,
    ) -> Result<Vec<StoredRequest>> {
        let rows: Vec<RequestRow> = query_as(
            "SELECT id, rewrite_id, user_id, collection, form, rewriter, embedder, detail,
                    created_at, expires_at
             FROM requests WHERE tenant = $1 AND form = $2
             ORDER BY created_at DESC, id LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(RequestForm::Plain.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(RequestRow::request).collect()
    }

    /// Writes feedback with its request. Feedback of the same kind on the same thing replaces
    /// the earlier one; a request with feedback does not expire by itself.
    pub async fn put_feedback(
        &self,
        tenant: &TenantId,
        new: &NewFeedback,
        request_id: &str,
        request: Option<&StoredRequest>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        if let Some(request) = request {
            insert_request(&mut transaction, tenant, request).await?;
        }
        query("UPDATE requests SET expires_at = NULL WHERE id = $1 AND tenant = $2")
            .bind(request_id)
            .bind(tenant.as_str())
            .execute(&mut *transaction)
            .await?;
        query(
            "INSERT INTO feedback (id, tenant, target, request_id, kind, chunk_id, value, text,
                                   user_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
             ON CONFLICT (target, kind, chunk_id) DO UPDATE SET
                 value = excluded.value, text = excluded.text, user_id = excluded.user_id,
                 updated_at = excluded.updated_at",
        )
        .bind(new_id("fb"))
        .bind(tenant.as_str())
        .bind(&new.target)
        .bind(request_id)
        .bind(new.kind.as_str())
        .bind(new.chunk_id.as_deref().unwrap_or_default())
        .bind(new.value)
        .bind(&new.text)
        .bind(&new.user)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Feedback of a tenant, oldest first, each with its request.
    pub async fn list_feedback(
        &self,
        tenant: &TenantId,
        filter: &FeedbackFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<Feedback>> {
        let rows: Vec<FeedbackRow> = query_as(
            "SELECT f.id, f.target, f.kind, f.chunk_id, f.value, f.text, f.user_id, f.created_at,
                    f.updated_at, r.id AS request_id, r.rewrite_id AS request_rewrite_id,
                    r.user_id AS request_user, r.collection AS request_collection,
                    r.form AS request_form, r.rewriter AS request_rewriter,
                    r.embedder AS request_embedder, r.detail AS request_detail,
                    r.created_at AS request_created_at, r.expires_at AS request_expires_at
             FROM feedback f LEFT JOIN requests r ON r.id = f.request_id
             WHERE f.tenant = $1 AND f.id > $2
               AND ($3 = '' OR f.target = $3) AND ($4 = '' OR f.kind = $4)
               AND ($5 = '' OR f.user_id = $5)
             ORDER BY f.id LIMIT $6",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or_default())
        .bind(filter.target.as_deref().unwrap_or_default())
        .bind(filter.kind.map_or("", FeedbackKind::as_str))
        .bind(filter.user.as_deref().unwrap_or_default())
        .bind(page_rows(limit))
        .fetch_all(&self.reader)
        .await?;
        page_of(rows, limit, |row| row.id.clone(), FeedbackRow::feedback)
    }

    /// Deletes the feedback of a user, and what is kept of their requests; of the whole tenant
    /// when there is no user. Gives the numbers of both.
    pub async fn delete_feedback(
        &self,
        tenant: &TenantId,
        user: Option<&str>,
    ) -> Result<(u64, u64)> {
        let mut transaction = self.begin().await?;
        // The user's own, and what others said of the user's requests.
        let feedback = query(
            "DELETE FROM feedback WHERE tenant = $1 AND ($2 = '' OR user_id = $2 OR request_id IN
                 (SELECT id FROM requests WHERE tenant = $1 AND user_id = $2))",
        )
        .bind(tenant.as_str())
        .bind(user.unwrap_or_default())
        .execute(&mut *transaction)
        .await?;
        let requests =
            query("DELETE FROM requests WHERE tenant = $1 AND ($2 = '' OR user_id = $2)")
                .bind(tenant.as_str())
                .bind(user.unwrap_or_default())
                .execute(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok((feedback.rows_affected(), requests.rows_affected()))
    }

    /// Deletes feedback given before a moment, requests that nothing is said of any more, and
    /// requests whose time is over. Gives the number of rows.
    pub async fn purge_feedback(&self, given_before: Option<OffsetDateTime>) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let mut n_rows = 0;
        if let Some(moment) = given_before {
            let old = query("DELETE FROM feedback WHERE updated_at < $1")
                .bind(to_ms(moment))
                .execute(&mut *transaction)
                .await?;
            n_rows += old.rows_affected();
        }
        let done = query(
            "DELETE FROM requests WHERE expires_at < $1 OR (expires_at IS NULL AND id NOT IN
                 (SELECT request_id FROM feedback))",
        )
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(n_rows + done.rows_affected())
    }

    /// The random bytes of this name, drawn when first asked for.
    pub async fn salt(&self, name: &str) -> Result<Vec<u8>> {
        let mut fresh = vec![0_u8; 32];
        rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut fresh)
            .map_err(|error| Error::failed("draw a salt", error))?;
        query("INSERT INTO salts (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(fresh)
            .execute(&self.writer)
            .await?;
        let salt = query_scalar("SELECT value FROM salts WHERE name = $1");
        Ok(salt.bind(name).fetch_one(&self.writer).await?)
    }
}

async fn insert_request(
    transaction: &mut Transaction,
    tenant: &TenantId,
    request: &StoredRequest,
) -> Result<()> {
    query(
        "INSERT INTO requests (id, rewrite_id, tenant, user_id, collection, form, rewriter,
                               embedder, detail, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&request.id)
    .bind(&request.rewrite_id)
    .bind(tenant.as_str())
    .bind(&request.user)
    .bind(&request.collection)
    .bind(request.form.as_str())
    .bind(&request.rewriter)
    .bind(&request.embedder)
    .bind(&request.detail)
    .bind(to_ms(request.created_at))
    .bind(request.expires_at.map(to_ms))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct RequestRow {
    id: String,
    rewrite_id: String,
    user_id: Option<String>,
    collection: Option<String>,
    form: String,
    rewriter: Option<String>,
    embedder: String,
    detail: String,
    created_at: i64,
    expires_at: Option<i64>,
}

impl RequestRow {
    fn request(self) -> Result<StoredRequest> {
        Ok(StoredRequest {
            form: RequestForm::named(&self.form)?,
            id: self.id,
            rewrite_id: self.rewrite_id,
            user: self.user_id,
            collection: self.collection,
            rewriter: self.rewriter,
            embedder: self.embedder,
            detail: self.detail,
            created_at: from_ms(self.created_at),
            expires_at: self.expires_at.map(from_ms),
        })
    }
}

#[derive(FromRow)]
struct FeedbackRow {
    id: String,
    target: String,
    kind: String,
    chunk_id: String,
    value: Option<f64>,
    text: Option<String>,
    user_id: Option<String>,
    created_at: i64,
    updated_at: i64,
    request_id: Option<String>,
    request_rewrite_id: Option<String>,
    request_user: Option<String>,
    request_collection: Option<String>,
    request_form: Option<String>,
    request_rewriter: Option<String>,
    request_embedder: Option<String>,
    request_detail: Option<String>,
    request_created_at: Option<i64>,
    request_expires_at: Option<i64>,
}

impl FeedbackRow {
    fn feedback(self) -> Result<Feedback> {
        let kind = FeedbackKind::named(&self.kind).ok_or_else(|| unknown(&self.kind))?;
        let request = match (self.request_id, self.request_form, self.request_detail) {
            (Some(id), Some(form), Some(detail)) => Some(StoredRequest {
                rewrite_id: self.request_rewrite_id.unwrap_or_else(|| id.clone()),
                id,
                user: self.request_user,
                collection: self.request_collection,
                form: RequestForm::named(&form)?,
                rewriter: self.request_rewriter,
                embedder: self.request_embedder.unwrap_or_default(),
                detail,
                created_at: from_ms(self.request_created_at.unwrap_or_default()),
                expires_at: self.request_expires_at.map(from_ms),
            }),
            _ => None,
        };
        Ok(Feedback {
            id: self.id,
            given: NewFeedback {
                target: self.target,
                kind,
                chunk_id: Some(self.chunk_id).filter(|id| !id.is_empty()),
                value: self.value,
                text: self.text,
                user: self.user_id,
            },
            created_at: from_ms(self.created_at),
            updated_at: from_ms(self.updated_at),
            request,
        })
    }
}

fn unknown(value: &str) -> Error {
    Error::internal(format!("the database holds the unknown name {value:?}"))
}
