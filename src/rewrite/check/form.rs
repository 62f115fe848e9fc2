//! What is wrong with a candidate on its face, before its words are compared with any.

use super::Violation;
use crate::rewrite::text::{is_invisible, normalise, significant_units};

const TEMPLATE_TOKENS: &[&str] = &[
    "<|",
    "|>",
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<im_start>",
    "<im_end>",
    "{{",
    "}}",
    "{%",
    "%}",
];
const ROLE_MARKS: &[&str] = &["assistant:", "user:", "system:", "human:", "助手:", "用户:"];
const THINKING: &[&str] =
    &["<think", "</think", "<thought", "</thought", "<reasoning", "</reasoning", "<scratchpad"];
const MARKUP: &[&str] = &["```", "**", "](", "</", "<!--", "/>", "~~~"];
const LINE_MARKS: &[&str] = &["# ", "## ", "### ", "- ", "* ", "> "];
const ORDER_VERBS: &[&str] =
    &["ignore", "disregard", "forget", "override", "忽略", "无视", "忘记", "忘掉"];
const ORDER_OBJECTS: &[&str] = &[
    "instruction",
    "prompt",
    "rules",
    "guidelines",
    "everything above",
    "指令",
    "指示",
    "提示词",
    "系统提示",
    "规则",
    "设定",
];
/// How far behind its verb the object of an order may stand, in chars.
const ORDER_REACH_CHARS: usize = 40;
/// A phrase that stands this often in a row is a loop.
const LOOP: usize = 3;

pub(super) fn check(query: &str, standalone: &str) -> Result<(), Violation> {
    if has_hidden(query, standalone) {
        return Err(Violation::HiddenCharacter);
    }
    let (asked, answer) = (normalise(query), normalise(standalone));
    let gains =
        |marks: &[&str]| marks.iter().any(|mark| count(&answer, mark) > count(&asked, mark));
    let begins = |marks: &[&str]| {
        marks.iter().any(|mark| answer.starts_with(mark) && !asked.starts_with(mark))
    };
    if gains(THINKING) {
        return Err(Violation::ThinkingText);
    }
    if gains(TEMPLATE_TOKENS) || begins(ROLE_MARKS) {
        return Err(Violation::TemplateToken);
    }
    let breaks = |text: &str| text.trim().contains(['\n', '\r', '\u{2028}', '\u{2029}']);
    let broken = breaks(standalone) && !breaks(query);
    if gains(MARKUP) || begins(LINE_MARKS) || tags(&answer) > tags(&asked) || broken {
        return Err(Violation::Markup);
    }
    if orders(&answer) > orders(&asked) {
        return Err(Violation::Instruction);
    }
    match has_loop(standalone) && !has_loop(query) {
        true => Err(Violation::Repetition),
        false => Ok(()),
    }
}

fn count(text: &str, mark: &str) -> usize {
    text.matches(mark).count()
}

fn has_hidden(query: &str, standalone: &str) -> bool {
    let broken = |character: char| {
        is_invisible(character) || matches!(character, '\u{fffd}' | '\u{e000}'..='\u{f8ff}')
    };
    standalone.chars().any(|character| broken(character) && !query.contains(character))
}

/// How many `<` open something that looks like an HTML tag.
fn tags(text: &str) -> usize {
    let opens = |rest: &str| {
        let Some((inside, _)) = rest.split_once('>') else { return false };
        let name = inside.trim_start_matches(['/', '!']);
        !inside.contains('<') && name.starts_with(|first: char| first.is_ascii_alphabetic())
    };
    text.match_indices('<').filter(|(start, _)| opens(&text[start + 1..])).count()
}

/// How many passages tell the reader to drop its instructions.
fn orders(text: &str) -> usize {
    let follows = |verb: &str| {
        let objects = |(start, _): &(usize, &str)| {
            let rest: String = text[*start..].chars().take(ORDER_REACH_CHARS).collect();
            ORDER_OBJECTS.iter().any(|object| rest.contains(object))
        };
        text.match_indices(verb).filter(objects).count()
    };
    ORDER_VERBS.iter().map(|verb| follows(verb)).sum()
}

/// Whether some phrase stands three times in a row.
fn has_loop(text: &str) -> bool {
    let units = significant_units(text);
    let keys: Vec<&str> = units.iter().map(|unit| unit.key.as_str()).collect();
    (1..=keys.len() / LOOP).any(|length| {
        let mut same = 0;
        (length..keys.len()).any(|place| {
            same = if keys[place] == keys[place - length] { same + 1 } else { 0 };
            same >= length * (LOOP - 1)
        })
    })
}
