//! Lines the units of a standalone question up with those of the query (a longest
//! common subsequence), so that what is new, what stayed and what fell out is known.

use crate::rewrite::text::{Unit, UnitKind, is_negation, significant_units};

/// Above this many cells the exact table would cost more than a rewrite may; both texts
/// are then far over what a person asks, and a greedy alignment does.
const LARGEST_TABLE: usize = 4_000_000;

/// How far after a pointer its noun may stand: 这 两 本 书, the two albums.
const POINTER_REACH_HAN: usize = 4;
const POINTER_REACH_WORDS: usize = 2;
/// What a pointing phrase starts with, as keys.
const POINTERS: &[&str] = &[
    "这", "那", "哪", "该", "此", "其", "它", "他", "她", "上", "本", "某", "同", "th", "the",
    "this", "that", "thes", "these", "those", "thos", "his", "her", "its", "their", "it", "such",
    "both", "any", "which",
];
/// Words that point by themselves, as keys.
const ANAPHORS: &[&str] = &[
    "afterward",
    "after",
    "befor",
    "else",
    "other",
    "another",
    "same",
    "one",
    "former",
    "latter",
    "here",
    "now",
    "该",
    "此",
    "哪",
    "类",
    "follow",
    "previous",
    "next",
    "last",
    "earlier",
    "later",
];

/// The query and the standalone question, unit by unit, without punctuation.
pub(super) struct Alignment {
    pub(super) query: Vec<Unit>,
    pub(super) standalone: Vec<Unit>,
    /// For each unit of the standalone question the unit of the query that it is.
    pub(super) origin: Vec<Option<usize>>,
}

impl Alignment {
    pub(super) fn new(query: &str, standalone: &str) -> Self {
        let query = significant_units(query);
        let standalone = significant_units(standalone);
        let origin = align(&query, &standalone);
        Self { query, standalone, origin }
    }

    /// Runs of units that are not the query's, as ranges of `standalone`.
    pub(super) fn added_runs(&self) -> Vec<std::ops::Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        for chunk in self.origin.chunk_by(|left, right| left.is_none() == right.is_none()) {
            let end = start + chunk.len();
            if chunk.iter().all(Option::is_none) {
                runs.push(start..end);
            }
            start = end;
        }
        runs
    }

    /// The units of `standalone` between the nearest kept neighbours of the query's
    /// units `first..last`: what stands there now.
    pub(super) fn replacement_of(&self, first: usize, last: usize) -> std::ops::Range<usize> {
        let before =
            self.origin.iter().rposition(|origin| origin.is_some_and(|index| index < first));
        let after = self.origin.iter().position(|origin| origin.is_some_and(|index| index >= last));
        let start = before.map_or(0, |place| place + 1);
        start..after.unwrap_or(self.standalone.len()).max(start)
    }

    /// Whether the query's unit `index` belongs to a phrase that only points to something
    /// said before, such as 这本书 or "the following year".
    pub(super) fn points(&self, index: usize) -> bool {
        let unit = &self.query[index];
        if is_negation(unit) {
            return false;
        }
        let reach =
            if unit.kind == UnitKind::Han { POINTER_REACH_HAN } else { POINTER_REACH_WORDS };
        let from = index.saturating_sub(reach);
        ANAPHORS.contains(&unit.key.as_str())
            || self.query[from..index].iter().any(|before| POINTERS.contains(&before.key.as_str()))
    }

    /// Content units of the query that the standalone question says nowhere, with what
    /// now stands in their place.
    pub(super) fn lost(&self) -> Vec<(usize, std::ops::Range<usize>)> {
        let mut kept = vec![false; self.query.len()];
        self.origin.iter().flatten().for_each(|&index| kept[index] = true);
        let is_lost = |index: &usize| {
            let unit = &self.query[*index];
            !kept[*index]
                && unit.is_content()
                && (is_negation(unit) || self.standalone.iter().all(|other| other.key != unit.key))
        };
        (0..self.query.len())
            .filter(is_lost)
            .map(|index| (index, self.replacement_of(index, index + 1)))
            .collect()
    }
}

fn align(query: &[Unit], standalone: &[Unit]) -> Vec<Option<usize>> {
    let same = |pair: &(&Unit, &Unit)| pair.0.key == pair.1.key;
    let head = query.iter().zip(standalone).take_while(same).count();
    let (query_rest, rest) = (&query[head..], &standalone[head..]);
    let tail = query_rest.iter().rev().zip(rest.iter().rev()).take_while(same).count();
    let (query_rest, rest) = (&query_rest[..query_rest.len() - tail], &rest[..rest.len() - tail]);
    let middle = if query_rest.len().saturating_mul(rest.len()) > LARGEST_TABLE {
        align_greedily(query_rest, rest)
    } else {
        align_exactly(query_rest, rest)
    };
    let mut origin: Vec<Option<usize>> = (0..head).map(Some).collect();
    origin.extend(middle.into_iter().map(|place| place.map(|place| place + head)));
    origin.extend((query.len() - tail..query.len()).map(Some));
    origin
}

/// Dynamic programming over the two tails; `length[i][j]` is the best from `i` and `j`.
fn align_exactly(query: &[Unit], standalone: &[Unit]) -> Vec<Option<usize>> {
    let width = query.len() + 1;
    let mut length = vec![0u32; width * (standalone.len() + 1)];
    for row in (0..standalone.len()).rev() {
        for column in (0..query.len()).rev() {
            let here = row * width + column;
            length[here] = if standalone[row].key == query[column].key {
                1 + length[here + width + 1]
            } else {
                length[here + width].max(length[here + 1])
            };
        }
    }
    let mut origin = vec![None; standalone.len()];
    let (mut row, mut column) = (0, 0);
    while row < standalone.len() && column < query.len() {
        let here = row * width + column;
        // Skipping while nothing is lost keeps matches as late, and so as compact, as can be.
        if length[here + width] == length[here] {
            row += 1;
        } else if length[here + 1] == length[here] {
            column += 1;
        } else {
            origin[row] = Some(column);
            (row, column) = (row + 1, column + 1);
        }
    }
    origin
}

fn align_greedily(query: &[Unit], standalone: &[Unit]) -> Vec<Option<usize>> {
    let mut next = 0;
    let mut place = |unit: &Unit| {
        let ahead = query[next..].iter().take(256);
        let found = next + ahead.into_iter().position(|other| other.key == unit.key)?;
        next = found + 1;
        Some(found)
    };
    standalone.iter().map(&mut place).collect()
}
