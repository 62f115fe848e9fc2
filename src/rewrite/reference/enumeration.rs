//! Things that were listed side by side: `基础版、专业版和旗舰版`, `Redis or Memcached`.

use super::candidates::CLASS_NOUNS;
use super::pointer::Wanted;
use crate::rewrite::conversation::{Conversation, Role};
use crate::rewrite::language::chinese::{self, Class};
use crate::rewrite::language::english::is_one_of;
use crate::rewrite::language::{self, Language, Text, english};

/// The item that a position or `the other one` picks, and its turn. Newer lists come first.
pub(super) fn item(conversation: &Conversation, wanted: &Wanted) -> Option<(String, usize)> {
    let turns = conversation.turns.iter().enumerate().rev();
    let recent = turns.filter(|(_, turn)| turn.role != Role::System).take(TURN_COUNT);
    recent
        .filter_map(|(index, turn)| {
            let head: String = turn.text.chars().take(TURN_LIMIT).collect();
            let items = list_in(&head);
            (items.len() >= 2).then_some((index, items))
        })
        .find_map(|(turn, items)| {
            let position = match wanted {
                Wanted::Position(position) => *position,
                Wanted::Last => items.len() - 1,
                Wanted::Other => not_spoken_of_last(conversation, turn, &items)?,
                _ => return None,
            };
            items.get(position).map(|item| (item.clone(), turn))
        })
}

/// Of two items the one that the turns after their list did not name last.
fn not_spoken_of_last(
    conversation: &Conversation,
    list_turn: usize,
    items: &[String],
) -> Option<usize> {
    let [first, second] = items else { return None };
    let bare = |item: &str| {
        let folded = language::fold(item);
        folded.strip_prefix("the ").unwrap_or(&folded).to_owned()
    };
    let names = [bare(first), bare(second)];
    let mut last_named = None;
    for turn in conversation.turns.iter().skip(list_turn + 1).filter(|t| t.role != Role::System) {
        let text = language::fold(&turn.text);
        match (text.contains(&names[0]), text.contains(&names[1])) {
            (true, false) => last_named = Some(0),
            (false, true) => last_named = Some(1),
            _ => {}
        }
    }
    last_named.map(|named: usize| 1 - named)
}

fn list_in(text: &str) -> Vec<String> {
    let numbered = numbered_items(text);
    if numbered.len() >= 2 {
        return numbered;
    }
    match language::of(text) {
        Language::Chinese => chinese_items(&Text::new(text)),
        Language::English => english_items(&Text::new(text)),
        Language::Other => Vec::new(),
    }
}

/// `1. Basic` lines; the item is what stands before a colon, dash or comma.
fn numbered_items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    for line in text.lines().map(str::trim) {
        let digits = line.chars().take_while(char::is_ascii_digit).count();
        let rest = line[digits..].strip_prefix(['.', '、', ')', '）', '．']);
        if let (1..=2, Some(rest)) = (digits, rest) {
            let item = rest
                .split(['：', ':', '，', ',', '。', '（', '(', '—'])
                .next()
                .unwrap_or("")
                .trim();
            let item = item.trim_matches('*').trim();
            if !item.is_empty() && item.chars().count() <= 40 {
                items.push(item.to_owned());
            }
        }
    }
    items
}

/// Topics joined by 、 和 与 或 还是 跟; the longest such chain of the text.
fn chinese_items(text: &Text) -> Vec<String> {
    let pieces = chinese::pieces(text);
    let mut best: Vec<String> = Vec::new();
    let mut chain: Vec<String> = Vec::new();
    let mut expects_item = true;
    let mut index = 0;
    while index < pieces.len() {
        let piece = &pieces[index];
        let word: String = text.folded[piece.start..piece.end].iter().collect();
        let joins = matches!(
            word.as_str(),
            "、" | "和" | "与" | "或" | "或者" | "还是" | "跟" | "以及" | "及"
        );
        if expects_item && (piece.is_topic() || piece.class == Class::Relation) {
            let mut end = piece.end;
            while let Some(next) = pieces.get(index + 1) {
                let continues = matches!(
                    next.class,
                    Class::Topic | Class::Name | Class::Relation | Class::Number
                );
                if !continues || next.start != end {
                    break;
                }
                end = next.end;
                index += 1;
            }
            let first = if piece.class == Class::Topic && chain.is_empty() {
                chinese::trimmed(text, piece).0
            } else {
                piece.start
            };
            chain.extend(split_joined(&text.slice(first, end)));
            expects_item = false;
        } else if joins && !chain.is_empty() {
            expects_item = true;
        } else if piece.class != Class::Punctuation || word != " " {
            keep_longer(&mut best, &mut chain);
            expects_item = true;
        }
        index += 1;
    }
    keep_longer(&mut best, &mut chain);
    if let Some(last) = best.last_mut() {
        *last = without_count(last).to_owned();
    }
    best
}

/// 指纹三种 -> 指纹: the count of a list stands behind its last item.
fn without_count(item: &str) -> &str {
    let Some(bare) =
        ["种", "个", "款", "项", "类", "家"].iter().find_map(|word| item.strip_suffix(word))
    else {
        return item;
    };
    let name = bare.trim_end_matches(['两', '二', '三', '四', '五', '六', '七', '八', '九', '十']);
    if name.len() < bare.len() && !name.is_empty() { name } else { item }
}

/// A run may swallow its own joint: 专业版或旗舰版.
fn split_joined(run: &str) -> Vec<String> {
    let parts: Vec<&str> = run.split(['或', '跟', '及']).filter(|part| !part.is_empty()).collect();
    if parts.iter().all(|part| part.chars().count() >= 2) {
        parts.into_iter().map(str::to_owned).collect()
    } else {
        vec![run.to_owned()]
    }
}

fn keep_longer(best: &mut Vec<String>, chain: &mut Vec<String>) {
    if chain.len() >= 2 && chain.len() > best.len() {
        *best = std::mem::take(chain);
    }
    chain.clear();
}

/// `Redis or Memcached`, `Basic, Pro and Enterprise`: named words joined by commas and and/or.
fn english_items(text: &Text) -> Vec<String> {
    let words = english::words(text);
    let mut best: Vec<String> = Vec::new();
    let mut chain: Vec<String> = Vec::new();
    let (mut index, mut linked) = (0, false);
    while index < words.len() {
        let word = &words[index];
        let names = |at: usize| {
            words.get(at).is_some_and(|word| {
                let names = word.is_topic() || (word.is_name && !word.opens_sentence);
                names && !english::is_function(&word.lower)
            })
        };
        if !names(index) {
            let joins = is_one_of(&word.lower, "and or vs versus");
            let article = is_one_of(&word.lower, "the a an");
            if !(joins || article) {
                keep_longer(&mut best, &mut chain);
            }
            linked = joins || (linked && article) || (article && word.follows_comma);
            index += 1;
            continue;
        }
        let mut last = index;
        let closes =
            |at: usize| words.get(at).is_some_and(|word| is_one_of(&word.lower, CLASS_NOUNS));
        while (names(last + 1) || closes(last + 1))
            && !words[last + 1].follows_comma
            && !words[last + 1].opens_sentence
        {
            last += 1;
        }
        // Only a comma, `and` or `or` makes a list: `169 yuan a seat` is none.
        if !(linked || word.follows_comma) {
            keep_longer(&mut best, &mut chain);
        }
        linked = false;
        let article = index.checked_sub(1).filter(|&before| words[before].lower == "the");
        let start = words[article.unwrap_or(index)].start;
        chain.push(text.slice(start, words[last].end));
        index = last + 1;
    }
    keep_longer(&mut best, &mut chain);
    best
}

/// Lists further back are not meant any more.
const TURN_COUNT: usize = 4;
/// Longer turns are read up to here (chars).
const TURN_LIMIT: usize = 1_000;
