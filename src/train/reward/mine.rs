//! Preference data out of scored completions of one prompt: pairs for DPO, verdicts for KTO
//! (RetPO, Yoon et al. 2024, arXiv 2402.11827; RaFe, Mao et al. 2024, arXiv 2405.14431).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// A completion with its reward.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub text: String,
    /// None where it could not be scored: it is left out.
    pub reward: Option<f64>,
    pub n_tokens: usize,
}

/// How pairs and verdicts are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MineOptions {
    /// Least difference of the rewards of a pair.
    pub min_margin: f64,
    /// Pairs of one prompt; each completion is in one at most.
    pub max_pairs: usize,
    /// Least reward of a chosen completion, so that the better of two bad ones is not taught.
    pub min_chosen_reward: Option<f64>,
    /// Verdicts of one kind of one prompt.
    pub max_judged: usize,
    /// How far a reward must be from the mean to get a verdict.
    pub judged_margin: f64,
    /// What verdicts go by; by default the mean over all prompts, as in RaFe.
    pub judged_by: JudgedBy,
}

/// What a completion's reward is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedBy {
    /// The mean over all completions of all prompts.
    #[default]
    AllMean,
    /// The mean over the prompt's own completions.
    PromptMean,
}

/// A row for DPO, as `train::data` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreferenceRecord {
    pub history: Vec<String>,
    pub query: String,
    pub chosen: String,
    pub rejected: String,
    pub chosen_reward: f64,
    pub rejected_reward: f64,
}

/// A row for KTO, as `train::data` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedRecord {
    pub history: Vec<String>,
    pub query: String,
    pub rewrite: String,
    pub desirable: bool,
    pub reward: f64,
}

impl Default for MineOptions {
    fn default() -> Self {
        Self {
            min_margin: 0.1,
            max_pairs: 2,
            min_chosen_reward: None,
            max_judged: 4,
            judged_margin: 0.05,
            judged_by: JudgedBy::AllMean,
        }
    }
}

impl MineOptions {
    /// # Errors
    /// `mine_options` with the field, its value and what to set.
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::invalid("mine_options", message));
        // Equal rewards say nothing about which is better.
        if !(self.min_margin.is_finite() && self.min_margin > 0.0) {
            return refuse(format!("min_margin is {}; give a number above 0", self.min_margin));
        }
        if !(self.judged_margin.is_finite() && self.judged_margin >= 0.0) {
            let margin = self.judged_margin;
            return refuse(format!("judged_margin is {margin}; give a number from 0 on"));
        }
        if let Some(least) = self.min_chosen_reward.filter(|least| !least.is_finite()) {
            return refuse(format!(
                "min_chosen_reward is {least}; give a finite number, or leave it out"
            ));
        }
        for (field, count) in [("max_pairs", self.max_pairs), ("max_judged", self.max_judged)] {
            if count == 0 {
                return refuse(format!("{field} is 0; give at least 1"));
            }
        }
        Ok(())
    }
}

/// The pairs of one prompt's completions as (chosen, rejected): the best against the worst, the
/// second best against the second worst, and so on while the margin holds.
///
/// Among equal rewards the shortest is chosen, and the one rejected whose length is closest to it:
/// pairs that differ in length teach length.
pub fn pairs(candidates: &[Candidate], options: &MineOptions) -> Vec<(usize, usize)> {
    let mut left = ranked(candidates);
    let mut pairs = Vec::new();
    while left.len() >= 2 && pairs.len() < options.max_pairs {
        let (chosen, best) = left.remove(0);
        let Some(&(_, worst)) = left.last() else { break };
        let is_good = options.min_chosen_reward.is_none_or(|least| best >= least);
        if !is_good || best - worst < options.min_margin {
            break;
        }
        let distance = |idx: usize| candidates[idx].n_tokens.abs_diff(candidates[chosen].n_tokens);
        let worst_ones = left.iter().enumerate().filter(|(_, (_, reward))| *reward == worst);
        let Some((place, &(rejected, _))) = worst_ones.min_by_key(|(_, (idx, _))| distance(*idx))
        else {
            break;
        };
        left.remove(place);
        pairs.push((chosen, rejected));
    }
    pairs
}

/// The verdicts on one prompt's completions, as (completion, desirable): best first, then worst
/// first. `mean` is what rewards are held against; see [`mean_reward`].
pub fn verdicts(candidates: &[Candidate], mean: f64, options: &MineOptions) -> Vec<(usize, bool)> {
    let ranked = ranked(candidates);
    let good = ranked.iter().filter(|(_, reward)| {
        let is_allowed = options.min_chosen_reward.is_none_or(|least| *reward >= least);
        *reward > mean + options.judged_margin && is_allowed
    });
    let bad = ranked.iter().rev().filter(|(_, reward)| *reward < mean - options.judged_margin);
    let good = good.take(options.max_judged).map(|&(idx, _)| (idx, true));
    good.chain(bad.take(options.max_judged).map(|&(idx, _)| (idx, false))).collect()
}

/// The mean of the rewards that are known; none where none is.
pub fn mean_reward<'a>(candidates: impl IntoIterator<Item = &'a Candidate>) -> Option<f64> {
    let rewards = candidates.into_iter().filter_map(|candidate| candidate.reward);
    let (sum, n) = rewards.fold((0.0, 0usize), |(sum, n), reward| (sum + reward, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// The completions that can be compared, best first, with their rewards: scored, not blank, each
/// text once. Equal rewards stand shortest first, then in the order of sampling.
fn ranked(candidates: &[Candidate]) -> Vec<(usize, f64)> {
    let mut seen = HashSet::new();
    let mut ranked: Vec<(usize, f64)> = candidates
        .iter()
        .enumerate()
        .filter_map(|(idx, candidate)| Some((idx, candidate.reward.filter(|r| r.is_finite())?)))
        .filter(|&(idx, _)| {
            let text = candidates[idx].text.trim();
            !text.is_empty() && seen.insert(text)
        })
        .collect();
    ranked.sort_by(|left, right| {
        let by_length = candidates[left.0].n_tokens.cmp(&candidates[right.0].n_tokens);
        right.1.total_cmp(&left.1).then(by_length)
    });
    ranked
}
