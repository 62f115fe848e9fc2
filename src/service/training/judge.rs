//! The judge of training by reward: reads an answer as the server would, searches with it, and
//! asks the rewards.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collection::Searches;
use super::facts::{Found, Subject, Written};
use super::reward;
use crate::error::Result;
use crate::model::ChatTokenizer;
use crate::retrieve::Probe;
use crate::rewrite::folding::Folding;
use crate::train::objective::Metrics;
use crate::train::reinforce::judge::{Asked, Judge, Judgement};
use crate::train::reward::{Facts, Ranks, Reading, RewardSet, Scored, ndcg};

/// Judges rewrites of given questions.
pub struct RetrievalJudge {
    rewards: RewardSet,
    tokenizer: Arc<ChatTokenizer>,
    /// None where no reward asks for a search.
    searches: Option<Searches>,
    train: Vec<Case>,
    validation: Vec<Case>,
}

/// A question to be rewritten.
struct Case {
    query: String,
    /// History and query, one turn a line.
    evidence: String,
    relevant: Vec<String>,
    n_query_tokens: usize,
    subject: Subject,
    folding: Option<Folding>,
}

/// What was read out of an answer.
struct Read<'a> {
    case: &'a Case,
    written: String,
    n_tokens: usize,
    stopped: bool,
    /// The question in it, where there is one.
    text: Option<String>,
    /// What is searched with for it: the question alone, or all that people would be served with.
    search: Option<Vec<Probe>>,
}

impl RetrievalJudge {
    /// # Errors
    /// Those of the tokenizer.
    pub fn new(
        rewards: RewardSet,
        tokenizer: Arc<ChatTokenizer>,
        searches: Option<Searches>,
        train: Vec<reward::Case>,
        validation: Vec<reward::Case>,
    ) -> Result<Self> {
        let cases = |rows: Vec<reward::Case>| -> Result<Vec<Case>> {
            rows.into_iter().map(|row| case(row, &tokenizer)).collect()
        };
        let (train, validation) = (cases(train)?, cases(validation)?);
        Ok(Self { rewards, tokenizer, searches, train, validation })
    }

    /// The ranks of what answers, by each search; `Failed` where the search broke.
    fn ranks(&mut self, wanted: &[Option<(&[Probe], &[String])>]) -> Vec<Reading<Ranks>> {
        let Some(searches) = &mut self.searches else {
            return wanted.iter().map(|_| Reading::NotAsked).collect();
        };
        let probes: Vec<&[Probe]> = wanted.iter().flatten().map(|(probes, _)| *probes).collect();
        let found = match searches.documents(&probes) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = %error, "a search failed: its answers are left out");
                return wanted
                    .iter()
                    .map(|it| if it.is_some() { Reading::Failed } else { Reading::NotAsked })
                    .collect();
            }
        };
        let mut found = found.into_iter();
        let of = |wanted: &Option<(&[Probe], &[String])>| match wanted {
            None => Reading::NotAsked,
            Some((_, relevant)) => match found.next() {
                Some(documents) => Reading::Known(Ranks::among(&documents, relevant)),
                None => Reading::Failed,
            },
        };
        wanted.iter().map(of).collect()
    }
}

fn case(case: reward::Case, tokenizer: &ChatTokenizer) -> Result<Case> {
    let reward::Case { row, conversation, folding } = case;
    let turns = row.history.iter().map(String::as_str).chain([row.query.as_str()]);
    Ok(Case {
        evidence: turns.collect::<Vec<_>>().join("\n"),
        n_query_tokens: tokenizer.encode(&row.query)?.len(),
        subject: Subject::new(conversation, row.is_complete),
        query: row.query,
        relevant: row.relevant,
        folding,
    })
}

impl Judge for RetrievalJudge {
    fn weights(&self) -> BTreeMap<&'static str, f64> {
        self.rewards.weights.iter().map(|(name, weight)| (name.name(), *weight)).collect()
    }

    fn evidence(&self, row: usize) -> &str {
        &self.train[row].evidence
    }

    fn judge(&mut self, answers: &[Asked<'_>]) -> Result<Vec<Judgement>> {
        // Taken out while the searches, which change what they remember, are asked.
        let (train, validation) =
            (std::mem::take(&mut self.train), std::mem::take(&mut self.validation));
        let judged = self.judge_cases(&train, &validation, answers);
        (self.train, self.validation) = (train, validation);
        judged
    }
}

impl RetrievalJudge {
    fn judge_cases(
        &mut self,
        train: &[Case],
        validation: &[Case],
        answers: &[Asked<'_>],
    ) -> Result<Vec<Judgement>> {
        let mut read = Vec::with_capacity(answers.len());
        for answer in answers {
            let cases = if answer.is_validation { validation } else { train };
            read.push(self.read(&cases[answer.row], answer)?);
        }
        let wanted: Vec<Option<(&[Probe], &[String])>> = read
            .iter()
            .map(|it| {
                let search = it.search.as_deref().filter(|_| !it.case.relevant.is_empty());
                search.map(|search| (search, it.case.relevant.as_slice()))
            })
            .collect();
        let gold = self.ranks(&wanted);
        let asked: Vec<[Probe; 1]> =
            read.iter().map(|it| [Probe::question(it.case.query.as_str())]).collect();
        let wanted: Vec<Option<(&[Probe], &[String])>> = read
            .iter()
            .zip(&asked)
            .map(|(it, query)| (query.as_slice(), it.case.relevant.as_slice()))
            .map(|(query, relevant)| (!relevant.is_empty()).then_some((query, relevant)))
            .collect();
        let raw = self.ranks(&wanted);
        let ranked = gold.into_iter().zip(raw);
        Ok(read.iter().zip(ranked).map(|(it, (gold, raw))| self.judgement(it, gold, raw)).collect())
    }

    fn read<'a>(&self, case: &'a Case, answer: &Asked<'_>) -> Result<Read<'a>> {
        let mut written = self.tokenizer.decode(answer.tokens)?;
        if let Some(folding) = &case.folding {
            written = folding.unfold(&written);
        }
        let (stopped, n_tokens) = (answer.stopped, answer.tokens.len());
        let mut read = Read { case, written, n_tokens, stopped, text: None, search: None };
        read.text = case.subject.read(&read.written());
        read.search = match &self.searches {
            Some(searches) if self.rewards.as_served => {
                Some(case.subject.served(&read.written(), searches.raw_weight()))
            }
            _ => read.text.as_deref().map(|text| vec![Probe::question(text)]),
        };
        Ok(read)
    }

    fn judgement(&self, it: &Read<'_>, gold: Reading<Ranks>, raw: Reading<Ranks>) -> Judgement {
        let mut measures = Metrics::new();
        if let Reading::Known(raw) = &raw {
            let k = self.rewards.k;
            let of = |ranks: &Ranks| {
                let gold = Reading::Known(ranks.clone());
                ndcg(&Facts { gold, ..Facts::default() }, k).value().unwrap_or_default()
            };
            let own = match &gold {
                Reading::Known(gold) => Some(of(gold)),
                // An answer without a question finds nothing.
                Reading::NotAsked => Some(0.0),
                Reading::Failed => None,
            };
            if let Some(own) = own {
                measures.insert(format!("ndcg@{k}"), own);
                measures.insert(format!("raw_ndcg@{k}"), of(raw));
                measures.insert("regret".into(), f64::from(u8::from(own < of(raw))));
            }
        }
        let found = Found { gold, raw, reranker: Reading::NotAsked };
        let facts = it.case.subject.facts(&it.written(), found);
        measures.insert("unchanged".into(), f64::from(u8::from(facts.is_unchanged)));
        let Scored { total, each, failed } = self.rewards.score(&facts);
        Judgement {
            written: it.written.clone(),
            text: it.text.clone().unwrap_or_default(),
            is_well_formed: facts.is_well_formed,
            total,
            each,
            failed,
            measures,
        }
    }
}

impl Read<'_> {
    fn written(&self) -> Written<'_> {
        Written {
            text: &self.written,
            is_stopped: self.stopped,
            n_tokens: self.n_tokens,
            n_query_tokens: self.case.n_query_tokens,
        }
    }
}
