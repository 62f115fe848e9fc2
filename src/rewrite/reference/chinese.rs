//! Pointers and gaps in Chinese queries.

use super::candidates::{Candidate, antecedents, sort_of};
use super::pointer::{Wanted, wanted};
use super::{clear_winner, edit, enumeration, first_mentions, open_issues, replace};
use crate::rewrite::conversation::{Conversation, Edit, Issue, IssueKind, Role, Source, Span};
use crate::rewrite::gate::Diagnosis;
use crate::rewrite::language::chinese::{self, Class, Piece};
use crate::rewrite::language::{self, Language, Text};

pub(super) fn resolve(conversation: &Conversation, diagnosis: &Diagnosis) -> Vec<Edit> {
    let text = Text::new(&conversation.query);
    let candidates = not_in_query(antecedents(conversation), &conversation.query);
    let mut edits: Vec<Edit> = Vec::new();
    for issue in open_issues(diagnosis, IssueKind::AmbiguousReference) {
        edits.extend(resolve_pointer(conversation, &text, &candidates, issue));
    }
    let mut edits = first_mentions(edits);
    if let Some(issue) = open_issues(diagnosis, IssueKind::MissingInformation).next() {
        edits.extend(resolve_ellipsis(conversation, &text, &candidates, issue));
    }
    edits
}

/// What the query names itself is not what its pronoun stands for.
pub(super) fn not_in_query(mut candidates: Vec<Candidate>, query: &str) -> Vec<Candidate> {
    let query = language::fold(query);
    candidates.retain(|candidate| !query.contains(&language::fold(&candidate.text)));
    candidates
}

fn resolve_pointer(
    conversation: &Conversation,
    text: &Text,
    candidates: &[Candidate],
    issue: &Issue,
) -> Option<Edit> {
    let pointer = issue.span.text.as_str();
    if pointer == "那" {
        // 那有啥好吃的: a place first, else whatever is ahead.
        let (best, confidence) =
            clear_winner(candidates.iter().filter(|candidate| Wanted::Place.fits(candidate)))?;
        return Some(replace(issue.span.clone(), best.text.clone(), best, confidence));
    }
    if !looks_like_pointer(pointer) {
        return None;
    }
    let wanted = wanted(pointer);
    if let Some((item, turn)) = enumeration::item(conversation, &wanted) {
        let source = Source::Message(turn);
        let kind = IssueKind::AmbiguousReference;
        return Some(edit(issue.span.clone(), item.clone(), &item, source, kind, 0.85));
    }
    let fitting = || candidates.iter().filter(|candidate| wanted.fits(candidate));
    let (best, confidence) = clear_winner(fitting()).or_else(|| {
        // 他 for somebody whose name does not look like one: only if nothing else was named.
        let only = (wanted == Wanted::Person && candidates.len() == 1).then(|| candidates.iter());
        clear_winner(only?)
    })?;
    Some(replace(with_repeated_noun(text, issue, &best.text), best.text.clone(), best, confidence))
}

/// 这个[兼职] for 网络兼职: a noun that the name ends with is replaced along with its pointer.
fn with_repeated_noun(text: &Text, issue: &Issue, name: &str) -> Span {
    let name = language::fold(name);
    let rest = &text.folded[issue.span.end.min(text.folded.len())..];
    let repeated = (2..=4.min(rest.len()))
        .rev()
        .find(|&length| name.ends_with(&rest[..length].iter().collect::<String>()));
    text.span(issue.span.start, issue.span.end + repeated.unwrap_or(0))
}

/// An open glossary term is an issue as well, but no pointer.
fn looks_like_pointer(words: &str) -> bool {
    let folded = language::fold(words);
    ["它", "他", "她", "这", "那", "此", "该", "其", "第", "另", "前", "后", "最后", "两者", "二者"]
        .iter()
        .any(|start| folded.starts_with(start))
}

fn resolve_ellipsis(
    conversation: &Conversation,
    text: &Text,
    candidates: &[Candidate],
    issue: &Issue,
) -> Vec<Edit> {
    let pieces = chinese::pieces(text);
    let start = issue.span.end;
    let core: Vec<&Piece> = pieces
        .iter()
        .filter(|piece| piece.start >= start && piece.class != Class::Punctuation)
        .collect();
    let Some(last) = core.last() else { return Vec::new() };
    let ends_in_question = text.starts_with(last.start, "呢");
    let carries_name = core.iter().any(|piece| piece.is_topic() || piece.class == Class::Time);
    if ends_in_question && carries_name {
        return continue_question(conversation, text, &core).unwrap_or_default();
    }
    // Fragments of a statement have their gap anywhere; a question has it in front.
    let asks = core.iter().any(|piece| piece.class == Class::Question)
        || text.starts_with(last.start, "吗");
    let speaks_of_us =
        core.iter().any(|piece| text.longest(piece.start, &["我", "你", "您", "咱"]).is_some());
    if !asks || speaks_of_us {
        return Vec::new();
    }
    let speaks_of_place = text.mentions_any(PLACE_BOUND);
    let fitting = candidates.iter().filter(|candidate| {
        if speaks_of_place { Wanted::Place.fits(candidate) } else { Wanted::Thing.fits(candidate) }
    });
    let Some((best, confidence)) = clear_winner(fitting) else { return Vec::new() };
    let kind = IssueKind::MissingInformation;
    // 那怎么导出 loses its 那; 但是怎么导出 keeps its 但是, 还有别的吗 its 还有.
    let opening = language::fold(&issue.span.text);
    let place = match opening.as_str() {
        "那" | "那么" => issue.span.clone(),
        "还有" | "而且" => text.span(issue.span.start, issue.span.start),
        _ => text.span(issue.span.end, issue.span.end),
    };
    vec![edit(place, best.text.clone(), &best.text, best.source.clone(), kind, confidence * 0.9)]
}

/// 北京今天天气怎么样 + 那上海呢 -> 那上海今天天气怎么样: the last question, asked of another.
fn continue_question(
    conversation: &Conversation,
    text: &Text,
    core: &[&Piece],
) -> Option<Vec<Edit>> {
    let asked =
        conversation.turns.iter().enumerate().rev().find(|(_, turn)| turn.role == Role::User)?;
    let (turn, question) = (asked.0, Text::new(&asked.1.text));
    if question.chars.len() > 40 || language::of(&asked.1.text) != Language::Chinese {
        return None;
    }
    let particle = core.last()?;
    let fresh = core[..core.len() - 1]
        .iter()
        .map(|piece| piece.class)
        .find(|class| *class == Class::Time)
        .unwrap_or(Class::Topic);
    let pieces = chinese::pieces(&question);
    let (start, end) = if fresh == Class::Time {
        time_slot(&pieces)?
    } else {
        let name = text.slice(core[0].start, particle.start);
        topic_slot(&question, &pieces, &name)?
    };
    let head = question.slice(first_word(&question, &pieces), start);
    let tail = question.slice(end, words_end(&question));
    // 填错了能改吗 goes on from its verb, which the new words are not.
    if tail.chars().count() < 2 || tail.starts_with(['了', '过', '着']) {
        return None;
    }
    let kind = IssueKind::MissingInformation;
    let copy =
        |span, words: String| edit(span, words.clone(), &words, Source::Message(turn), kind, 0.8);
    let first = core[0].start;
    let mut edits = Vec::new();
    if !head.is_empty() {
        edits.push(copy(text.span(first, first), head));
    }
    edits.push(copy(text.span(particle.start, particle.end), tail));
    Some(edits)
}

/// Where the last question speaks of time; right after its topic if it does not.
fn time_slot(pieces: &[Piece]) -> Option<(usize, usize)> {
    if let Some(time) = pieces.iter().find(|piece| piece.class == Class::Time) {
        return Some((time.start, time.end));
    }
    let topic = pieces.iter().position(Piece::is_topic)?;
    Some((pieces[topic].end, pieces[topic].end))
}

/// The one topic of the last question that the new name can stand in for.
fn topic_slot(question: &Text, pieces: &[Piece], name: &str) -> Option<(usize, usize)> {
    if let Some(slot) = sister_slot(question, name) {
        return Some(slot);
    }
    let spans: Vec<(usize, usize)> = pieces
        .iter()
        .filter(|piece| piece.is_topic())
        .map(|piece| {
            if piece.class == Class::Topic {
                chinese::trimmed(question, piece)
            } else {
                (piece.start, piece.end)
            }
        })
        .collect();
    let sort = sort_of(name);
    let same: Vec<&(usize, usize)> = spans
        .iter()
        .filter(|(start, end)| sort_of(&question.slice(*start, *end)) == sort)
        .collect();
    match (&same[..], &spans[..]) {
        ([only], _) => Some(**only),
        (_, [only]) => Some(*only),
        _ => None,
    }
}

/// 一等座 takes the place of 二等座, 华南 of 华东: the only words of the last question that are as
/// long as the new name and differ from it in their first or their last letter alone.
fn sister_slot(question: &Text, name: &str) -> Option<(usize, usize)> {
    let name: Vec<char> = language::fold(name).chars().collect();
    let length = name.len();
    if !(2..=LONGEST_SISTER).contains(&length)
        || !name.iter().all(|&letter| language::is_han(letter))
    {
        return None;
    }
    let is_sister = |words: &&[char]| {
        let differs = words.iter().zip(&name).filter(|(a, b)| a != b).count();
        let at_edge = words[0] != name[0] || words[length - 1] != name[length - 1];
        differs == 1 && at_edge && words.iter().all(|&letter| language::is_han(letter))
    };
    let mut found = (0..question.folded.len().saturating_sub(length - 1))
        .filter(|&start| is_sister(&&question.folded[start..start + length]));
    let start = found.next()?;
    found.next().is_none().then_some((start, start + length))
}

/// In chars.
const LONGEST_SISTER: usize = 5;

/// 请问, 那 and other openings of the last question are not asked again.
fn first_word(question: &Text, pieces: &[Piece]) -> usize {
    let opening = ["请问", "那么", "那", "你好", "麻烦问下", "我想知道"];
    let mut start = pieces
        .iter()
        .find(|piece| piece.class != Class::Punctuation)
        .map_or(0, |piece| piece.start);
    while let Some(word) = question.longest(start, &opening) {
        start += word.chars().count();
    }
    start
}

fn words_end(question: &Text) -> usize {
    let mut letters = question.chars.iter();
    letters.rposition(|letter| letter.is_alphanumeric()).map_or(0, |last| last + 1)
}

const PLACE_BOUND: &str = "
    天气 气温 下雨 有雨 下雪 空气 风景 景点 好玩 好吃的 美食 特产 小吃";
