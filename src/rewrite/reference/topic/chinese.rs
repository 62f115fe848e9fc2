//! What a Chinese turn speaks of.

use crate::rewrite::language::Text;
use crate::rewrite::language::chinese::{Class, pieces};

/// 少儿编程班几岁可以报名 -> 少儿编程班; 我司要做等保三级测评 as it is.
pub(super) fn subject(text: &str) -> Option<String> {
    let long_enough = |part: &&str| part.chars().count() >= SHORTEST_CLAUSE_CHARS;
    let sentence = text.split(SENTENCE_ENDS).map(str::trim).find(long_enough)?;
    let is_short = sentence.chars().count() <= LONGEST_CHARS;
    let clause = match is_short {
        true => sentence,
        false => sentence.split(CLAUSE_ENDS).map(str::trim).find(long_enough)?,
    };
    let text = Text::new(clause);
    let pieces = pieces(&text);
    let mut start = 0;
    while let Some(opening) = text.longest_of(start, OPENINGS) {
        start += opening.chars().count();
    }
    let question =
        pieces.iter().find(|piece| piece.class == Class::Question && piece.start > start);
    let mut end = question.map_or(text.chars.len(), |piece| piece.start);
    while end > start {
        let Some(ending) = ENDINGS.split_whitespace().find(|ending| {
            let length = ending.chars().count();
            end >= start + length && text.starts_with(end - length, ending)
        }) else {
            break;
        };
        end -= ending.chars().count();
    }
    let names =
        pieces.iter().any(|piece| piece.is_topic() && piece.start < end && piece.end > start);
    let length = end - start;
    (names && (2..=LONGEST_CHARS).contains(&length))
        .then(|| text.slice(start, end).trim().to_owned())
}

/// 推荐虎皮兰，耐旱 -> 虎皮兰.
pub(super) fn answer(text: &str) -> Option<String> {
    let clause = text.split(CLAUSE_ENDS).map(str::trim).find(|clause| !clause.is_empty())?;
    let text = Text::new(clause);
    let start = text.longest_of(0, ANSWERS).map_or(0, |opening| opening.chars().count());
    let end = text.chars.len();
    let names = pieces(&text).iter().any(|piece| piece.is_topic() && piece.start >= start);
    (names && (2..=LONGEST_ANSWER_CHARS).contains(&(end - start)))
        .then(|| text.slice(start, end).trim().to_owned())
}

pub(super) fn asks_for_thing(question: &str) -> bool {
    let text = Text::new(question);
    let starts = 0..text.chars.len().min(OPENING_CHARS);
    starts.into_iter().any(|position| text.longest_of(position, ASKS_FOR_THING).is_some())
}

const SENTENCE_ENDS: [char; 7] = ['。', '？', '！', '；', '?', '!', '\n'];
const CLAUSE_ENDS: [char; 9] = ['，', '。', '？', '！', '；', ',', '?', '!', '\n'];
/// A question that asks for a thing says so here; later on it asks something of its subject.
const OPENING_CHARS: usize = 4;
/// A shorter clause is a greeting or an aside.
const SHORTEST_CLAUSE_CHARS: usize = 4;
const LONGEST_CHARS: usize = 24;
const LONGEST_ANSWER_CHARS: usize = 14;

const OPENINGS: &str = "请问 那么 那 你好 您好 麻烦问下 我想知道 我想问 想问 想了解 我想了解 帮我 有没有 听说 什么是 为什么 怎么 如何 怎样 能不能 可以";

const ENDINGS: &str =
    "吗 呢 了 吧 啊 呀 的 在 是 定 要 可以 都 能不能 是不是 会不会 需要 应该 要不要 ： : 、";

const ANSWERS: &str = "推荐 可以选 可以用 建议 有 是 叫 在";

const ASKS_FOR_THING: &str = "有没有适合 推荐 哪 谁 什么牌子 叫什么";
