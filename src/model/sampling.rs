//! From next-token scores to a token.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as Strategy};

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
    /// None draws greedily.
    processor: Option<LogitsProcessor>,
    /// 1 for a greedy one.
    temperature: f64,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        let temperature = f64::from(sampling.temperature);
        let (k, p) = (sampling.top_k, f64::from(sampling.top_p));
        let strategy = match (k, p < 1.0) {
            (0, false) => Strategy::All { temperature },
            (0, true) => Strategy::TopP { p, temperature },
            (k, false) => Strategy::TopK { k, temperature },
            (k, true) => Strategy::TopKThenTopP { k, p, temperature },
        };
        let processor = (!sampling.is_greedy())
            .then(|| LogitsProcessor::from_sampling(sampling.seed, strategy));
        let temperature = if sampling.is_greedy() { 1.0 } else { temperature };
        Self { processor, temperature }
    }

    /// ln of a token's probability at the temperature, over the whole vocabulary.
    pub fn log_prob(&self, logits: &[f32], token: u32) -> f32 {
        let scaled = |logit: f32| f64::from(logit) / self.temperature;
        let finite = || logits.iter().copied().filter(|logit| logit.is_finite());
        let most = scaled(finite().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = finite().map(|logit| (scaled(logit) - most).exp()).sum();
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NAN);
        (scaled(logit) - most - sum.ln()) as f32
    }

    /// Draws from the scores of one position, `[vocab]`. Scores that are not numbers never win;
    /// without a single number the first token is taken.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        let Some(processor) = &mut self.processor else { return argmax(logits) };
        if !logits.iter().any(|score| score.is_finite()) {
            return argmax(logits);
        }
        let impossible = |score: &f32| if score.is_finite() { *score } else { f32::NEG_INFINITY };
        let scores: Vec<f32> = logits.iter().map(impossible).collect();
        let drawn = Tensor::from_vec(scores, logits.len(), &Device::Cpu)
            .and_then(|scores| processor.sample(&scores));
        drawn.unwrap_or_else(|_| argmax(logits))
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
    fn a_log_prob_is_that_of_the_softmax_at_the_temperature() {
        let warm = Sampler::new(Sampling { temperature: 2.0, ..Sampling::default() });
        let sum = 1.0 + 1f64.exp() + 0.5f64.exp();
        assert!((f64::from(warm.log_prob(&LOGITS, 1)) - (1.0 - sum.ln())).abs() < 1e-6);
        assert!(warm.log_prob(&LOGITS, 3).is_nan());
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
