//! Accounts for every word that a standalone question adds to the query: which message,
//! fact, glossary entry or rule says it. What nothing says is an invention, and is taken
//! out again or refused.

use crate::rewrite::conversation::{Conversation, Edit, Evidence, Issue, IssueKind, Span};
use crate::rewrite::text::{courtesies, is_function_unit};

mod align;
mod pieces;
mod sources;
#[cfg(test)]
pub(super) mod tests;
mod tidy;

use align::Alignment;
use pieces::{Piece, Verdict};
use sources::Sources;

/// Each removal can lay bare another unsupported word; honest rewrites need one round.
const REPAIR_ROUNDS: usize = 3;
/// Glue without any supported addition beside it is a mere change of order up to here.
const LOOSE_GLUE_UNITS: usize = 2;

/// A stretch of the standalone question that the query does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Where it stands in the standalone question.
    pub span: Span,
    /// What says so; none for an invention.
    pub evidence: Option<Evidence>,
}

/// Compares `standalone` with the query and finds, for each stretch that is new, where it
/// comes from: rules first, then facts, messages (newest first), then the glossary; a
/// longer match beats an earlier source. In order of appearance.
pub fn trace(conversation: &Conversation, standalone: &str, edits: &[Edit]) -> Vec<Addition> {
    let alignment = Alignment::new(&conversation.query, standalone);
    let runs = alignment.added_runs();
    if runs.is_empty() {
        return Vec::new();
    }
    let sources = Sources::new(conversation, &alignment.standalone, edits);
    let pieces: Vec<Piece> = runs
        .into_iter()
        .flat_map(|run| pieces::cut(&alignment.standalone, &sources, run))
        .collect();
    let chars: Vec<char> = standalone.chars().collect();
    (0..pieces.len()).filter_map(|index| addition(&alignment, &chars, &pieces, index)).collect()
}

/// Takes out of `standalone` what nothing supports. None when the rest no longer says
/// what the query says, or no longer reads as text: the rewrite is to be refused then.
/// Every addition that is returned has its evidence.
pub fn repair(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
) -> Option<(String, Vec<Addition>)> {
    let mut text = standalone.to_owned();
    for _ in 0..REPAIR_ROUNDS {
        let additions = trace(conversation, &text, edits);
        let inventions: Vec<&Span> = additions
            .iter()
            .filter(|addition| addition.evidence.is_none())
            .map(|addition| &addition.span)
            .collect();
        if inventions.is_empty() {
            let sound = tidy::reads_as_text(&conversation.query, &text)
                && lost_content(conversation, &text, edits, &additions).is_empty();
            return sound.then_some((text, additions));
        }
        text = tidy::without(&text, &inventions);
    }
    None
}

/// The content words of the query that `standalone` has lost, in order of appearance. Not
/// lost are phrases of politeness, and words in whose place a supported addition stands:
/// those that an edit replaced, and those that only point (这本书, the album, afterwards).
pub fn lost_content(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
    additions: &[Addition],
) -> Vec<Span> {
    let alignment = Alignment::new(&conversation.query, standalone);
    // supported[n]: how many of the first n units belong to a supported addition.
    let mut supported = vec![0usize];
    for unit in &alignment.standalone {
        let after = additions.partition_point(|addition| addition.span.end < unit.span.end);
        let covering = additions.get(after).filter(|found| found.span.start <= unit.span.start);
        let believed = covering.is_some_and(|found| found.evidence.is_some());
        supported.push(supported.last().copied().unwrap_or(0) + usize::from(believed));
    }
    let lost = alignment.lost().into_iter();
    let courtesies = courtesies(&conversation.query);
    let lost = lost.filter(|(index, now)| {
        let span = &alignment.query[*index].span;
        let within = |start: usize, end: usize| start <= span.start && span.end <= end;
        let edited = edits.iter().any(|edit| within(edit.span.start, edit.span.end));
        let replaced = supported.get(now.start) < supported.get(now.end);
        let excused = edited || alignment.points(*index);
        let polite = courtesies.iter().any(|range| within(range.start, range.end));
        let accounted = polite || (replaced && excused);
        !accounted
    });
    lost.map(|(index, _)| {
        let unit = &alignment.query[index];
        Span { start: unit.span.start, end: unit.span.end, text: unit.text.clone() }
    })
    .collect()
}

/// Fills `resolved_by` of each issue that has none yet with the evidence of the supported
/// addition which replaced its words or stands beside them. Missing information may be
/// supplied anywhere in the question.
pub fn issues_resolved(
    issues: &mut [Issue],
    additions: &[Addition],
    query: &str,
    standalone: &str,
) {
    let alignment = Alignment::new(query, standalone);
    let supported: Vec<&Addition> =
        additions.iter().filter(|addition| addition.evidence.is_some()).collect();
    let mut used = vec![false; supported.len()];
    for issue in issues.iter_mut().filter(|issue| issue.resolved_by.is_none()) {
        let beside = stretch_beside(&alignment, &issue.span);
        let touches = |index: &usize| {
            let span = &supported[*index].span;
            beside.as_ref().is_some_and(|beside| span.start < beside.end && beside.start < span.end)
        };
        let anywhere = issue.kind == IssueKind::MissingInformation;
        let best = |candidates: Vec<usize>| {
            let length = |index: &usize| supported[*index].span.end - supported[*index].span.start;
            candidates.into_iter().max_by_key(|index| (!used[*index], length(index)))
        };
        let found = best((0..supported.len()).filter(touches).collect()).or_else(|| {
            let free = (0..supported.len()).filter(|index| anywhere && !used[*index]);
            best(free.collect())
        });
        if let Some(found) = found {
            used[found] = true;
            issue.resolved_by.clone_from(&supported[found].evidence);
        }
    }
}

/// The chars of the standalone question that stand where `span` of the query stood,
/// neighbouring additions included.
fn stretch_beside(alignment: &Alignment, span: &Span) -> Option<std::ops::Range<usize>> {
    let first = alignment.query.partition_point(|unit| unit.span.end <= span.start);
    let last = alignment.query.partition_point(|unit| unit.span.start < span.end).max(first);
    let now = alignment.standalone.get(alignment.replacement_of(first, last))?;
    Some(now.first()?.span.start..now.last()?.span.end)
}

fn addition(
    alignment: &Alignment,
    chars: &[char],
    pieces: &[Piece],
    index: usize,
) -> Option<Addition> {
    let piece = &pieces[index];
    let evidence = match &piece.verdict {
        Verdict::Supported(evidence) => Some(evidence.clone()),
        Verdict::Unsupported => None,
        Verdict::FromQuery => return None,
        Verdict::Glue => match nearest_evidence(pieces, index) {
            Some(evidence) => Some(evidence),
            None if is_reordering(alignment, piece) => return None,
            None => None,
        },
    };
    let units = alignment.standalone.get(piece.units.clone())?;
    let (start, end) = (units.first()?.span.start, units.last()?.span.end);
    let text = chars.get(start..end)?.iter().collect();
    Some(Addition { span: Span { start, end, text }, evidence })
}

/// The evidence of the supported piece that stands closest to the glue at `index`.
fn nearest_evidence(pieces: &[Piece], index: usize) -> Option<Evidence> {
    let here = &pieces[index].units;
    let distance = |piece: &&Piece| {
        let ahead = piece.units.start.saturating_sub(here.end);
        ahead.max(here.start.saturating_sub(piece.units.end))
    };
    let is_supported = |piece: &&Piece| matches!(piece.verdict, Verdict::Supported(_));
    match &pieces.iter().filter(is_supported).min_by_key(distance)?.verdict {
        Verdict::Supported(evidence) => Some(evidence.clone()),
        _ => None,
    }
}

fn is_reordering(alignment: &Alignment, piece: &Piece) -> bool {
    let units = alignment.standalone.get(piece.units.clone()).unwrap_or_default();
    units.len() <= LOOSE_GLUE_UNITS
        && units.iter().all(|unit| {
            is_function_unit(unit) && alignment.query.iter().any(|other| other.key == unit.key)
        })
}
