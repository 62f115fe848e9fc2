//! Prompt-lookup drafts (Saxena 2023): a rewrite mostly copies its prompt, so what followed the
//! same words earlier is a good guess of what follows now. Guesses are checked by the model, so
//! the text stays the one that greedy decoding gives.

/// Longest run of tokens looked up.
const MAX_MATCH: usize = 3;
/// Tokens guessed after a match of one token, and of more.
const DRAFT_AFTER_ONE: usize = 3;
const DRAFT_AFTER_MORE: usize = 7;

/// What followed the latest earlier occurrence of the last tokens, longest match first.
pub fn propose(tokens: &[u32]) -> &[u32] {
    for length in (1..=MAX_MATCH.min(tokens.len().saturating_sub(1))).rev() {
        let (earlier, last) = tokens.split_at(tokens.len() - length);
        let found = (0..earlier.len()).rev().find(|start| tokens[*start..].starts_with(last));
        if let Some(start) = found {
            let after = start + length;
            let wanted = if length == 1 { DRAFT_AFTER_ONE } else { DRAFT_AFTER_MORE };
            return &tokens[after..(after + wanted).min(tokens.len())];
        }
    }
    &[]
}

/// Whether the text has begun to go round: the same 1 to 12 tokens three times over, or the
/// same token six times. Returns how many tokens to keep.
pub fn looping(generated: &[u32]) -> Option<usize> {
    for period in 1..=12usize {
        let repeats = if period == 1 { 6 } else { 3 };
        let Some(start) = generated.len().checked_sub(period * repeats) else { break };
        let tail = &generated[start..];
        if tail.iter().zip(&tail[period..]).all(|(token, next)| token == next) {
            return Some(start + period);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_what_followed_the_longest_latest_match() {
        assert_eq!(propose(&[1, 2, 3, 4, 9, 2, 3]), &[4, 9, 2, 3]);
        assert_eq!(propose(&[5, 1, 5, 2, 7, 8, 9, 5]), &[2, 7, 8]);
        assert!(propose(&[1, 2, 3]).is_empty());
        assert!(propose(&[1]).is_empty());
        assert!(propose(&[]).is_empty());
    }

    #[test]
    fn notices_a_loop_and_keeps_one_round() {
        assert_eq!(looping(&[9, 1, 2, 1, 2, 1, 2]), Some(3));
        assert_eq!(looping(&[4, 4, 4, 4, 4, 4]), Some(1));
        assert_eq!(looping(&[1, 2, 1, 2, 3]), None);
        assert_eq!(looping(&[4, 4, 4]), None);
        assert_eq!(looping(&[]), None);
    }
}
