//! Feedback: checked against what was shown, and stored with the request that it is about.

use time::OffsetDateTime;

use super::Services;
use super::requests::Remembered;
use crate::config::QueryLog;
use crate::error::{Error, Result};
use crate::store::feedback::{Feedback, FeedbackFilter, FeedbackKind, NewFeedback, StoredRequest};
use crate::store::{Page, TenantId};

/// Nobody reads one passage for longer.
const MAX_DWELL_SECONDS: f64 = 86_400.0;

/// What feedback can be about: the ids of the passages shown.
struct Target {
    request_id: String,
    chunk_ids: Vec<String>,
    /// Who asked.
    user: Option<String>,
    /// To be written with it, where it is not there yet.
    request: Option<StoredRequest>,
}

impl Services {
    /// Stores feedback; the same again changes nothing, another value replaces the earlier one.
    ///
    /// # Errors
    /// `target_not_found` when the answer is unknown, too old or another tenant's,
    /// `invalid_feedback` with the field that does not fit its kind.
    pub async fn give_feedback(&self, tenant: &TenantId, mut new: NewFeedback) -> Result<()> {
        let target = self.target(tenant, &new.target).await?;
        check(&new, &target.chunk_ids)?;
        // Whoever asked is forgotten with what was said of the answer.
        new.user = new.user.or_else(|| target.user.clone());
        let request = target.request.as_ref();
        self.store().put_feedback(tenant, &new, &target.request_id, request).await
    }

    pub async fn list_feedback(
        &self,
        tenant: &TenantId,
        filter: &FeedbackFilter,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<Feedback>> {
        self.store().list_feedback(tenant, filter, limit, after).await
    }

    /// Deletes what is kept longer than the settings say.
    pub(super) async fn purge_feedback(&self) -> Result<u64> {
        let days = self.config.feedback.retention_days;
        let before =
            (days > 0).then(|| OffsetDateTime::now_utc() - time::Duration::days(days.into()));
        self.store().purge_feedback(before).await
    }

    async fn target(&self, tenant: &TenantId, id: &str) -> Result<Target> {
        if let Some(request) = self.requests.find(tenant, id) {
            return Ok(self.remembered(&request));
        }
        let stored = self.store().find_request(tenant, id).await?.ok_or_else(|| {
            let shown: String = id.chars().take(80).collect();
            let message = format!(
                "The answer {shown:?} is not known: no such rewrite or search was answered here \
                 within the time that `[feedback] window_minutes` sets."
            );
            Error::not_found("target_not_found", message)
        })?;
        Ok(Target {
            chunk_ids: shown_chunks(&stored.detail),
            user: stored.user,
            request_id: stored.id,
            request: None,
        })
    }

    fn remembered(&self, request: &Remembered) -> Target {
        let results = request.detail.results.iter();
        let is_logged_whole = self.config.log.queries == QueryLog::Plain;
        let is_kept = self.config.feedback.keep_request;
        Target {
            request_id: request.id.clone(),
            chunk_ids: results.map(|result| result.chunk_id.clone()).collect(),
            user: request.user.clone(),
            request: (is_kept || is_logged_whole).then(|| request.stored(None, None)),
        }
    }
}

fn shown_chunks(detail: &str) -> Vec<String> {
    let detail: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
    let results = detail["results"].as_array().into_iter().flatten();
    results.filter_map(|result| Some(result["chunk_id"].as_str()?.to_owned())).collect()
}

fn check(new: &NewFeedback, shown: &[String]) -> Result<()> {
    let wrong = |pointer: &str, detail: &str| {
        let message = format!("{pointer} {detail} for feedback of kind `{}`.", new.kind.as_str());
        Err(Error::invalid("invalid_feedback", message).with_field(pointer, detail))
    };
    let needs_chunk =
        matches!(new.kind, FeedbackKind::Click | FeedbackKind::Cite | FeedbackKind::Dwell);
    match &new.chunk_id {
        None if needs_chunk => return wrong("/chunk_id", "is missing"),
        Some(chunk) if !shown.contains(chunk) => {
            return wrong("/chunk_id", "is not among the passages of the answer");
        }
        _ => {}
    }
    let value_fits = match new.kind {
        FeedbackKind::Thumb => new.value.is_some_and(|value| value.abs() == 1.0),
        FeedbackKind::Dwell => {
            new.value.is_some_and(|value| (0.0..=MAX_DWELL_SECONDS).contains(&value))
        }
        FeedbackKind::Click | FeedbackKind::Cite | FeedbackKind::Edit => {
            new.value.is_none_or(f64::is_finite)
        }
    };
    if !value_fits {
        let detail = match new.kind {
            FeedbackKind::Thumb => "is not 1 or -1",
            FeedbackKind::Dwell => "is not a number of seconds from 0 to 86400",
            _ => "is not a number",
        };
        return wrong("/value", detail);
    }
    let has_text = new.text.as_ref().is_some_and(|text| !text.trim().is_empty());
    if new.kind == FeedbackKind::Edit && !has_text {
        return wrong("/text", "is missing: the question as it should have been");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kind: FeedbackKind) -> NewFeedback {
        NewFeedback {
            target: "se_1".to_owned(),
            kind,
            chunk_id: None,
            value: None,
            text: None,
            user: None,
        }
    }

    #[test]
    fn each_kind_has_what_it_needs() {
        let shown = ["ck_1".to_owned()];
        let pointer = |new: &NewFeedback| {
            check(new, &shown).map_err(|error| error.fields[0].pointer.clone()).err()
        };
        let chunk = |id: &str| Some(id.to_owned());
        for kind in [FeedbackKind::Click, FeedbackKind::Cite] {
            let mut new = given(kind);
            assert_eq!(pointer(&new).as_deref(), Some("/chunk_id"));
            new.chunk_id = chunk("ck_2");
            assert_eq!(pointer(&new).as_deref(), Some("/chunk_id"));
            new.chunk_id = chunk("ck_1");
            assert_eq!(pointer(&new), None);
        }
        for (value, fits) in [(1.0, true), (-1.0, true), (0.5, false), (f64::NAN, false)] {
            let new = NewFeedback { value: Some(value), ..given(FeedbackKind::Thumb) };
            assert_eq!(pointer(&new).is_none(), fits, "{value}");
        }
        assert_eq!(pointer(&given(FeedbackKind::Thumb)).as_deref(), Some("/value"));
        for (value, fits) in [(0.0, true), (12.5, true), (-1.0, false), (1e9, false)] {
            let mut new = NewFeedback { value: Some(value), ..given(FeedbackKind::Dwell) };
            new.chunk_id = chunk("ck_1");
            assert_eq!(pointer(&new).is_none(), fits, "{value}");
        }
        for (text, fits) in [(None, false), (Some(" "), false), (Some("苹果公司"), true)] {
            let new = NewFeedback { text: text.map(str::to_owned), ..given(FeedbackKind::Edit) };
            assert_eq!(pointer(&new).is_none(), fits, "{text:?}");
        }
    }
}
