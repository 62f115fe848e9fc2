//! Turns with their partners.

use std::collections::{BTreeMap, BTreeSet};

use super::{CompareSettings, Missing, Side};
use crate::evaluate::run::TurnRecord;
use crate::evaluate::significance::Observed;
use crate::evaluate::summary::{Slice, conversations};

/// The turns that both sides have, in the candidate's order.
pub struct Pairs<'a> {
    pub candidate: Vec<&'a TurnRecord>,
    /// As many, each with the same id.
    pub champion: Vec<&'a TurnRecord>,
    pub systems: [&'a str; 2],
    conversations: Vec<usize>,
    missing: Missing,
}

/// The numbers of a measure on the turns of a slice where both sides have it.
#[derive(Default)]
pub struct Columns {
    pub candidate: Vec<f64>,
    pub champion: Vec<f64>,
    pub clusters: Vec<usize>,
}

impl Columns {
    /// Values of these turns.
    pub fn observed<'a>(&'a self, values: &'a [f64]) -> Observed<'a> {
        Observed { values, clusters: Some(&self.clusters) }
    }

    pub fn differences(&self) -> Vec<f64> {
        self.candidate.iter().zip(&self.champion).map(|(one, other)| one - other).collect()
    }
}

impl<'a> Pairs<'a> {
    pub fn new(candidate: Side<'a>, champion: Side<'a>) -> Self {
        let others: BTreeMap<&str, &TurnRecord> =
            champion.run.turns.iter().map(|turn| (turn.id.as_str(), turn)).collect();
        let own: BTreeSet<&str> = candidate.run.turns.iter().map(|turn| turn.id.as_str()).collect();
        let mut pairs = Self {
            candidate: Vec::new(),
            champion: Vec::new(),
            systems: [candidate.system, champion.system],
            conversations: Vec::new(),
            missing: Missing::default(),
        };
        for turn in &candidate.run.turns {
            match others.get(turn.id.as_str()) {
                Some(other) => {
                    pairs.candidate.push(turn);
                    pairs.champion.push(other);
                }
                None => pairs.missing.from_champion.push(turn.id.clone()),
            }
        }
        let lacking = champion.run.turns.iter().filter(|turn| !own.contains(turn.id.as_str()));
        pairs.missing.from_candidate = lacking.map(|turn| turn.id.clone()).collect();
        pairs.conversations = conversations(&pairs.candidate);
        pairs
    }

    pub fn len(&self) -> usize {
        self.candidate.len()
    }

    /// Every pair of turns, with the number of their conversation.
    pub fn iter(&self) -> impl Iterator<Item = (&'a TurnRecord, &'a TurnRecord, usize)> + '_ {
        let both = self.candidate.iter().zip(&self.champion).zip(&self.conversations);
        both.map(|((candidate, champion), &conversation)| (*candidate, *champion, conversation))
    }

    /// What has no partner, in turns or in the primary measure.
    pub fn missing(&self, primary: &str) -> Missing {
        let [own, others] = self.systems;
        let unmeasured = self.iter().filter(|(candidate, champion, _)| {
            candidate.value(own, primary).is_none() && champion.value(others, primary).is_some()
        });
        let unmeasured = unmeasured.map(|(turn, ..)| turn.id.clone()).collect();
        Missing { unmeasured, ..self.missing.clone() }
    }

    /// The primary measure, then the others: those of the settings, or all that both sides have.
    pub fn metrics(&self, settings: &CompareSettings) -> Vec<String> {
        let [own, others] = self.systems;
        let mut metrics = vec![settings.primary.clone()];
        let mut add = |metric: &String| {
            if !metrics.contains(metric) {
                metrics.push(metric.clone());
            }
        };
        if settings.metrics.is_empty() {
            let of = |turns: &[&TurnRecord], system| -> BTreeSet<String> {
                let values = turns.iter().filter_map(|turn| turn.values.get(system));
                values.flat_map(|values| values.keys().cloned()).collect()
            };
            of(&self.candidate, own).intersection(&of(&self.champion, others)).for_each(&mut add);
        } else {
            settings.metrics.iter().for_each(add);
        }
        metrics
    }

    pub fn columns(&self, slice: &Slice, metric: &str) -> Columns {
        let [own, others] = self.systems;
        let mut columns = Columns::default();
        for (candidate, champion, cluster) in self.iter().filter(|(turn, ..)| slice.holds(turn)) {
            let both = (candidate.value(own, metric), champion.value(others, metric));
            if let (Some(one), Some(other)) = both {
                columns.candidate.push(one);
                columns.champion.push(other);
                columns.clusters.push(cluster);
            }
        }
        columns
    }
}
