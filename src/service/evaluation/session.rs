//! Asks the services a suite's turns, and puts each turn's record together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::features::features;
use super::figures;
use super::judge::{Judge, conversation, source_name};
use super::suite::{Suite, SuiteTurn};
use super::systems::System;
use crate::error::Result;
use crate::evaluate::measure::{REFUSED, SOUND};
use crate::evaluate::run::{TurnRecord, Values};
use crate::rewrite::Heard;
use crate::rewrite::conversation::{Action, Role};
use crate::service::Services;
use crate::service::question::{Found, Question, Rewritten, Search, Step};
use crate::store::TenantId;
use crate::store::glossary::GlossaryTerm;

/// How a suite is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    pub systems: Vec<System>,
    /// Time for a rewrite. Longer than serving gives: nobody waits, and a slow machine must not
    /// change what is measured.
    pub max_rewrite_ms: u64,
    /// Passages looked at; documents are counted once each among them.
    pub n_passages: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { systems: System::ALL.to_vec(), max_rewrite_ms: 10_000, n_passages: 50 }
    }
}

/// A suite that is being asked, in a collection that holds its documents.
pub struct Session<'a> {
    services: &'a Services,
    tenant: TenantId,
    collection: String,
    settings: SessionSettings,
    glossary: Vec<GlossaryTerm>,
    searches: bool,
    /// What the collection's glossary is now.
    in_force: Option<Vec<GlossaryTerm>>,
}

/// What a system made of a turn.
pub struct Reply {
    pub rewritten: Rewritten,
    pub found: Option<Found>,
    /// What the model wrote, where it was asked and answered.
    pub written: Option<String>,
}

impl<'a> Session<'a> {
    /// Begins on a collection, which is there already when the suite has documents.
    ///
    /// # Errors
    /// Those of making the collection.
    pub async fn begin(
        services: &'a Services,
        tenant: TenantId,
        collection: &str,
        suite: &Suite,
        settings: SessionSettings,
    ) -> Result<Self> {
        services.put_collection(&tenant, collection, None).await?;
        Ok(Self {
            services,
            tenant,
            collection: collection.to_owned(),
            settings,
            glossary: suite.glossary.clone(),
            searches: !suite.documents.is_empty(),
            in_force: None,
        })
    }

    /// Asks one turn under every system.
    ///
    /// # Errors
    /// Those of the services.
    pub async fn turn(&mut self, turn: &SuiteTurn) -> Result<TurnRecord> {
        let glossary = self.put_glossary(turn).await?;
        let mut subject = conversation(turn, &glossary);
        let deadline = Instant::now() + Duration::from_millis(self.settings.max_rewrite_ms);
        self.services.hold_senses(&self.tenant, &self.collection, &mut subject, deadline).await;
        let judge = Judge::new(subject.clone());
        let mut replies = BTreeMap::new();
        for system in self.settings.systems.clone() {
            if let Some(question) = system.question(turn, self.settings.max_rewrite_ms) {
                replies.insert(system, self.ask(question, !turn.grades.is_empty()).await?);
            }
        }
        let raw = replies.get(&System::Raw).and_then(|reply| reply.found.as_ref());
        let mut record = TurnRecord {
            id: turn.id.clone(),
            conversation: turn.conversation.clone(),
            slices: turn.slices.clone(),
            features: features(&subject, raw),
            texts: texts(turn),
            ..TurnRecord::default()
        };
        for (system, reply) in &replies {
            note(&mut record, turn, *system, reply, &judge);
        }
        figures::add_regret(&mut record);
        Ok(record)
    }

    /// Puts the turn's glossary in force, and gives it.
    async fn put_glossary(&mut self, turn: &SuiteTurn) -> Result<Vec<GlossaryTerm>> {
        let wanted = turn.glossary.as_ref().unwrap_or(&self.glossary);
        if self.in_force.as_ref() != Some(wanted) {
            let store = self.services.store();
            store.put_glossary(&self.tenant, &self.collection, wanted.clone()).await?;
            self.in_force = Some(wanted.clone());
        }
        Ok(wanted.clone())
    }

    async fn ask(&self, question: Question, is_judged: bool) -> Result<Reply> {
        let question = Question { collection: Some(self.collection.clone()), ..question };
        let written = Mutex::new(String::new());
        let listen = |step: Step| {
            if let Step::Rewriting(Heard::Delta(more)) = step {
                written.lock().unwrap_or_else(PoisonError::into_inner).push_str(&more);
            }
        };
        let (rewritten, found) = if self.searches && is_judged {
            let search = Search { question, top_k: self.settings.n_passages, ..Search::default() };
            let found = self.services.search_heard(&self.tenant, search, Some(&listen)).await?;
            (found.rewritten.clone(), Some(found))
        } else {
            (self.services.rewrite_heard(&self.tenant, question, Some(&listen)).await?, None)
        };
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answered = rewritten.usage.completion_tokens > 0 || !written.is_empty();
        Ok(Reply { rewritten, found, written: answered.then_some(written) })
    }
}

fn note(record: &mut TurnRecord, turn: &SuiteTurn, system: System, reply: &Reply, judge: &Judge) {
    let name = system.name().to_owned();
    let outcome = &reply.rewritten.outcome;
    let action = match system {
        System::Gold => gold_action(turn, &outcome.standalone),
        _ => outcome.action,
    };
    let mut values = figures::of_text(turn, action, &outcome.standalone);
    if system != System::Gold {
        values.extend(judge.guarantees(&outcome.standalone));
    }
    if system.rewrites() {
        values.extend(of_rewriting(turn, reply, judge));
        record.texts.insert(name.clone(), outcome.standalone.clone());
        if let Some(written) = reply.written.as_ref().filter(|text| **text != outcome.standalone) {
            record.texts.insert(format!("{name}_written"), written.clone());
        }
    }
    if let Some(found) = &reply.found {
        values.extend(figures::of_ranking(turn, found));
    }
    record.latency_ms.insert(name.clone(), latency(reply));
    record.values.insert(name, values);
}

/// The gold rewrite is held to be the right answer, with the action that goes with it.
fn gold_action(turn: &SuiteTurn, standalone: &str) -> Action {
    let expected = turn.expect.as_ref().and_then(|expect| expect.actions.first().copied());
    match expected {
        Some(Action::Clarify) => Action::Clarify,
        _ if standalone == turn.query => Action::Pass,
        _ => Action::Rewrite,
    }
}

fn of_rewriting(turn: &SuiteTurn, reply: &Reply, judge: &Judge) -> Values {
    let Rewritten { outcome, usage, degraded, .. } = &reply.rewritten;
    let named: BTreeSet<String> = outcome
        .issues
        .iter()
        .filter_map(|issue| Some(source_name(&issue.resolved_by.as_ref()?.source)))
        .collect();
    let mut values = figures::of_evidence(turn, &named);
    let n_tokens = usage.prompt_tokens + usage.completion_tokens;
    values.insert("tokens".to_owned(), n_tokens as f64);
    let failed = degraded.iter().any(|code| {
        ["rewrite_timeout", "rewriter_busy", "rewriter_unavailable", "rewrite_failed"]
            .contains(&code.as_str())
    });
    values.insert("failed".to_owned(), super::judge::share(failed));
    let refused = degraded.iter().any(|code| code.starts_with("rewrite_"));
    values.insert(SOUND.to_owned(), super::judge::share(!refused && !failed));
    if let Some(written) = &reply.written {
        values.insert(REFUSED.to_owned(), super::judge::share(refused));
        values.extend(judge.faults(written));
    }
    values
}

/// Milliseconds by stage.
fn latency(reply: &Reply) -> BTreeMap<String, f64> {
    let rewrite = &reply.rewritten.timings;
    let mut stages = vec![
        ("gate", rewrite.gate_ms),
        ("generate", rewrite.generate_ms),
        ("check", rewrite.check_ms),
        ("rewrite", rewrite.total_ms),
    ];
    if let Some(found) = &reply.found {
        let search = &found.timings;
        stages.extend([
            ("embed", search.embed_ms),
            ("search", search.search_ms),
            ("total", search.total_ms),
        ]);
    }
    // To the microsecond: what is finer is noise.
    let round = |ms: f64| (ms * 1e3).round() / 1e3;
    stages.into_iter().map(|(stage, ms)| (stage.to_owned(), round(ms))).collect()
}

/// What a person would want to read of a turn.
fn texts(turn: &SuiteTurn) -> BTreeMap<String, String> {
    let line = |(role, text): &(Role, String)| {
        let role = match role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        format!("{role}: {text}")
    };
    let history: Vec<String> = turn.history.iter().map(line).collect();
    let mut texts = BTreeMap::from([("query".to_owned(), turn.query.clone())]);
    if !history.is_empty() {
        texts.insert("history".to_owned(), history.join("\n"));
    }
    if let Some(gold) = turn.golds.first() {
        texts.insert("gold".to_owned(), gold.clone());
    }
    texts
}
