//! Logged requests as a suite: what people asked, without what it should have come to. Only
//! requests whose texts were logged as they are (`[log] queries = "plain"`) can be asked again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::suite::{Suite, SuiteTurn};
use crate::error::{Error, Kind, Result};
use crate::evaluate::measure::SOUND;
use crate::rewrite::conversation::Role;
use crate::store::feedback::StoredRequest;
use crate::store::glossary::GlossaryTerm;
use crate::store::{Store, TenantId};

/// What is read of a request's detail.
#[derive(Debug, Deserialize)]
struct Logged {
    query: String,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    facts: BTreeMap<String, String>,
    now: Option<String>,
    locale: Option<String>,
    mode: String,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// The newest `limit` requests of a tenant that were to be rewritten, oldest first.
///
/// # Errors
/// `replay_empty` when none is logged; failures of the database.
pub async fn suite(store: &Store, tenant: &TenantId, limit: usize) -> Result<Suite> {
    let mut requests = store.plain_requests(tenant, limit).await?;
    requests.reverse();
    let mut suite =
        Suite { name: "replay".to_owned(), primary: SOUND.to_owned(), ..Suite::default() };
    let mut hash = Sha256::new();
    let mut glossaries: BTreeMap<String, Vec<GlossaryTerm>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for request in requests {
        if !seen.insert(request.rewrite_id.clone()) {
            continue;
        }
        hash.update(&request.id);
        hash.update(&request.detail);
        let mut turn = turn(&request)?;
        if let (Some(turn), Some(collection)) = (&mut turn, &request.collection) {
            if !glossaries.contains_key(collection) {
                let terms = store.get_glossary(tenant, collection).await;
                // A collection that is gone has no glossary either.
                let gone = |error: Error| match error.kind {
                    Kind::NotFound => Ok(Vec::new()),
                    _ => Err(error),
                };
                glossaries.insert(collection.clone(), terms.or_else(gone)?);
            }
            turn.glossary = glossaries.get(collection).cloned();
        }
        suite.turns.extend(turn);
    }
    if suite.turns.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            "replay_empty",
            "no request is logged with its texts; set [log] queries = \"plain\" and serve for a while",
        ));
    }
    suite.sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(suite)
}

/// None for a request that was not to be rewritten.
fn turn(request: &StoredRequest) -> Result<Option<SuiteTurn>> {
    let logged: Logged = serde_json::from_str(&request.detail)?;
    if logged.mode == "never" {
        return Ok(None);
    }
    let role = |name: &str| match name {
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => Role::User,
    };
    let now = logged.now.as_deref().and_then(|now| OffsetDateTime::parse(now, &Rfc3339).ok());
    // Requests of one conversation begin with the same message.
    let first = logged.messages.first().map_or(&logged.query, |message| &message.content);
    let conversation: String =
        Sha256::digest(first).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let turn = SuiteTurn {
        id: request.id.clone(),
        conversation: Some(conversation),
        history: logged.messages.into_iter().map(|m| (role(&m.role), m.content)).collect(),
        query: logged.query,
        facts: logged.facts,
        now,
        locale: logged.locale,
        ..SuiteTurn::default()
    };
    Ok(Some(turn.with_language()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::feedback::RequestForm;

    fn request(detail: &str) -> StoredRequest {
        StoredRequest {
            id: "rw_1".into(),
            rewrite_id: "rw_1".into(),
            user: None,
            collection: None,
            form: RequestForm::Plain,
            rewriter: None,
            embedder: "e@1".into(),
            detail: detail.into(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn a_logged_request_can_be_asked_again() {
        let detail = r#"{"query":"那呢","messages":[{"role":"user","content":"线索打分在哪里"}],
            "facts":{"product":"CRM"},"now":"2024-07-02T10:00:00+08:00","locale":"zh-CN",
            "mode":"auto","action":"pass","standalone":"那呢"}"#;
        let turn = turn(&request(detail)).unwrap().unwrap();
        assert_eq!((turn.query.as_str(), turn.history[0].0), ("那呢", Role::User));
        assert_eq!((turn.slices["lang"].as_str(), turn.golds.len()), ("zh", 0));
        assert!(turn.now.is_some() && turn.facts["product"] == "CRM");
        let never = detail.replace("auto", "never");
        assert!(super::turn(&request(&never)).unwrap().is_none());
    }
}
