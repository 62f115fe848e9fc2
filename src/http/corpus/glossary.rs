//! Glossaries: `…/collections/{name}/glossary`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Result;
use crate::http::checks::Checks;
use crate::http::document::CORPUS;
use crate::http::extract::{Json, Path};
use crate::http::guard::Caller;
use crate::http::object;
use crate::http::problem::Answer;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::glossary::{GlossarySense, GlossaryTerm};

const MAX_TERMS: usize = 10_000;
const MAX_ALIASES: usize = 50;
const MAX_SENSES: usize = 20;
const MAX_NAME_CHARS: usize = 200;
const MAX_DEFINITION_CHARS: usize = 2_000;

/// The terms of a collection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"terms": [{
    "id": "apple",
    "term": "苹果",
    "aliases": ["Apple"],
    "senses": [
        {"id": "company", "label": "苹果公司", "definition": "做手机和电脑的公司"},
        {"id": "fruit", "label": "苹果（水果）", "definition": "一种水果"}
    ]
}]}))]
pub struct GlossaryObject {
    #[schema(max_items = 10000)]
    #[serde(deserialize_with = "object::list")]
    terms: Vec<TermObject>,
}

/// A term; without senses it has one meaning.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermObject {
    id: String,
    term: String,
    /// Other names of it.
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default, deserialize_with = "object::list")]
    senses: Vec<SenseObject>,
}

/// One meaning of a term that has several.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenseObject {
    id: String,
    /// Short name shown to a person.
    label: String,
    definition: String,
}

/// Replaces the glossary of a collection.
#[utoipa::path(
    put,
    path = "/v1/collections/{name}/glossary",
    tag = CORPUS,
    security(("key" = [Scope::CorpusWrite])),
    params(("name" = String, Path, description = "The collection")),
    request_body = GlossaryObject,
    responses((status = 200, description = "The glossary as it is now", body = GlossaryObject))
)]
pub async fn put_glossary(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
    Json(glossary): Json<GlossaryObject>,
) -> Answer<axum::Json<GlossaryObject>> {
    glossary.check()?;
    let terms: Vec<GlossaryTerm> = glossary.terms.into_iter().map(Into::into).collect();
    services.store().put_glossary(caller.tenant(), &name, terms).await?;
    stored_glossary(&services, &caller, &name).await
}

/// Shows the glossary of a collection.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}/glossary",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(("name" = String, Path, description = "The collection")),
    responses((status = 200, description = "The glossary", body = GlossaryObject))
)]
pub async fn get_glossary(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<axum::Json<GlossaryObject>> {
    stored_glossary(&services, &caller, &name).await
}

async fn stored_glossary(
    services: &Services,
    caller: &Caller,
    name: &str,
) -> Answer<axum::Json<GlossaryObject>> {
    let terms = services.store().get_glossary(caller.tenant(), name).await?;
    Ok(axum::Json(GlossaryObject { terms: terms.into_iter().map(Into::into).collect() }))
}

impl GlossaryObject {
    /// Checks sizes; that ids are distinct is for the store to see.
    fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        check_length("/terms", self.terms.len(), MAX_TERMS, &mut checks);
        for (index, term) in self.terms.iter().enumerate() {
            term.check(&format!("/terms/{index}"), &mut checks);
        }
        checks.finish()
    }
}

impl TermObject {
    fn check(&self, place: &str, checks: &mut Checks) {
        checks.line(&format!("{place}/id"), &self.id, MAX_NAME_CHARS);
        checks.line(&format!("{place}/term"), &self.term, MAX_NAME_CHARS);
        check_length(&format!("{place}/aliases"), self.aliases.len(), MAX_ALIASES, checks);
        for (index, alias) in self.aliases.iter().enumerate() {
            checks.line(&format!("{place}/aliases/{index}"), alias, MAX_NAME_CHARS);
        }
        check_length(&format!("{place}/senses"), self.senses.len(), MAX_SENSES, checks);
        for (index, sense) in self.senses.iter().enumerate() {
            let place = format!("{place}/senses/{index}");
            checks.line(&format!("{place}/id"), &sense.id, MAX_NAME_CHARS);
            checks.line(&format!("{place}/label"), &sense.label, MAX_NAME_CHARS);
            checks.text(&format!("{place}/definition"), &sense.definition, MAX_DEFINITION_CHARS);
        }
    }
}

fn check_length(place: &str, length: usize, most: usize, checks: &mut Checks) {
    if length > most {
        checks.refuse(place, format!("has {length} entries, more than {most}"));
    }
}

impl From<TermObject> for GlossaryTerm {
    fn from(object: TermObject) -> Self {
        let sense = |SenseObject { id, label, definition }| GlossarySense { id, label, definition };
        Self {
            id: object.id,
            term: object.term,
            aliases: object.aliases,
            senses: object.senses.into_iter().map(sense).collect(),
        }
    }
}

impl From<GlossaryTerm> for TermObject {
    fn from(term: GlossaryTerm) -> Self {
        let sense = |GlossarySense { id, label, definition }| SenseObject { id, label, definition };
        Self {
            id: term.id,
            term: term.term,
            aliases: term.aliases,
            senses: term.senses.into_iter().map(sense).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(terms: Value) -> Result<()> {
        serde_json::from_value::<GlossaryObject>(json!({ "terms": terms })).unwrap().check()
    }

    #[test]
    fn odd_terms_are_refused_with_their_place() {
        assert!(check(json!([{"id": "a", "term": "苹果"}])).is_ok());
        let sense = json!({"id": "s", "label": "l", "definition": "x".repeat(2_001)});
        for (terms, pointer) in [
            (json!([{"id": "", "term": "a"}]), "/terms/0/id"),
            (json!([{"id": "a", "term": "a\u{0}"}]), "/terms/0/term"),
            (json!([{"id": "a", "term": "a", "aliases": ["b", " "]}]), "/terms/0/aliases/1"),
            (json!([{"id": "a", "term": "a", "aliases": vec!["b"; 51]}]), "/terms/0/aliases"),
            (json!([{"id": "a", "term": "a", "senses": [sense]}]), "/terms/0/senses/0/definition"),
        ] {
            let error = check(terms).unwrap_err();
            assert_eq!(error.fields[0].pointer, pointer, "{error}");
        }
    }
}
