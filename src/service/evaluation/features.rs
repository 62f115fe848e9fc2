//! What is known of a query before it is rewritten: the features of the learned choice. All of
//! them are at hand while a question is answered, since the raw query is searched with beside the
//! rewrite.

use std::collections::HashSet;

use crate::evaluate::run::Values;
use crate::rewrite::Gate;
use crate::rewrite::conversation::{Conversation, IssueKind};
use crate::rewrite::language::Language;
use crate::rewrite::plan::Plan;
use crate::rewrite::text::{is_function_unit, significant_units};
use crate::service::evaluation::judge::share;
use crate::service::question::Found;

/// The features of a query, with what it found as it was asked, where it was searched with.
pub fn features(conversation: &Conversation, raw: Option<&Found>) -> Values {
    let plan = Plan::new(conversation.clone(), Gate::Auto);
    let diagnosis = &plan.diagnosis;
    let content = |text: &str| -> Vec<String> {
        let units = significant_units(text).into_iter();
        units.filter(|unit| !is_function_unit(unit)).map(|unit| unit.key).collect()
    };
    let own = content(&conversation.query);
    let said: HashSet<String> =
        conversation.turns.iter().flat_map(|turn| content(&turn.text)).collect();
    let n_shared = own.iter().filter(|word| said.contains(*word)).count();
    let n_units = significant_units(&conversation.query).len();
    let surest = |kind: IssueKind| {
        let of_kind = diagnosis.issues.iter().filter(|issue| issue.kind == kind);
        of_kind.map(|issue| f64::from(issue.confidence)).fold(0.0, f64::max)
    };
    let mut values = Values::from([
        ("is_chinese".to_owned(), share(diagnosis.language == Language::Chinese)),
        ("n_units".to_owned(), log(n_units)),
        ("n_content".to_owned(), log(own.len())),
        ("is_bare".to_owned(), share(own.is_empty())),
        ("n_turns".to_owned(), log(conversation.turns.len())),
        ("history_units".to_owned(), log(said.len())),
        ("shared_content".to_owned(), n_shared as f64 / own.len().max(1) as f64),
        ("points".to_owned(), surest(IssueKind::AmbiguousReference)),
        ("leaves_out".to_owned(), surest(IssueKind::MissingInformation)),
        ("is_vague".to_owned(), surest(IssueKind::Vague)),
        ("depends_on_history".to_owned(), share(diagnosis.depends_on_history)),
        ("has_rule".to_owned(), share(!plan.edits.is_empty())),
        ("asks_model".to_owned(), share(plan.wants_model())),
        ("has_open_sense".to_owned(), share(plan.open_sense.is_some())),
    ]);
    values.extend(of_search(raw));
    values
}

/// How sure the raw query's results are: the lead of the first passage by words, and whether
/// words and meaning agree on it. 0 where nothing was searched.
fn of_search(raw: Option<&Found>) -> Values {
    let mut scores: Vec<f64> = Vec::new();
    let (mut agrees, mut n_first) = (false, 0);
    for passage in raw.iter().flat_map(|found| &found.results) {
        let words = passage.matched_by.iter().filter(|found| found.leg == "sparse");
        let best = words.map(|found| f64::from(found.score)).fold(f64::NAN, f64::max);
        if best.is_finite() {
            scores.push(best);
        }
        let firsts = passage.matched_by.iter().filter(|found| found.rank == 1).count();
        n_first += usize::from(firsts > 0);
        agrees |= firsts > 1;
    }
    scores.sort_by(|left, right| right.total_cmp(left));
    let at = |place: usize| scores.get(place).copied().unwrap_or(0.0);
    let lead = if at(0) > 0.0 { (at(0) - at(1)) / at(0) } else { 0.0 };
    // The engine sums a score in no fixed order, so its last digits are noise.
    let rounded = |value: f64| (value * 1e3).round() / 1e3;
    Values::from([
        ("first_score".to_owned(), rounded(at(0).max(0.0).ln_1p())),
        ("first_lead".to_owned(), rounded(lead)),
        ("lists_agree".to_owned(), share(agrees && n_first > 0)),
    ])
}

fn log(n: usize) -> f64 {
    (n as f64).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::conversation::Role;
    use crate::service::evaluation::judge::conversation;
    use crate::service::evaluation::suite::SuiteTurn;

    #[test]
    fn a_pronoun_shows_and_every_query_has_the_same_features() {
        let of = |query: &str, history: &[&str]| {
            let turn = SuiteTurn {
                query: query.into(),
                history: history.iter().map(|text| (Role::User, (*text).to_owned())).collect(),
                ..SuiteTurn::default()
            };
            features(&conversation(&turn, &[]), None)
        };
        let pointing = of("How much does it cost?", &["Tell me about the Harbour lamp."]);
        let complete =
            of("How much does the Harbour lamp cost?", &["Tell me about the Harbour lamp."]);
        assert!(pointing["points"] > 0.0 && complete["points"] == 0.0);
        assert!(complete["shared_content"] > pointing["shared_content"]);
        assert_eq!(of("线索打分", &[])["is_chinese"], 1.0);
        assert!(pointing.keys().eq(complete.keys()) && pointing.keys().eq(of("", &[]).keys()));
    }
}
