//! From next-token scores to a token.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How tokens are drawn. The default is greedy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the best token always.
    pub temperature: f32,
    /// Only the best `top_k` tokens may be drawn; 0 means all.
    pub top_k: usize,
    /// Only the smallest set of best tokens with this much probability may be drawn
    /// (Holtzman et al. 2020); 1 means all.
    pub top_p: f32,
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0
    }
}

/// A row's source of tokens: the same seed and the same scores give the same tokens, whatever
/// else is in the batch.
pub struct Sampler {
    sampling: Sampling,
    random: StdRng,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, random: StdRng::seed_from_u64(sampling.seed) }
    }

    /// Draws from the scores of one position, `[vocab]`. Scores that are not numbers never win;
    /// without a single number the first token is taken.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.is_greedy() {
            return argmax(logits);
        }
        let candidates = self.candidates(logits);
        let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
        if !total.is_finite() || total <= 0.0 {
            return argmax(logits);
        }
        let mut left = self.random.random::<f32>() * total;
        for (token, weight) in &candidates {
            left -= weight;
            if left <= 0.0 {
                return *token;
            }
        }
        candidates.last().map_or(0, |(token, _)| *token)
    }

    /// The tokens that may be drawn, best first, with weights relative to the best one's.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f32)> {
        let mut candidates: Vec<(u32, f32)> =
            (0u32..).zip(logits.iter().copied()).filter(|(_, score)| score.is_finite()).collect();
        candidates.sort_unstable_by(|left, right| right.1.total_cmp(&left.1));
        if self.sampling.top_k > 0 {
            candidates.truncate(self.sampling.top_k);
        }
        let best = candidates.first().map_or(0.0, |(_, score)| *score);
        for (_, score) in &mut candidates {
            *score = ((*score - best) / self.sampling.temperature).exp();
        }
        let total: f32 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut seen = 0.0;
        let kept = candidates.iter().position(|(_, weight)| {
            seen += weight;
            seen >= self.sampling.top_p * total
        });
        candidates.truncate(kept.map_or(candidates.len(), |last| last + 1));
        candidates
    }
}

/// The best token; the first of equals, as the reference implementations do.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = (0u32, f32::NEG_INFINITY);
    for (token, score) in (0u32..).zip(logits.iter().copied()) {
        if score > best.1 {
            best = (token, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, f32::NAN];

    fn shares(sampling: Sampling) -> [usize; 4] {
        let mut sampler = Sampler::new(sampling);
        let mut counts = [0; 4];
        for _ in 0..4_000 {
            counts[sampler.draw(&LOGITS) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_best_and_the_first_of_equals() {
        assert_eq!(Sampler::new(Sampling::default()).draw(&LOGITS), 1);
        assert_eq!(argmax(&[1.0, 1.0]), 0);
        assert_eq!(argmax(&[f32::NAN, f32::NAN]), 0);
    }

    #[test]
    fn frequencies_follow_the_softmax_at_the_temperature() {
        let counts = shares(Sampling { temperature: 1.0, ..Sampling::default() });
        let share = counts[1] as f32 / 4_000.0;
        assert!((share - 0.665).abs() < 0.03, "{counts:?}");
        assert_eq!(counts[3], 0, "a score that is no number was drawn");
        let cold = shares(Sampling { temperature: 0.2, ..Sampling::default() });
        assert!(cold[1] > 3_900, "{cold:?}");
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let top_k = shares(Sampling { temperature: 1.0, top_k: 2, ..Sampling::default() });
        assert_eq!(top_k[0], 0);
        assert!(top_k[2] > 0);
        let top_p = shares(Sampling { temperature: 1.0, top_p: 0.6, ..Sampling::default() });
        assert_eq!(top_p, [0, 4_000, 0, 0]);
    }

    #[test]
    fn a_seed_repeats_itself() {
        let sampling = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
        let draw = || {
            let mut sampler = Sampler::new(sampling);
            (0..50).map(|_| sampler.draw(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}
