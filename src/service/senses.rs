//! What a collection says about a term of several senses: when its documents name only one of
//! them, a bare mention most likely means that one.

use std::time::Instant;

use super::Services;
use crate::error::Result;
use crate::retrieve::Scope;
use crate::rewrite::conversation::{Conversation, Term};
use crate::rewrite::glossary::{choose_senses, names_sense};
use crate::store::TenantId;

/// Chunks looked at for each sense: those that share the most words with its label.
const CHUNKS_PER_SENSE: usize = 10;
/// Terms of one query that are looked up.
const MAX_TERMS: usize = 3;

impl Services {
    /// Notes for the terms that the conversation leaves open which sense the collection holds.
    /// A failure, or no time, leaves them open: then the person is asked.
    pub(super) async fn hold_senses(
        &self,
        tenant: &TenantId,
        collection: &str,
        conversation: &mut Conversation,
        deadline: Instant,
    ) {
        let work = self.try_hold_senses(tenant, collection, conversation);
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, work).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "senses left open"),
        }
    }

    async fn try_hold_senses(
        &self,
        tenant: &TenantId,
        collection: &str,
        conversation: &mut Conversation,
    ) -> Result<()> {
        if conversation.glossary.terms.iter().all(|term| term.senses.len() < 2) {
            return Ok(());
        }
        let collection = self.store().recall_collection(tenant, collection).await?.value;
        let scope = Scope { tenant: tenant.clone(), collection, filter: None };
        for _ in 0..MAX_TERMS {
            let looked_at = conversation.clone();
            let choice = tokio::task::spawn_blocking(move || choose_senses(&looked_at))
                .await
                .map_err(|source| crate::error::Error::failed("choose a sense", source))?;
            let Some(open) = choice.open else { return Ok(()) };
            let terms = &conversation.glossary.terms;
            let Some(term) = terms.iter().find(|term| term.id == open.term_id) else { break };
            let Some(sense_idx) = self.only_sense(&scope, term).await? else { break };
            conversation.held_senses.insert(open.term_id, sense_idx);
        }
        Ok(())
    }

    /// The one sense of a term that some chunk names; none when there are more, or none.
    async fn only_sense(&self, scope: &Scope, term: &Term) -> Result<Option<usize>> {
        let mut only = None;
        for (index, sense) in term.senses.iter().enumerate() {
            let chunks = self.retriever.by_words(scope, &sense.label, CHUNKS_PER_SENSE).await?;
            let is_named = chunks.iter().any(|chunk| {
                let names = [chunk.title.as_deref(), chunk.heading.as_deref(), Some(&chunk.text)];
                let whole = names.into_iter().flatten().collect::<Vec<_>>().join("\n");
                names_sense(&whole, &sense.label)
            });
            match (is_named, only) {
                (true, Some(_)) => return Ok(None),
                (true, None) => only = Some(index),
                (false, _) => {}
            }
        }
        Ok(only)
    }
}
