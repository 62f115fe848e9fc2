//! A collection's glossary: its terms, their other names and their senses.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::corpus::{CollectionRef, find_collection, no_collection};
use super::sql::{query, query_scalar};
use super::{Store, TenantId, now_ms};
use crate::error::{Error, Result};

/// One meaning of a term that has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlossarySense {
    pub id: String,
    /// Short name shown to a person.
    pub label: String,
    pub definition: String,
}

/// A term. Without senses it has one meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlossaryTerm {
    pub id: String,
    pub term: String,
    pub aliases: Vec<String>,
    pub senses: Vec<GlossarySense>,
}

impl Store {
    /// Replaces the whole glossary. Terms need distinct ids and a name each, senses distinct
    /// ids within their term; anything else is `Invalid` and names the place.
    pub async fn put_glossary(
        &self,
        tenant: &TenantId,
        collection: &str,
        terms: Vec<GlossaryTerm>,
    ) -> Result<()> {
        check_terms(&terms)?;
        let mut transaction = self.begin().await?;
        let collection = find_collection(&mut transaction, tenant, collection)
            .await?
            .ok_or_else(|| no_collection(collection))?;
        query(
            "INSERT INTO glossaries (collection_id, terms, updated_at) VALUES ($1, $2, $3)
             ON CONFLICT (collection_id)
             DO UPDATE SET terms = excluded.terms, updated_at = excluded.updated_at",
        )
        .bind(collection.index().id())
        .bind(serde_json::to_string(&terms)?)
        .bind(now_ms())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.last_known.note_glossary(collection.index().id(), terms);
        Ok(())
    }

    /// The terms in the order in which they were put; none when there is no glossary.
    pub async fn get_glossary(
        &self,
        tenant: &TenantId,
        collection: &str,
    ) -> Result<Vec<GlossaryTerm>> {
        let collection = self.get_collection(tenant, collection).await?.index();
        self.glossary_of(&collection).await
    }

    pub(super) async fn glossary_of(
        &self,
        collection: &CollectionRef,
    ) -> Result<Vec<GlossaryTerm>> {
        let terms: Option<String> =
            query_scalar("SELECT terms FROM glossaries WHERE collection_id = $1")
                .bind(collection.id())
                .fetch_optional(&self.reader)
                .await?;
        Ok(terms.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default())
    }
}

fn check_terms(terms: &[GlossaryTerm]) -> Result<()> {
    let mut term_ids = HashSet::new();
    for (position, term) in terms.iter().enumerate() {
        let place = format!("/terms/{position}");
        if term.id.is_empty() || !term_ids.insert(term.id.as_str()) {
            return Err(refuse(&format!("{place}/id"), "is empty or used by another term"));
        }
        if term.term.trim().is_empty() {
            return Err(refuse(&format!("{place}/term"), "is empty"));
        }
        let mut sense_ids = HashSet::new();
        for (number, sense) in term.senses.iter().enumerate() {
            if sense.id.is_empty() || !sense_ids.insert(sense.id.as_str()) {
                let pointer = format!("{place}/senses/{number}/id");
                return Err(refuse(&pointer, "is empty or used by another sense of the term"));
            }
        }
    }
    Ok(())
}

fn refuse(pointer: &str, problem: &str) -> Error {
    Error::invalid("invalid_glossary", format!("The glossary's {pointer} {problem}."))
        .with_field(pointer, problem)
}
