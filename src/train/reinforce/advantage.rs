//! How much better each answer is than the other answers to its prompt.

use super::options::{Aggregation, GrpoOptions, MissingReward, ScaleRewards};
use crate::error::{Error, Result};

/// Added to a standard deviation before dividing by it.
const STD_FLOOR: f64 = 1e-4;
/// A standard deviation up to this is none.
const NO_STD: f64 = 1e-8;

/// How rewards become advantages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdvantageOptions {
    /// Answers to one prompt; they stand one after another.
    pub n_generations: usize,
    pub scale: ScaleRewards,
    pub aggregation: Aggregation,
    pub missing: MissingReward,
}

impl From<&GrpoOptions> for AdvantageOptions {
    fn from(options: &GrpoOptions) -> Self {
        Self {
            n_generations: options.n_generations,
            scale: options.scale_rewards,
            aggregation: options.aggregation,
            missing: MissingReward::LeaveAnswerOut,
        }
    }
}

/// The answers to one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Answers that have a reward.
    pub n_scored: usize,
    /// Of the weighted sums, 0 without an answer that has one.
    pub mean: f64,
    /// Of what the advantages are made of (weighted sums, or sums of z-scores), with n − 1; 0 with
    /// fewer than two answers.
    pub std: f64,
}

impl Group {
    /// Whether there is anything to learn from the group.
    pub fn has_variance(&self) -> bool {
        self.std > NO_STD
    }
}

/// What the answers are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// One of each answer; 0 of those that take no part.
    pub values: Vec<f64>,
    /// The weighted sum of each answer's rewards; none of those that take no part.
    pub rewards: Vec<Option<f64>>,
    pub groups: Vec<Group>,
}

impl Advantages {
    /// Answers that take no part, because a scorer failed.
    pub fn n_left_out(&self) -> usize {
        self.rewards.iter().filter(|reward| reward.is_none()).count()
    }

    /// The mean of the answers' weighted sums (TRL's `reward`), none if no answer has one.
    pub fn reward_mean(&self) -> Option<f64> {
        spread(&self.rewards).map(|spread| spread.mean)
    }

    /// Their standard deviation over the batch (`reward_std`).
    pub fn reward_std(&self) -> f64 {
        spread(&self.rewards).map_or(0.0, |spread| spread.std)
    }

    /// The share of groups without variance (`frac_reward_zero_std`), whatever the scaling; TRL's
    /// is that of the batch where the batch scales.
    pub fn share_without_variance(&self) -> f64 {
        let n_flat = self.groups.iter().filter(|group| !group.has_variance()).count();
        n_flat as f64 / self.groups.len().max(1) as f64
    }
}

/// The advantage of each answer. `rewards[answer][reward]` is none (or NaN) where the scorer
/// failed; `weights` has one weight for each reward.
///
/// # Errors
/// `rewards` if the answers do not fill groups, the rows differ in length from `weights`, or a
/// reward or a weight is infinite.
pub fn advantages(
    rewards: &[Vec<Option<f64>>],
    weights: &[f64],
    options: &AdvantageOptions,
) -> Result<Advantages> {
    check(rewards, weights, options)?;
    let rows: Vec<Vec<Option<f64>>> = rewards.iter().map(|row| usable(row, options)).collect();
    let sums: Vec<_> = rows.iter().map(|row| weighted_sum(row, weights)).collect();
    let compared = match options.aggregation {
        Aggregation::SumThenNormalize => sums.clone(),
        Aggregation::NormalizeThenSum => z_score_sums(&rows, weights, options.n_generations),
    };
    let (centres, groups) = describe(&sums, &compared, options.n_generations);
    let batch = spread(&compared).unwrap_or_default();
    let advantage = |(answer, value): (usize, &Option<f64>)| {
        let Some(value) = value else { return 0.0 };
        let group = answer / options.n_generations;
        if options.aggregation == Aggregation::SumThenNormalize && !groups[group].has_variance() {
            // Not what rounding leaves of equal rewards.
            return 0.0;
        }
        match (options.aggregation, options.scale) {
            (Aggregation::NormalizeThenSum, _) => (value - batch.mean) / (batch.std + STD_FLOOR),
            (_, ScaleRewards::None) => value - centres[group],
            (_, ScaleRewards::Group) => (value - centres[group]) / (groups[group].std + STD_FLOOR),
            (_, ScaleRewards::Batch) => (value - centres[group]) / (batch.std + STD_FLOOR),
        }
    };
    let values = compared.iter().enumerate().map(advantage).collect();
    Ok(Advantages { values, rewards: sums, groups })
}

/// Mean and standard deviation (with n − 1; 0 with fewer than two) of the numbers that are there;
/// none if there is none.
pub fn mean_and_std(values: &[Option<f64>]) -> Option<(f64, f64)> {
    spread(values).map(|spread| (spread.mean, spread.std))
}

#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    n: usize,
    mean: f64,
    std: f64,
}

fn spread(values: &[Option<f64>]) -> Option<Spread> {
    let present: Vec<f64> = values.iter().flatten().copied().collect();
    let n = present.len();
    if n == 0 {
        return None;
    }
    let mean = present.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return Some(Spread { n, mean, std: 0.0 });
    }
    let squares: f64 = present.iter().map(|value| (value - mean).powi(2)).sum();
    Some(Spread { n, mean, std: (squares / (n - 1) as f64).sqrt() })
}

/// The rewards of an answer that count: NaN is none, and one failure may cost them all.
fn usable(row: &[Option<f64>], options: &AdvantageOptions) -> Vec<Option<f64>> {
    let row: Vec<_> = row.iter().map(|reward| reward.filter(|value| !value.is_nan())).collect();
    let is_left_out =
        options.missing == MissingReward::LeaveAnswerOut && row.iter().any(Option::is_none);
    if is_left_out { vec![None; row.len()] } else { row }
}

fn weighted_sum(row: &[Option<f64>], weights: &[f64]) -> Option<f64> {
    let scored = row.iter().zip(weights).filter_map(|(reward, weight)| Some((*reward)? * weight));
    row.iter().any(Option::is_some).then(|| scored.sum())
}

/// GDPO: the weighted sum of each answer's z-scores within its group, reward by reward.
fn z_score_sums(
    rows: &[Vec<Option<f64>>],
    weights: &[f64],
    n_generations: usize,
) -> Vec<Option<f64>> {
    let mut scores: Vec<Vec<Option<f64>>> = Vec::with_capacity(rows.len());
    for group in rows.chunks(n_generations) {
        let column = |index: usize| group.iter().map(|row| row[index]).collect::<Vec<_>>();
        let spreads: Vec<_> =
            (0..weights.len()).map(|index| spread(&column(index)).unwrap_or_default()).collect();
        let z_score = |(reward, spread): (&Option<f64>, &Spread)| {
            reward.map(|value| (value - spread.mean) / (spread.std + STD_FLOOR))
        };
        scores.extend(group.iter().map(|row| row.iter().zip(&spreads).map(z_score).collect()));
    }
    scores.iter().map(|row| weighted_sum(row, weights)).collect()
}

/// The means of what is compared, group by group, and the groups.
fn describe(
    sums: &[Option<f64>],
    compared: &[Option<f64>],
    n_generations: usize,
) -> (Vec<f64>, Vec<Group>) {
    let groups = sums.chunks(n_generations).zip(compared.chunks(n_generations));
    groups
        .map(|(sums, compared)| {
            let (of_sums, of_compared) =
                (spread(sums).unwrap_or_default(), spread(compared).unwrap_or_default());
            let group = Group { n_scored: of_sums.n, mean: of_sums.mean, std: of_compared.std };
            (of_compared.mean, group)
        })
        .unzip()
}

fn check(rewards: &[Vec<Option<f64>>], weights: &[f64], options: &AdvantageOptions) -> Result<()> {
    let refuse = |sentence: String| Err(Error::invalid("rewards", sentence));
    let n_generations = options.n_generations;
    if n_generations == 0 || !rewards.len().is_multiple_of(n_generations) {
        return refuse(format!(
            "{} answers do not fill groups of {n_generations}; give every prompt as many answers",
            rewards.len()
        ));
    }
    if let Some(row) = rewards.iter().find(|row| row.len() != weights.len()) {
        return refuse(format!(
            "an answer has {} rewards, and there are {} weights",
            row.len(),
            weights.len()
        ));
    }
    let numbers = rewards.iter().flatten().flatten().filter(|value| !value.is_nan());
    match numbers.chain(weights).find(|value| !value.is_finite()) {
        Some(value) => {
            refuse(format!("a reward or its weight is {value}; rewards have to be finite"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(scale: ScaleRewards) -> AdvantageOptions {
        AdvantageOptions {
            n_generations: 4,
            scale,
            aggregation: Aggregation::SumThenNormalize,
            missing: MissingReward::LeaveAnswerOut,
        }
    }

    fn single(values: &[Option<f64>]) -> Vec<Vec<Option<f64>>> {
        values.iter().map(|value| vec![*value]).collect()
    }

    #[test]
    fn a_missing_reward_takes_no_part_and_is_counted() {
        let rewards = single(&[Some(1.0), None, Some(3.0), Some(f64::NAN)]);
        let found = advantages(&rewards, &[1.0], &options(ScaleRewards::None)).unwrap();
        assert_eq!(found.values, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!((found.n_left_out(), found.groups[0].n_scored), (2, 2));
        assert_eq!(found.reward_mean(), Some(2.0));
    }

    #[test]
    fn one_failed_scorer_leaves_the_answer_out_unless_told_otherwise() {
        let rewards = vec![
            vec![Some(1.0), None],
            vec![Some(1.0), Some(1.0)],
            vec![Some(0.0), Some(0.0)],
            vec![None, None],
        ];
        let strict = options(ScaleRewards::None);
        let found = advantages(&rewards, &[1.0, 1.0], &strict).unwrap();
        assert_eq!(found.rewards, [None, Some(2.0), Some(0.0), None]);
        assert_eq!(found.values, [0.0, 1.0, -1.0, 0.0]);
        let lenient = AdvantageOptions { missing: MissingReward::LeaveRewardOut, ..strict };
        let found = advantages(&rewards, &[1.0, 1.0], &lenient).unwrap();
        assert_eq!(found.rewards, [Some(1.0), Some(2.0), Some(0.0), None]);
    }

    #[test]
    fn groups_without_variance_teach_nothing_and_are_named() {
        let rewards = single(&[0.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 1.0].map(Some));
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let found = advantages(&rewards, &[1.0], &options(scale)).unwrap();
            assert!(found.values[..4].iter().all(|value| value.abs() < 1e-9), "{:?}", found.values);
            let has_variance: Vec<_> = found.groups.iter().map(Group::has_variance).collect();
            assert_eq!(has_variance, [false, true]);
            assert_eq!(found.share_without_variance(), 0.5);
        }
    }

    #[test]
    fn a_group_with_one_or_no_reward_gives_zeros() {
        let rewards = single(&[Some(5.0), None, None, None, None, None, None, None]);
        let found = advantages(&rewards, &[1.0], &options(ScaleRewards::Group)).unwrap();
        assert_eq!(found.values, [0.0; 8]);
        assert_eq!(found.share_without_variance(), 1.0);
    }

    #[test]
    fn gdpo_lets_a_reward_of_small_spread_count() {
        let rewards: Vec<_> = [(0.0, 0.02), (0.0, 0.01), (10.0, 0.02), (10.0, 0.01)]
            .map(|(large, small)| vec![Some(large), Some(small)])
            .into();
        let gdpo = AdvantageOptions {
            aggregation: Aggregation::NormalizeThenSum,
            ..options(ScaleRewards::Group)
        };
        let found = advantages(&rewards, &[1.0, 1.0], &gdpo).unwrap();
        let gap = |values: &[f64]| values[0] - values[1];
        assert!(gap(&found.values) > 1.0, "{:?}", found.values);
        let summed = advantages(&rewards, &[1.0, 1.0], &options(ScaleRewards::Group)).unwrap();
        assert!(gap(&summed.values) < 0.01);
    }

    #[test]
    fn rewards_that_do_not_fit_are_refused() {
        let options = options(ScaleRewards::Group);
        for (rewards, weights) in [
            (single(&[Some(1.0); 3]), vec![1.0]),
            (single(&[Some(1.0); 4]), vec![1.0, 1.0]),
            (single(&[Some(f64::INFINITY); 4]), vec![1.0]),
            (single(&[Some(1.0); 4]), vec![f64::NAN]),
        ] {
            assert_eq!(advantages(&rewards, &weights, &options).unwrap_err().code, "rewards");
        }
    }
}
