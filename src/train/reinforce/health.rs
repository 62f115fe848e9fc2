//! The figures of a step that tell whether the policy is well, from its completions.

use std::collections::{BTreeMap, HashSet};

mod grams;
mod scripts;
#[cfg(test)]
mod tests;

pub use grams::{repetition, top_4gram_share};
pub use scripts::{foreign_letters, frac_foreign_script};

/// The figures of one step; none where one was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    /// Groups whose rewards are all equal, of all groups: measured before any is sampled anew.
    pub frac_groups_without_variance: Option<f64>,
    /// Nats per token.
    pub entropy: Option<f64>,
    /// From the reference, nats per token.
    pub kl: Option<f64>,
    /// Letters in scripts that neither the history nor the query uses, of all letters.
    pub frac_foreign_script: Option<f64>,
    /// Completions that hold the most frequent 4-gram that is not of their own prompt, of all.
    pub top_4gram_share: Option<f64>,
    /// 4-grams of a completion that it holds already, of all: the mean over completions.
    pub repetition: Option<f64>,
    /// Completions that could not be scored, of all.
    pub frac_scorer_failures: Option<f64>,
    pub mean_tokens: Option<f64>,
    /// Completions that end by themselves, of all.
    pub frac_stopped: Option<f64>,
    /// The mean over completions that were scored.
    pub reward: Option<f64>,
}

/// One completion of a step.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Completions of one prompt share it.
    pub group: usize,
    /// Everything that the completion may draw its words from: history and query.
    pub prompt: &'a str,
    pub text: &'a str,
    pub n_tokens: usize,
    /// Whether it ended by itself.
    pub is_stopped: bool,
    /// None where it could not be scored.
    pub reward: Option<f64>,
}

impl Health {
    /// What the completions alone tell; entropy and KL come from the loss. All is none without
    /// any completion.
    pub fn of(samples: &[Sample<'_>]) -> Self {
        let share = |holds: &dyn Fn(&Sample<'_>) -> bool| {
            mean(samples.iter().map(|sample| f64::from(u8::from(holds(sample)))))
        };
        Self {
            frac_groups_without_variance: frac_groups_without_variance(samples),
            entropy: None,
            kl: None,
            frac_foreign_script: frac_foreign_script(samples),
            top_4gram_share: top_4gram_share(samples),
            repetition: mean(samples.iter().map(|sample| repetition(sample.text))),
            frac_scorer_failures: share(&|sample| sample.reward.is_none()),
            mean_tokens: mean(samples.iter().map(|sample| sample.n_tokens as f64)),
            frac_stopped: share(&|sample| sample.is_stopped),
            reward: mean(samples.iter().filter_map(|sample| sample.reward)),
        }
    }

    /// The figures that were measured, under their names in the log.
    pub fn figures(&self) -> BTreeMap<&'static str, f64> {
        let figures = [
            ("frac_groups_without_variance", self.frac_groups_without_variance),
            ("entropy", self.entropy),
            ("kl", self.kl),
            ("frac_foreign_script", self.frac_foreign_script),
            ("top_4gram_share", self.top_4gram_share),
            ("repetition", self.repetition),
            ("frac_scorer_failures", self.frac_scorer_failures),
            ("mean_tokens", self.mean_tokens),
            ("frac_stopped", self.frac_stopped),
            ("reward", self.reward),
        ];
        figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Groups with at least two scored completions whose rewards are all equal, of those groups; none
/// where there is no such group.
pub fn frac_groups_without_variance(samples: &[Sample<'_>]) -> Option<f64> {
    let mut groups: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for sample in samples {
        if let Some(reward) = sample.reward {
            // -0 and 0 are one reward.
            groups.entry(sample.group).or_default().push((reward + 0.0).to_bits());
        }
    }
    let compared = groups.values().filter(|rewards| rewards.len() >= 2);
    mean(compared.map(|rewards| {
        let is_flat = rewards.iter().collect::<HashSet<_>>().len() == 1;
        f64::from(u8::from(is_flat))
    }))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}
