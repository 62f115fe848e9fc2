//! Cuts a run of added words into pieces that stand in a source as they are, and says
//! of each piece whether it can be believed.

use std::ops::Range;

use super::sources::{Match, Sources};
use crate::rewrite::conversation::Evidence;
use crate::rewrite::text::{Unit, UnitKind, is_function_unit, is_negation};

/// How many units of a source may lie between two pieces that vouch for one another.
const REACH_UNITS: usize = 12;
/// Lengths up to this are all tried, beyond it the longest only: the rest of a long match
/// is a match too, so little is missed and a copied history is not tried in all its parts.
const SHORT_UNITS: usize = 8;
/// What a cut costs: few, long pieces are better than many, and an unsupported unit is
/// worse than any number of pieces that could replace it.
const GLUE_COST: usize = 2;
const PIECE_COST: usize = 4;
const WEAK_COST: usize = 7;
const UNSUPPORTED_COST: usize = 40;

/// Where a piece of the standalone question comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Supported(Evidence),
    /// The query says it elsewhere: a repetition or a new order, not an addition.
    FromQuery,
    Unsupported,
    /// Nothing but grammar.
    Glue,
}

/// A stretch of the standalone question, in units.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) units: Range<usize>,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Support {
    Strong(Match),
    /// One Han character: it stands somewhere in every long text, so that alone it
    /// proves little.
    Weak(Match),
    Glue,
    None,
}

/// Cuts the added units `run` into judged pieces; glue has joined a neighbour unless the
/// run is glue only.
pub(super) fn cut(standalone: &[Unit], sources: &Sources, run: Range<usize>) -> Vec<Piece> {
    let matches = sources.longest_matches(run.clone());
    let units = standalone.get(run.clone()).unwrap_or_default();
    let mut cuts = Vec::new();
    let mut start = 0;
    for length in cheapest(units, sources, &matches) {
        let support = support_of(&units[start..start + length], sources, matches[start], length);
        let units = run.start + start..run.start + start + length;
        cuts.push((units, support));
        start += length;
    }
    let pieces = (0..cuts.len()).map(|index| judge(standalone, sources, &cuts, index)).collect();
    join_glue(standalone, pieces)
}

/// The lengths of the pieces of the cheapest cut.
fn cheapest(units: &[Unit], sources: &Sources, matches: &[Match]) -> Vec<usize> {
    let mut cost = vec![0; units.len() + 1];
    let mut taken = vec![1; units.len()];
    for start in (0..units.len()).rev() {
        let alone = if is_function_unit(&units[start]) { GLUE_COST } else { UNSUPPORTED_COST };
        let mut best = (alone + cost[start + 1], 1);
        let longest = matches[start].length;
        for length in
            (1..=longest.min(SHORT_UNITS)).chain((longest > SHORT_UNITS).then_some(longest))
        {
            let support =
                support_of(&units[start..start + length], sources, matches[start], length);
            let piece = match support {
                Support::Strong(_) => PIECE_COST,
                Support::Weak(_) => WEAK_COST,
                Support::Glue => GLUE_COST * length,
                Support::None => UNSUPPORTED_COST,
            };
            if piece + cost[start + length] <= best.0 {
                best = (piece + cost[start + length], length);
            }
        }
        (cost[start], taken[start]) = best;
    }
    let mut lengths = Vec::new();
    let mut start = 0;
    while start < units.len() {
        lengths.push(taken[start]);
        start += taken[start];
    }
    lengths
}

fn support_of(units: &[Unit], sources: &Sources, found: Match, length: usize) -> Support {
    if units.iter().all(is_function_unit) {
        return Support::Glue;
    }
    let content = || units.iter().filter(|unit| !is_function_unit(unit));
    // "not" can be found in any conversation; only together with what it denies does it count.
    if found.length == 0 || content().all(is_negation) {
        return Support::None;
    }
    let found = Match { length, ..found };
    let trusted = sources.text(found.source).is_some_and(|text| text.trusted);
    // 华为 is a piece although 为 can be glue; 去了 says no more than 去.
    let solid =
        || units.iter().filter(|unit| !trails(unit) && !matches!(unit.key.as_str(), "是" | "在"));
    let lone_han = solid().count() == 1 && solid().all(|unit| unit.kind == UnitKind::Han);
    if lone_han && !trusted { Support::Weak(found) } else { Support::Strong(found) }
}

fn judge(
    standalone: &[Unit],
    sources: &Sources,
    cuts: &[(Range<usize>, Support)],
    index: usize,
) -> Piece {
    let (units, support) = cuts[index].clone();
    let believed = match support {
        Support::Strong(found) => Some(found),
        Support::Weak(found) => vouched_for(sources, cuts, index).or_else(|| {
            let content = |cut: &&(Range<usize>, Support)| cut.1 != Support::Glue;
            (cuts.iter().filter(content).count() == 1).then_some(found)
        }),
        Support::Glue => return Piece { units, verdict: Verdict::Glue },
        Support::None if standalone[units.clone()].iter().all(is_negation) => {
            vouched_for(sources, cuts, index)
        }
        Support::None => None,
    };
    let verdict = match believed {
        Some(found) => sources.evidence(found).map_or(Verdict::FromQuery, Verdict::Supported),
        None => Verdict::Unsupported,
    };
    Piece { units, verdict }
}

/// A match for the lone character of cut `index` close to where a neighbouring piece
/// was found: 买 counts beside 苹果 when a message says 买了两斤苹果.
fn vouched_for(sources: &Sources, cuts: &[(Range<usize>, Support)], index: usize) -> Option<Match> {
    let before = cuts[..index].iter().rev().find(|cut| cut.1 != Support::Glue);
    let after = cuts[index + 1..].iter().find(|cut| cut.1 != Support::Glue);
    [before, after].into_iter().flatten().find_map(|(_, support)| match support {
        Support::Strong(found) => sources.near(cuts[index].0.start, *found, REACH_UNITS),
        _ => None,
    })
}

/// Gives each glue piece to a neighbour: 的 and its like to the left, all else to the
/// right, where what it introduces stands.
fn join_glue(standalone: &[Unit], pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    let mut waiting: Option<Range<usize>> = None;
    for mut piece in pieces {
        if piece.verdict == Verdict::Glue {
            let trails =
                standalone.get(piece.units.clone()).is_some_and(|units| units.iter().all(trails));
            match joined.last_mut() {
                Some(left) if trails && waiting.is_none() => left.units.end = piece.units.end,
                _ => {
                    let start = waiting.take().map_or(piece.units.start, |waiting| waiting.start);
                    waiting = Some(start..piece.units.end);
                }
            }
            continue;
        }
        piece.units.start = waiting.take().map_or(piece.units.start, |waiting| waiting.start);
        match joined.last_mut() {
            Some(left) if left.verdict == piece.verdict => left.units.end = piece.units.end,
            _ => joined.push(piece),
        }
    }
    match (waiting, joined.last_mut()) {
        (Some(waiting), Some(last)) => last.units.end = waiting.end,
        (Some(units), None) => joined.push(Piece { units, verdict: Verdict::Glue }),
        (None, _) => {}
    }
    joined
}

fn trails(unit: &Unit) -> bool {
    matches!(unit.key.as_str(), "的" | "地" | "得" | "了" | "们" | "'s" | "吗" | "呢" | "吧")
}
