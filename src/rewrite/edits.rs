//! Puts edits into a query. Rules (dates, facts, glossary) only say what they would replace;
//! here the pieces become one text, so that each rule's evidence stays with its own piece.

use super::conversation::Edit;

/// The query with its edits made. Spans count chars of `query`. An edit that overlaps an
/// earlier one of the list by position, or that lies outside the query, is skipped.
pub fn apply(query: &str, edits: &[Edit]) -> String {
    let chars: Vec<char> = query.chars().collect();
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    // The sort is stable: insertions at one place keep the order in which they were given.
    ordered.sort_by_key(|edit| edit.span.start);
    let mut text = String::with_capacity(query.len());
    let mut copied_to = 0;
    for edit in ordered {
        let (start, end) = (edit.span.start, edit.span.end);
        if start < copied_to || end < start || end > chars.len() {
            continue;
        }
        text.extend(chars[copied_to..start].iter());
        text.push_str(&edit.replacement);
        copied_to = end;
    }
    text.extend(chars[copied_to..].iter());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::conversation::{Evidence, IssueKind, Source, Span};

    fn edit(start: usize, end: usize, replacement: &str) -> Edit {
        Edit {
            span: Span { start, end, text: String::new() },
            replacement: replacement.to_owned(),
            issue: IssueKind::Vague,
            evidence: Evidence { source: Source::Date, text: replacement.to_owned() },
            confidence: 1.0,
        }
    }

    #[test]
    fn edits_count_chars_and_come_in_any_order() {
        let edits = [edit(4, 6, "2024年7月1日"), edit(0, 2, "🙂")];
        assert_eq!(apply("前天𠮷和昨天", &edits), "🙂𠮷和2024年7月1日");
    }

    #[test]
    fn insertions_at_one_place_keep_their_order() {
        assert_eq!(apply("ab", &[edit(1, 1, "x"), edit(1, 1, "y"), edit(2, 2, "z")]), "axybz");
    }

    #[test]
    fn an_overlapping_later_edit_is_skipped() {
        assert_eq!(apply("abcdef", &[edit(0, 3, "X"), edit(2, 5, "Y"), edit(3, 4, "Z")]), "XZef");
    }

    #[test]
    fn edits_outside_the_query_or_reversed_are_skipped() {
        let edits = [edit(0, 9, "X"), edit(9, 9, "Y"), edit(2, 1, "Z"), edit(usize::MAX, 0, "W")];
        assert_eq!(apply("昨天", &edits), "昨天");
        assert_eq!(apply("", &edits), "");
        assert_eq!(apply("昨天", &[]), "昨天");
    }
}
