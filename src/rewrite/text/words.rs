//! Glue words, negations and English word endings: what a comparison of two questions
//! must not trip over, and what it must never lose.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use super::{Unit, UnitKind, fold, to_simplified};

/// Chinese characters that carry grammar and no matter of their own.
const HAN_FUNCTION: &str = "的地得了吗呢吧啊呀嘛哦哈么是在和与及或有对把被将给跟就使于以从到向为所着过那这它他她们其之个些我你您什怎样里中";
/// English words that do; contractions leave stems such as `don` behind.
const ENGLISH_FUNCTION: &str = "
    'd 'll 'm 're 's 've a about also am among an and are as at be been being besides between but
    by can concerning could couldn did didn do does doesn doing don during for from had hadn has
    hasn have haven having he her hers herself him himself his how i if in into is isn it its
    itself may me might mine must my myself of on onto or our ours ourselves over regarding shall
    she should shouldn so than that the their theirs them themselves then there these they this
    those through to too upon us was wasn we were weren what when where which who whom whose why
    will with within won would wouldn you your yours yourself";
const HAN_NEGATION: &str = "不没无非别未勿莫";
const ENGLISH_NEGATION: &[&str] = &[
    "'t", "cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "without",
];

/// Words that would become another word without their ending.
const STEM_EXCEPTIONS: &[&str] = &["here", "none", "one", "same"];

/// Polite and leading phrases that ask for nothing.
const COURTESIES: &str = "
    could you please tell me, can you please tell me, i would like to know, could you tell me, i'd
    like to know, can you tell me, i want to know, please tell me, do you know, let me know, thank
    you, could you, can you, tell me, please, thanks, hello, 能不能帮我, 帮我查一下, 帮我看一下, 可以帮我, 帮我查查,
    帮我看看, 帮我查下, 帮我看下, 请告诉我, 我想知道, 我想了解, hey, 能帮我, 我想问, 想知道, 告诉我, 麻烦你, 麻烦您, 帮我查, 查一下, 看一下, 问一下,
    说一下, hi, 想问, 查下, 看下, 问下, 请问, 帮我, 帮忙, 麻烦, 谢谢, 多谢, 你好, 您好, 一下, 请";

/// What makes a question of its content words.
const QUESTION_FRAMES: &str = "
    what is the difference between, where can i, how do you, how do we, how can i, are there, how
    do i, how does, how much, how many, what are, where is, is there, what is, when is, show me,
    give me, explain, how to, who is, 为什么不能, 是怎么回事, 怎么回事, 可不可以, 什么时候, 有什么样, 有没有, 能不能, 是不是, 为什么,
    怎么样, 是什么, 什么样, 多少钱, 怎么用, 怎么办, 怎么做, 有什么, 有哪些, 如何, 怎么, 怎样, 什么, 哪些, 哪个, 有啥, 哪里, 哪儿, 多少, 是否, 咋样,
    为啥, 为何, 这个, 那个, 这些, 那些, 这次, 那次, 这种, 那种, 这款, 那款, 这里, 那里, 啥";

static FUNCTION_WORDS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| ENGLISH_FUNCTION.split_whitespace().collect());
static COURTESY_PHRASES: LazyLock<Vec<&str>> = LazyLock::new(|| listed(COURTESIES));
static FRAME_PHRASES: LazyLock<Vec<&str>> = LazyLock::new(|| listed(QUESTION_FRAMES));

/// Whether a unit is glue (的, 了, the, of, 's, pronouns): free to add, move and drop.
/// Negations never are.
pub fn is_function_unit(unit: &Unit) -> bool {
    match unit.kind {
        UnitKind::Han => HAN_FUNCTION.contains(unit.key.as_str()),
        UnitKind::Word => {
            let word: String = unit.text.chars().map(fold).collect();
            FUNCTION_WORDS.contains(word.as_str())
        }
        _ => false,
    }
}

/// Whether a unit turns a question into its opposite.
pub fn is_negation(unit: &Unit) -> bool {
    match unit.kind {
        UnitKind::Han => HAN_NEGATION.contains(unit.key.as_str()),
        UnitKind::Word => {
            let word: String = unit.text.chars().map(fold).collect();
            ENGLISH_NEGATION.contains(&word.as_str())
        }
        _ => false,
    }
}

/// The phrases of a list, the longest first, so that each match is the longest.
fn listed(phrases: &'static str) -> Vec<&'static str> {
    let mut listed: Vec<&str> = phrases.split(',').map(str::trim).collect();
    listed.sort_by_key(|phrase| std::cmp::Reverse(phrase.chars().count()));
    listed
}

/// Where phrases of politeness stand in `text`, in chars: 请问, 帮我查一下, could you tell
/// me. A question asks the same without them.
pub fn courtesies(text: &str) -> Vec<Range<usize>> {
    phrases(text, &COURTESY_PHRASES)
}

/// Where question frames stand in `text`, in chars: 怎么用, 是什么, how do i.
pub fn question_frames(text: &str) -> Vec<Range<usize>> {
    phrases(text, &FRAME_PHRASES)
}

fn phrases(text: &str, known: &[&str]) -> Vec<Range<usize>> {
    let folded: Vec<char> = text.chars().map(|found| to_simplified(fold(found))).collect();
    let mut found = Vec::new();
    let mut start = 0;
    while start < folded.len() {
        match known.iter().find_map(|phrase| phrase_end(&folded, start, phrase)) {
            Some(end) => {
                found.push(start..end);
                start = end;
            }
            None => start += 1,
        }
    }
    found
}

/// The end of `phrase` when it stands at `start` as whole words.
fn phrase_end(folded: &[char], start: usize, phrase: &str) -> Option<usize> {
    let mut end = start;
    for wanted in phrase.chars() {
        if folded.get(end) != Some(&wanted) {
            return None;
        }
        end += 1;
    }
    let inside = |left: Option<&char>, right: Option<&char>| {
        let latin = |letter: Option<&char>| letter.is_some_and(char::is_ascii_alphanumeric);
        latin(left) && latin(right)
    };
    let before = start.checked_sub(1).and_then(|before| folded.get(before));
    let cut = inside(before, folded.get(start))
        || inside(folded.get(end.saturating_sub(1)), folded.get(end));
    (!cut).then_some(end)
}

/// A word without its English ending, so that `features`, `featured` and `feature` are
/// one. Meant for comparing, not for showing; words of other languages stay as they are.
pub fn stem(word: &str) -> String {
    let is_english = word.bytes().all(|byte| byte.is_ascii_lowercase());
    if word.len() < 3 || !is_english || STEM_EXCEPTIONS.contains(&word) {
        return word.to_owned();
    }
    let long = word.len() >= 4;
    let base = if long { without_tense(&without_plural(word)) } else { word.to_owned() };
    match base.strip_suffix('e') {
        Some(bare) if bare.len() >= 2 => bare.to_owned(),
        _ => base,
    }
}

fn without_plural(word: &str) -> String {
    if let Some(bare) = word.strip_suffix("ies") {
        return if bare.len() >= 2 { format!("{bare}y") } else { format!("{bare}ie") };
    }
    let sibilant = ["sses", "shes", "ches", "xes", "zes"].iter().any(|end| word.ends_with(end));
    if sibilant {
        return word[..word.len() - 2].to_owned();
    }
    let plural = word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if plural { word[..word.len() - 1].to_owned() } else { word.to_owned() }
}

fn without_tense(word: &str) -> String {
    if word.ends_with("eed") {
        return word.to_owned();
    }
    if let Some(bare) = word.strip_suffix("ied").filter(|bare| bare.len() >= 2) {
        return format!("{bare}y");
    }
    let bare = word.strip_suffix("ing").or_else(|| word.strip_suffix("ed")).unwrap_or(word);
    let has_vowel = bare.bytes().any(|byte| b"aeiouy".contains(&byte));
    if bare.len() < 2 || !has_vowel || bare.len() == word.len() {
        return word.to_owned();
    }
    let tail = bare.as_bytes();
    let last = tail[tail.len() - 1];
    let doubled = tail.len() >= 4 && tail[tail.len() - 2] == last && !b"lsz".contains(&last);
    bare[..bare.len() - usize::from(doubled)].to_owned()
}
