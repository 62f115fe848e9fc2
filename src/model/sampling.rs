//! From next-token scores to a token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::qwen::kernel::{exp, sum, vectorised};

/// Scores whose powers are summed before they are added up with others; a draw looks for its
/// token in one such run only.
const RUN: usize = 256;
/// Running results kept side by side in vector registers.
const LANES: usize = 16;

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
    random: ChaCha8Rng,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// ln of a token's probability at the temperature (1 for greedy ones), over the whole
    /// vocabulary.
    pub fn log_prob(&self, logits: &[f32], token: u32) -> f32 {
        Softmax::of(logits, self.temperature()).log_prob(logits, token)
    }

    /// Draws from the scores of one position, `[vocab]`. Scores that are not numbers never win;
    /// without a single number the first token is taken.
    pub fn draw(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.is_greedy() {
            return argmax(logits);
        }
        self.draw_from(logits, &Softmax::of(logits, self.temperature()))
    }

    /// A token as [`Self::draw`] gives it, and its [`Self::log_prob`], from one sum.
    pub fn draw_with_log_prob(&mut self, logits: &[f32]) -> (u32, f32) {
        let softmax = Softmax::of(logits, self.temperature());
        let token = match self.sampling.is_greedy() {
            true => argmax(logits),
            false => self.draw_from(logits, &softmax),
        };
        (token, softmax.log_prob(logits, token))
    }

    fn temperature(&self) -> f64 {
        if self.sampling.is_greedy() { 1.0 } else { f64::from(self.sampling.temperature) }
    }

    fn draw_from(&mut self, logits: &[f32], softmax: &Softmax) -> u32 {
        if softmax.total <= 0.0 {
            return argmax(logits);
        }
        let share: f64 = self.random.random();
        if self.sampling.top_k == 0 && self.sampling.top_p >= 1.0 {
            softmax.at(logits, share)
        } else {
            let best = softmax.best(logits, self.sampling.top_k, f64::from(self.sampling.top_p));
            first_beyond(
                best.iter().copied(),
                share * best.iter().map(|(_, power)| power).sum::<f64>(),
            )
        }
    }
}

/// `e^((score - largest) / temperature)` of each finite score of a row, as sums only.
struct Softmax {
    largest: f32,
    temperature: f64,
    /// What the scores are multiplied by.
    inverse: f32,
    /// The sum of each [`RUN`] of tokens.
    runs: Vec<f32>,
    /// 0 where no score is finite.
    total: f64,
}

impl Softmax {
    fn of(logits: &[f32], temperature: f64) -> Self {
        let inverse = (1.0 / temperature as f32).min(f32::MAX);
        let mut runs = Vec::with_capacity(logits.len().div_ceil(RUN));
        let largest = vectorised(
            #[inline(always)]
            || {
                let largest = largest(logits);
                for run in logits.chunks(RUN) {
                    runs.push(sum_of_powers(run, largest, inverse));
                }
                largest
            },
        );
        let total = runs.iter().copied().map(f64::from).sum();
        Self { largest, temperature, inverse, runs, total }
    }

    fn log_prob(&self, logits: &[f32], token: u32) -> f32 {
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NAN);
        let above = f64::from(logit) - f64::from(self.largest);
        (above / self.temperature - self.total.ln()) as f32
    }

    fn power(&self, logit: f32) -> f64 {
        f64::from(power(logit, self.largest, self.inverse))
    }

    /// The token at this share, within 0 and 1, of the sum: the inverse of the distribution.
    fn at(&self, logits: &[f32], share: f64) -> u32 {
        let mut left = share * self.total;
        let mut chosen = 0;
        for (index, sum) in self.runs.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            chosen = index;
            if left < f64::from(*sum) {
                break;
            }
            left -= f64::from(*sum);
        }
        let start = chosen * RUN;
        let run = &logits[start..(start + RUN).min(logits.len())];
        let powers = (start as u32..).zip(run.iter().map(|logit| self.power(*logit)));
        first_beyond(powers, left)
    }

    /// The `k` best tokens (0: all) with their powers, the best first, and of these the fewest
    /// whose probability over the whole vocabulary reaches `p`.
    fn best(&self, logits: &[f32], k: usize, p: f64) -> Vec<(u32, f64)> {
        let powers = (0u32..).zip(logits.iter().map(|logit| self.power(*logit)));
        let mut best: Vec<(u32, f64)> = powers.filter(|(_, power)| *power > 0.0).collect();
        let larger = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if k > 0 && k < best.len() {
            best.select_nth_unstable_by(k, larger);
            best.truncate(k);
        }
        best.sort_unstable_by(larger);
        let mut before = 0.0;
        let n_kept = best.iter().take_while(|(_, power)| {
            let is_kept = before < p * self.total;
            before += power;
            is_kept
        });
        let n_kept = n_kept.count().max(1);
        best.truncate(n_kept);
        best
    }
}

/// The first token at which the sum of the powers is beyond `target`; where rounding lets none be,
/// the last that has any.
fn first_beyond(powers: impl Iterator<Item = (u32, f64)>, target: f64) -> u32 {
    let (mut sum, mut last) = (0.0, 0);
    for (token, power) in powers.filter(|(_, power)| *power > 0.0) {
        sum += power;
        last = token;
        if sum > target {
            break;
        }
    }
    last
}

#[inline(always)]
fn power(logit: f32, largest: f32, inverse: f32) -> f32 {
    if logit.is_finite() { exp((logit - largest) * inverse) } else { 0.0 }
}

#[inline(always)]
fn sum_of_powers(logits: &[f32], largest: f32, inverse: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = logits.chunks_exact(LANES);
    let mut rest = 0.0;
    for logit in chunks.remainder() {
        rest += power(*logit, largest, inverse);
    }
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += power(chunk[lane], largest, inverse);
        }
    }
    sum(&lanes) + rest
}

/// The largest finite score; minus infinity without one.
#[inline(always)]
fn largest(logits: &[f32]) -> f32 {
    let larger =
        |most: f32, logit: f32| if logit.is_finite() && logit > most { logit } else { most };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().copied().fold(rest, larger)
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
    fn a_token_drawn_with_its_log_prob_is_the_token_drawn() {
        // More than one run of scores, the last of them short.
        let logits: Vec<f32> = (0..700).map(|token| ((token * 37) % 91) as f32 / 20.0).collect();
        for temperature in [0.0, 0.7] {
            let sampling = Sampling { temperature, seed: 5, ..Sampling::default() };
            let (mut alone, mut both) = (Sampler::new(sampling), Sampler::new(sampling));
            for _ in 0..50 {
                let token = alone.draw(&logits);
                let expected = (token, alone.log_prob(&logits, token));
                assert_eq!(both.draw_with_log_prob(&logits), expected);
            }
        }
    }

    #[test]
    fn every_part_of_a_long_row_has_its_share_of_the_draws() {
        let mut logits = vec![f32::NEG_INFINITY; 700];
        let tokens = [0usize, 255, 256, 640, 699];
        for token in tokens {
            logits[token] = 1.0;
        }
        logits[300] = f32::INFINITY;
        let mut sampler = Sampler::new(Sampling { temperature: 1e-30, ..Sampling::default() });
        let mut counts = vec![0; 700];
        for _ in 0..5_000 {
            counts[sampler.draw(&logits) as usize] += 1;
        }
        assert!(tokens.iter().all(|token| (850..1_150).contains(&counts[*token])), "{counts:?}");
        assert_eq!(tokens.iter().map(|token| counts[*token]).sum::<usize>(), 5_000);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let top_k = shares(Sampling { temperature: 1.0, top_k: 2, ..Sampling::default() });
        assert_eq!(top_k[0], 0);
        assert!(top_k[2] > 0);
        let top_p = shares(Sampling { temperature: 1.0, top_p: 0.6, ..Sampling::default() });
        assert_eq!(top_p, [0, 4_000, 0, 0]);
        let both = shares(Sampling { temperature: 1.0, top_k: 2, top_p: 0.95, seed: 0 });
        assert!(both[0] == 0 && both[2] > 800, "{both:?}");
    }

    #[test]
    fn shares_are_those_of_candle_s_own_sampler() {
        use candle_core::{Device, Tensor};
        use candle_transformers::generation::{LogitsProcessor, Sampling as Strategy};

        const DRAWS: usize = 6_000;
        let logits: Vec<f32> = (0..12).map(|token| ((token * 5) % 12) as f32 / 4.0).collect();
        let scores = Tensor::new(logits.as_slice(), &Device::Cpu).unwrap();
        let temperature = 0.8;
        for (top_k, top_p, theirs) in [
            (0, 1.0, Strategy::All { temperature }),
            (5, 1.0, Strategy::TopK { k: 5, temperature }),
            (0, 0.7, Strategy::TopP { p: 0.7, temperature }),
            (6, 0.7, Strategy::TopKThenTopP { k: 6, p: 0.7, temperature }),
        ] {
            let mut theirs = LogitsProcessor::from_sampling(1, theirs);
            let mut ours = Sampler::new(Sampling { temperature: 0.8, top_k, top_p, seed: 1 });
            let (mut of_theirs, mut of_ours) = ([0usize; 12], [0usize; 12]);
            for _ in 0..DRAWS {
                of_theirs[theirs.sample(&scores).unwrap() as usize] += 1;
                of_ours[ours.draw(&logits) as usize] += 1;
            }
            for (theirs, ours) in of_theirs.iter().zip(&of_ours) {
                let apart = theirs.abs_diff(*ours) as f64 / DRAWS as f64;
                assert!(apart < 0.04, "top {top_k}, {top_p}: {of_theirs:?} and {of_ours:?}");
                assert_eq!(*theirs == 0, *ours == 0, "{of_theirs:?} and {of_ours:?}");
            }
        }
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
