//! Chooses among the readings that the rules and the model offer, and holds the chosen one to
//! the guarantees. The person's own words are always the last resort.

use super::check::{self, Violation};
use super::conversation::{Action, Conversation, Edit, Evidence, Issue, IssueKind, Source, Span};
use super::evidence::{self, Addition};
use super::language::Language;
use super::plan::Plan;
use super::text::UnitKind;
use super::{Outcome, edits, glossary, reference, search, text};

#[cfg(test)]
mod tests;

/// Names from the conversation that a search query may take along.
const MAX_TOPICS: usize = 3;
/// The highest confidence that a rule gives an earlier name.
const CERTAIN: f32 = 0.85;

/// Pronouns that stand for something by themselves; what resolves them takes their place.
const BARE_POINTERS: &[&str] =
    &["it", "they", "them", "he", "him", "she", "her", "that", "this", "there", "它", "他", "她"];

/// An outcome, and why the model's text was refused, if it was.
pub struct Verdict {
    pub outcome: Outcome,
    pub refused: Option<Violation>,
}

/// A reading that has passed the checks.
struct Reading {
    standalone: String,
    additions: Vec<Addition>,
    edits: Vec<Edit>,
}

/// Decides on the outcome; `written` is the model's raw text, where it was asked.
pub fn conclude(plan: &Plan, written: Option<&str>, max_variants: usize) -> Verdict {
    let conversation = &plan.conversation;
    let mut refused = None;
    let mut doubtful = None;
    let mut reading = None;
    if let Some(written) = written {
        match by_model(plan, written) {
            Ok(Some(found)) if found.is_clean => reading = Some(found.reading),
            Ok(found) => {
                // A model that writes out its thoughts or its template is to be heard of, even
                // where something could be made of it.
                let cleaned = check::clean(written, &conversation.query);
                refused = check::check_form(&conversation.query, &cleaned).err();
                doubtful = found.map(|found| found.reading);
            }
            Err(violation) => refused = Some(violation),
        }
    }
    if plan.wants_model() {
        let by_reference = by_reference(plan);
        reading = match by_reference {
            Some((found, true)) => Some(found),
            Some((found, false)) => reading.or(Some(found)),
            // Of `why?` alone a model has nothing to hold on to.
            None if n_words(&conversation.query) == 1 => by_topic(plan).or(reading).or(doubtful),
            None => reading.or_else(|| by_topic(plan)).or(doubtful),
        };
    }
    let by_rules = accept(conversation, &plan.by_rules(), &plan.edits).ok();
    let reading = reading.or(by_rules).unwrap_or_else(|| Reading {
        standalone: conversation.query.clone(),
        additions: Vec::new(),
        edits: Vec::new(),
    });
    Verdict { outcome: outcome(plan, reading, max_variants), refused }
}

/// The model's reading, and whether it can be taken without a second thought.
struct Written {
    reading: Reading,
    is_clean: bool,
}

/// The model's reading with the rules' replacements carried over. None when it leaves the
/// trouble where it was, or makes no sense. What it invented is taken out, which leaves doubt.
fn by_model(plan: &Plan, written: &str) -> Result<Option<Written>, Violation> {
    let conversation = &plan.conversation;
    let cleaned = check::clean(written, &conversation.query);
    if cleaned.trim().is_empty() {
        return Err(Violation::Empty);
    }
    if cleaned.chars().count() > check::LONGEST_STANDALONE_CHARS {
        return Err(Violation::TooLong);
    }
    let Some(merged) = carry_over(&cleaned, &plan.edits) else { return Ok(None) };
    let repaired = evidence::repair(conversation, &merged, &plan.edits);
    let text = repaired.map_or_else(|| merged.clone(), |(text, _)| text);
    let reading = accept(conversation, &text, &plan.edits)?;
    let from_history =
        |addition: &Addition| is_from(addition, |source| matches!(source, Source::Message(_)));
    let resolves = reading.additions.iter().any(from_history) && !still_points(plan, &reading);
    let about_the_query = keeps_enough(plan, &reading.standalone);
    let is_scrap = is_patchwork(conversation, &reading) || has_foreign_glue(plan, &reading);
    if !resolves || !about_the_query || is_scrap {
        return Ok(None);
    }
    let is_clean = text.trim() == merged.trim();
    Ok(Some(Written { reading, is_clean }))
}

/// The rules' own resolution of what points into the history, on top of the other rules.
/// With it, whether it is certain enough to go before the model: a list that was spelt out, or
/// the only thing that fits.
fn by_reference(plan: &Plan) -> Option<(Reading, bool)> {
    let found = reference::resolve(&plan.conversation, &plan.diagnosis);
    if found.is_empty() {
        return None;
    }
    let is_certain = found.iter().all(|edit| edit.confidence >= CERTAIN);
    let mut edits = plan.edits.clone();
    edits.retain(|edit| !found.iter().any(|other| other.span.overlaps(&edit.span)));
    edits.extend(found);
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let text = edits::apply(&plan.conversation.query, &edits);
    let reading = accept(&plan.conversation, &text, &edits).ok()?;
    Some((reading, is_certain))
}

/// The query as it is, with what the conversation is about set beside it, on top of the other
/// rules.
fn by_topic(plan: &Plan) -> Option<Reading> {
    let topic = reference::beside(&plan.conversation, &plan.diagnosis)?;
    let mut edits = plan.edits.clone();
    edits.push(topic);
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let text = edits::apply(&plan.conversation.query, &edits);
    accept(&plan.conversation, &text, &edits).ok()
}

/// A model that stitches scraps together or says things twice has lost the thread, even when
/// each scrap has its source.
fn is_patchwork(conversation: &Conversation, reading: &Reading) -> bool {
    let copied: Vec<&Addition> = reading
        .additions
        .iter()
        .filter(|addition| is_from(addition, |source| matches!(source, Source::Message(_))))
        .collect();
    let stitched = copied.windows(2).any(|pair| {
        let gap = pair[1].span.start.saturating_sub(pair[0].span.end);
        let between = reading.standalone.chars().skip(pair[0].span.end).take(gap);
        between.into_iter().all(char::is_whitespace)
    });
    stitched || says_twice(&conversation.query, &reading.standalone)
}

/// English words of a question in English, and Chinese characters of one in Chinese, in units.
fn n_words(query: &str) -> usize {
    text::significant_units(query).len()
}

/// Whether a small word of the other language stands in the text that nothing in the conversation
/// says (要带电脑吗 By…): glue needs no evidence, but only in the language of the query.
fn has_foreign_glue(plan: &Plan, reading: &Reading) -> bool {
    let foreign = match plan.diagnosis.language {
        Language::Chinese => UnitKind::Word,
        Language::English => UnitKind::Han,
        Language::Other => return false,
    };
    let conversation = &plan.conversation;
    let turns = conversation.turns.iter().map(|turn| turn.text.as_str());
    let facts = conversation.facts.values().map(String::as_str);
    let said: Vec<String> = turns
        .chain(facts)
        .chain([conversation.query.as_str()])
        .flat_map(text::significant_units)
        .map(|unit| unit.key)
        .collect();
    let replaced =
        |unit: &text::Unit| reading.edits.iter().any(|edit| edit.replacement.contains(&unit.text));
    text::significant_units(&reading.standalone).iter().any(|unit| {
        unit.kind == foreign
            && text::is_function_unit(unit)
            && !said.contains(&unit.key)
            && !replaced(unit)
    })
}

/// Whether a content word of the query is left, where it has at least two: a text made wholly of
/// the history's words is not a reading of the query, whoever asked for it. Where the query only
/// leaves something out (那华南呢), nothing of it may be replaced, so all of them must be left.
fn keeps_enough(plan: &Plan, standalone: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let units = text::significant_units(text).into_iter();
        units.filter(|unit| !text::is_function_unit(unit)).map(|unit| unit.key).collect()
    };
    let (asked, said) = (words(&plan.conversation.query), words(standalone));
    let is_left = |word: &String| said.contains(word);
    match plan.diagnosis.reason {
        "ellipsis" => asked.iter().all(is_left),
        _ => asked.len() < 2 || asked.iter().any(is_left),
    }
}

/// Whether two content words stand in the text twice in a row that the query has at most once.
fn says_twice(query: &str, standalone: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text::significant_units(text).into_iter().map(|unit| unit.key).collect()
    };
    let (asked, said) = (words(query), words(standalone));
    let count = |list: &[String], pair: &[String]| list.windows(2).filter(|at| *at == pair).count();
    said.windows(2).any(|pair| count(&said, pair) > count(&asked, pair).max(1))
}

/// A text that keeps every guarantee, with its evidence.
fn accept(conversation: &Conversation, text: &str, edits: &[Edit]) -> Result<Reading, Violation> {
    check::check(conversation, text, edits)?;
    let additions = evidence::trace(conversation, text, edits);
    Ok(Reading { standalone: text.to_owned(), additions, edits: edits.to_vec() })
}

fn is_from(addition: &Addition, wanted: impl Fn(&Source) -> bool) -> bool {
    addition.evidence.as_ref().is_some_and(|evidence| wanted(&evidence.source))
}

/// Whether the words that point are all still there, with nothing new right beside them; a bare
/// pronoun that stays has not been resolved, whatever stands beside it.
fn still_points(plan: &Plan, reading: &Reading) -> bool {
    let mut pointing = plan
        .diagnosis
        .issues
        .iter()
        .filter(|issue| issue.kind == IssueKind::AmbiguousReference && !issue.span.is_empty())
        .peekable();
    if pointing.peek().is_none() {
        return false;
    }
    let mut issues: Vec<Issue> = pointing.cloned().collect();
    let count = |text: &str, wanted: &str| {
        let units = text::significant_units(text).into_iter();
        units.filter(|unit| unit.text.to_lowercase() == wanted).count()
    };
    let stays = |issue: &Issue| {
        let pointer = issue.span.text.to_lowercase();
        let asked = count(&plan.conversation.query, &pointer);
        BARE_POINTERS.contains(&pointer.as_str()) && count(&reading.standalone, &pointer) >= asked
    };
    if issues.iter().all(stays) {
        return true;
    }
    evidence::issues_resolved(
        &mut issues,
        &reading.additions,
        &plan.conversation.query,
        &reading.standalone,
    );
    issues.iter().all(|issue| issue.resolved_by.is_none())
}

/// The rules' replacements, made in the model's text. None when a place cannot be found again.
fn carry_over(text: &str, edits: &[Edit]) -> Option<String> {
    let mut merged = text.to_owned();
    for edit in edits {
        if merged.contains(&edit.replacement) {
            continue;
        }
        if edit.span.is_empty() || !merged.contains(&edit.span.text) {
            return None;
        }
        merged = merged.replacen(&edit.span.text, &edit.replacement, 1);
    }
    Some(merged)
}

fn outcome(plan: &Plan, reading: Reading, max_variants: usize) -> Outcome {
    let conversation = &plan.conversation;
    let changed = reading.standalone != conversation.query;
    let clarification =
        plan.open_sense.as_ref().map(|open| glossary::clarification(open, plan.diagnosis.language));
    let action = match (&clarification, changed) {
        (Some(_), _) => Action::Clarify,
        (None, true) => Action::Rewrite,
        (None, false) => Action::Pass,
    };
    let mut issues = accounted_issues(plan, &reading);
    for issue in &mut issues {
        if let Some(Evidence { source: Source::Message(index), .. }) = &mut issue.resolved_by {
            *index += plan.n_cut_turns;
        }
    }
    let topics = topics(plan);
    Outcome {
        action,
        search: search::queries(conversation, &reading.standalone, changed, &topics, max_variants),
        standalone: reading.standalone,
        issues,
        clarification,
        reason: plan.diagnosis.reason,
    }
}

/// What the conversation is about, for a query that depends on it: searched with beside the
/// question, never shown.
fn topics(plan: &Plan) -> Vec<String> {
    if plan.diagnosis.complete() || plan.conversation.turns.is_empty() {
        return Vec::new();
    }
    let candidates = reference::antecedents(&plan.conversation).into_iter();
    candidates.take(MAX_TOPICS).map(|candidate| candidate.text).collect()
}

/// The issues of the query, each with what resolved it; every addition is accounted for by one.
fn accounted_issues(plan: &Plan, reading: &Reading) -> Vec<Issue> {
    let query = &plan.conversation.query;
    let mut issues = plan.diagnosis.issues.clone();
    for edit in &reading.edits {
        let same = issues.iter_mut().find(|issue| {
            let open = issue.resolved_by.as_ref().is_none_or(|found| *found == edit.evidence);
            open && (issue.span == edit.span || issue.span.overlaps(&edit.span))
        });
        match same {
            Some(issue) => issue.resolved_by = Some(edit.evidence.clone()),
            None => issues.push(issue_of(edit)),
        }
    }
    evidence::issues_resolved(&mut issues, &reading.additions, query, &reading.standalone);
    for issue in issues.iter_mut().filter(|issue| issue.kind == IssueKind::Vague) {
        // A name beside 最近 says what is meant, not when.
        issue.resolved_by.take_if(|found| matches!(found.source, Source::Glossary(_)));
    }
    for addition in &reading.additions {
        let Some(evidence) = &addition.evidence else { continue };
        let named = issues.iter().any(|issue| issue.resolved_by.as_ref() == Some(evidence));
        if !named {
            issues.push(Issue {
                kind: IssueKind::MissingInformation,
                span: gap_before(query, &reading.standalone, addition),
                resolved_by: Some(evidence.clone()),
                confidence: 0.5,
            });
        }
    }
    issues.sort_by_key(|issue| (issue.span.start, issue.span.end));
    issues
}

fn issue_of(edit: &Edit) -> Issue {
    Issue {
        kind: edit.issue,
        span: edit.span.clone(),
        resolved_by: Some(edit.evidence.clone()),
        confidence: edit.confidence,
    }
}

/// The empty place of the query where an addition went in: before the words that follow it.
fn gap_before(query: &str, standalone: &str, addition: &Addition) -> Span {
    let following: Vec<char> = standalone.chars().skip(addition.span.end).collect();
    let query: Vec<char> = query.chars().collect();
    let place = (1..=following.len().min(4))
        .rev()
        .find_map(|length| query.windows(length).position(|window| window == &following[..length]));
    let at = place.unwrap_or(query.len());
    Span { start: at, end: at, text: String::new() }
}
