//! What the completion's words are worth, whatever they find: never positive, but for the credit
//! of leaving a complete query alone.

use super::{Facts, Kept, Reward, Share};

/// 1 for a complete query that was left alone, -1 for one that was changed. Says nothing about a
/// query that needs rewriting, or of which that is not known.
pub fn restraint(facts: &Facts) -> Reward {
    match facts.is_complete {
        Some(true) if facts.is_unchanged => Reward::Value(1.0),
        Some(true) => Reward::Value(-1.0),
        Some(false) | None => Reward::NotApplicable,
    }
}

/// 0 when every added word has its evidence, -1 when none has.
pub fn faithfulness(facts: &Facts) -> Reward {
    facts.unsupported.reward(shortfall)
}

/// 0 when every protected piece of the query is kept, -1 when none is.
pub fn protected(facts: &Facts) -> Reward {
    facts.lost_protected.reward(shortfall)
}

/// 0 when every content word of the query is kept or replaced on good grounds, -1 when none is.
pub fn content(facts: &Facts) -> Reward {
    facts.lost_content.reward(shortfall)
}

/// 0 in the query's language and script, -1/2 in its other script, -1 in another language.
pub fn language(facts: &Facts) -> Reward {
    facts.writing.reward(|writing| match writing {
        Kept::Kept => 0.0,
        Kept::OtherScript => -0.5,
        Kept::OtherLanguage => -1.0,
    })
}

/// What the tokens beyond the query's own cost: nothing when there are none, -1 from `room_tokens`
/// on. Each is a pass through the model, so this is the latency too.
pub fn length(facts: &Facts, room_tokens: usize) -> Reward {
    let n_added = facts.n_tokens.saturating_sub(facts.n_query_tokens);
    Reward::of(-(n_added as f64 / room_tokens.max(1) as f64).min(1.0))
}

/// 0 for what the server's parser can read, -1 for what it cannot.
pub fn format(facts: &Facts) -> Reward {
    Reward::Value(if facts.is_well_formed { 0.0 } else { -1.0 })
}

/// 0 for none, then a step to -1/2, as the server refuses a rewrite for a single one, and from
/// there on to -1 for all: a share alone could be thinned out with more words that are supported.
fn shortfall(Share { part, whole }: Share) -> f64 {
    match part {
        0 => 0.0,
        _ => -0.5 - 0.5 * (part as f64 / whole.max(part) as f64),
    }
}
