//! Which way of a measure is the good one, and how it is shown.

use serde::{Deserialize, Serialize};

/// What a guarantee counts: a protected span (a number, a code, a name) that the rewrite lost.
pub const PROTECTED_LOSS: &str = "protected_loss";
/// 1 when the rewrite is in the query's language, else 0.
pub const LANGUAGE_KEPT: &str = "language_kept";
/// How many words of the rewrite nothing in the conversation speaks for.
pub const UNSUPPORTED_WORDS: &str = "unsupported_words";
/// 1 when nothing was answered.
pub const EMPTY: &str = "empty";
/// The measures that must not be violated on any turn.
pub const GUARANTEES: [&str; 4] = [PROTECTED_LOSS, LANGUAGE_KEPT, UNSUPPORTED_WORDS, EMPTY];
/// What a model got wrong in what it wrote, before the rules refused or repaired it: 1 on a turn
/// where it did. People are not served these texts, but a model that has to be caught often has
/// little to offer.
pub const FAULTS: [&str; 5] = [
    "written_malformed",
    "written_lost",
    "written_other_language",
    "written_unsupported",
    "history_echo",
];
/// 1 when the rules refused what the model wrote.
pub const REFUSED: &str = "refused";
/// 1 when nothing went wrong: no model was needed, or what it wrote was taken as it was.
pub const SOUND: &str = "sound";
/// 1 when a case was answered as it expects.
pub const PASSED: &str = "passed";
/// By default the one that decides.
pub const PRIMARY: &str = "ndcg@10";

/// What is less of a good thing the more there is of it, by the name before `@`.
const LOWER: [&str; 17] = [
    PROTECTED_LOSS,
    UNSUPPORTED_WORDS,
    EMPTY,
    "regret",
    "over_rewrite",
    "under_rewrite",
    "gold_rank",
    "latency",
    "tokens",
    "n_tokens",
    "failed",
    REFUSED,
    FAULTS[0],
    FAULTS[1],
    FAULTS[2],
    FAULTS[3],
    FAULTS[4],
];
/// What is counted, not a share of something.
const COUNTS: [&str; 4] = [UNSUPPORTED_WORDS, "gold_rank", "tokens", "n_tokens"];

/// Which way is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    /// Of a measure, by its name; what is not known is better when it is higher.
    pub fn of(metric: &str) -> Self {
        if LOWER.contains(&stem(metric)) || metric.ends_with("_ms") {
            Self::Lower
        } else {
            Self::Higher
        }
    }

    /// +1 or −1: times a difference, it is above 0 for the better.
    pub fn sign(self) -> f64 {
        match self {
            Self::Higher => 1.0,
            Self::Lower => -1.0,
        }
    }
}

/// Whether a turn's number breaks a guarantee: any of what should be none, less than all of what
/// should be kept.
pub fn is_violation(metric: &str, value: f64) -> bool {
    match Better::of(metric) {
        Better::Lower => value > 0.0,
        Better::Higher => value < 1.0,
    }
}

/// How a measure is shown: shares in hundredths, so that a difference is in points; counts and
/// milliseconds as they are.
pub fn factor(metric: &str) -> f64 {
    if COUNTS.contains(&stem(metric)) || metric.ends_with("_ms") { 1.0 } else { 100.0 }
}

fn stem(metric: &str) -> &str {
    metric.split('@').next().unwrap_or(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_good_way_is_known_with_and_without_a_depth() {
        assert_eq!(Better::of("ndcg@10"), Better::Higher);
        assert_eq!(Better::of("regret@5"), Better::Lower);
        assert_eq!(Better::of("rewrite_ms"), Better::Lower);
        assert_eq!((factor("ndcg@10"), factor("rewrite_ms")), (100.0, 1.0));
    }

    #[test]
    fn a_guarantee_is_broken_from_its_good_end() {
        assert!(is_violation(PROTECTED_LOSS, 0.01) && !is_violation(PROTECTED_LOSS, 0.0));
        assert!(is_violation(LANGUAGE_KEPT, 0.99) && !is_violation(LANGUAGE_KEPT, 1.0));
    }
}
