//! Token sequences as the model is trained on them, and how a part of a batch is packed.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A prompt's tokens and the answer's behind them, the end of the turn included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub tokens: Vec<u32>,
    pub n_prompt: usize,
}

impl Sequence {
    /// The two joined and cut to `max_tokens`: the answer is kept whole where it fits beside one
    /// token of the prompt, and the prompt loses its start, as a conversation's newest turns count
    /// most. Returns whether anything was cut.
    pub fn joined(prompt: &[u32], answer: &[u32], max_tokens: usize) -> (Self, bool) {
        let n_answer = answer.len().min(max_tokens.saturating_sub(1));
        let n_prompt = prompt.len().min(max_tokens - n_answer);
        let tokens = [&prompt[prompt.len() - n_prompt..], &answer[..n_answer]].concat();
        let is_cut = n_answer < answer.len() || n_prompt < prompt.len();
        (Self { tokens, n_prompt }, is_cut)
    }

    /// Tokens of the answer.
    pub fn n_answer(&self) -> usize {
        self.tokens.len() - self.n_prompt
    }
}

/// Sequences packed behind one another: what goes in, and which hidden states are scored for
/// which next tokens. Only answers are scored.
#[derive(Debug, Default)]
pub struct PackedBatch {
    /// All but each sequence's last token.
    pub inputs: Vec<u32>,
    /// Inputs of each sequence.
    pub lengths: Vec<usize>,
    /// Which of the hidden states are scored.
    pub positions: Vec<u32>,
    /// What comes after them.
    pub targets: Vec<u32>,
    /// Each sequence's share of `positions`.
    pub spans: Vec<Range<usize>>,
}

impl PackedBatch {
    /// Sequences have at least two tokens, and a prompt of at least one.
    pub fn pack<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Self {
        let mut batch = Self::default();
        for sequence in sequences {
            let start = batch.inputs.len();
            let n_inputs = sequence.tokens.len() - 1;
            batch.inputs.extend_from_slice(&sequence.tokens[..n_inputs]);
            batch.lengths.push(n_inputs);
            let first = batch.positions.len();
            let scored = sequence.n_prompt - 1..n_inputs;
            batch.positions.extend(scored.clone().map(|position| (start + position) as u32));
            batch.targets.extend_from_slice(&sequence.tokens[sequence.n_prompt..]);
            batch.spans.push(first..batch.positions.len());
        }
        batch
    }

    /// Each sequence's sum of one number a scored token.
    pub fn sums(&self, values: &[f32]) -> Vec<f64> {
        let of_span =
            |span: &Range<usize>| values[span.clone()].iter().map(|v| f64::from(*v)).sum();
        self.spans.iter().map(of_span).collect()
    }

    /// One number a sequence as one a scored token.
    pub fn spread(&self, values: &[f64]) -> Vec<f32> {
        let mut spread = vec![0f32; self.positions.len()];
        for (span, value) in self.spans.iter().zip(values) {
            spread[span.clone()].fill(*value as f32);
        }
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(tokens: &[u32], n_prompt: usize) -> Sequence {
        Sequence { tokens: tokens.to_vec(), n_prompt }
    }

    #[test]
    fn a_prompt_loses_its_start_before_an_answer_loses_its_end() {
        let joined = |max| Sequence::joined(&[1, 2, 3], &[4, 5], max);
        assert_eq!(joined(5), (sequence(&[1, 2, 3, 4, 5], 3), false));
        assert_eq!(joined(4), (sequence(&[2, 3, 4, 5], 2), true));
        assert_eq!(joined(2), (sequence(&[3, 4], 1), true));
    }

    #[test]
    fn only_answers_are_scored_each_by_the_state_before_it() {
        let batch = PackedBatch::pack(&[sequence(&[1, 2, 3, 4], 2), sequence(&[5, 6], 1)]);
        assert_eq!(batch.inputs, [1, 2, 3, 5]);
        assert_eq!(batch.lengths, [3, 1]);
        assert_eq!(batch.positions, [1, 2, 3]);
        assert_eq!(batch.targets, [3, 4, 6]);
        assert_eq!(batch.sums(&[1.0, 2.0, 4.0]), [3.0, 4.0]);
        assert_eq!(batch.spread(&[0.5, 2.0]), [0.5, 0.5, 2.0]);
    }
}
