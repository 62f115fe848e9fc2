//! Chinese words of the closed classes, and what is left of a text once they are taken away.
//!
//! The left-over runs are what a query is *about*. A query that leaves none behind, such as
//! `怎么导出`, has lost its topic; that is the whole idea, so the lists err on the side of
//! leaving a word in: an unknown word always counts as a topic of its own.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::chinese_words::{
    FUNCTIONS, POINTERS, QUALITIES, QUESTIONS, RELATIONS, VERBS, WHOLE_WORDS,
};
use super::{Text, is_han, is_latin};

/// What a piece of a Chinese text does in its sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Particles, conjunctions, adverbs, forms of address, empty nouns.
    Function,
    /// 怎么, 什么, 多少, …
    Question,
    /// Everyday verbs that say nothing about the topic: 导出, 喜欢, 查一下.
    Verb,
    /// 便宜, 好看, …
    Quality,
    /// Nouns that belong to something else: 价格, 作者, 步骤.
    Relation,
    /// 今天, 2024年6月, 上个季度.
    Time,
    /// Pronouns and the beginnings of demonstratives.
    Pointer,
    /// Words in Latin letters and codes: `CRM`, `iPhone15`.
    Name,
    /// Text in quotation marks or code.
    Quote,
    /// Han characters that no list knows: what the text is about.
    Topic,
    /// Digits that are no date.
    Number,
    Punctuation,
}

/// A piece of a text; `start..end` counts Unicode scalar values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub start: usize,
    pub end: usize,
    pub class: Class,
}

impl Piece {
    /// Whether this piece alone can be what the sentence is about.
    pub fn is_topic(&self) -> bool {
        matches!(self.class, Class::Name | Class::Quote | Class::Topic)
    }
}

/// Cuts a text into pieces without gaps, left to right, the longest known word first.
pub fn pieces(text: &Text) -> Vec<Piece> {
    let mut cut: Vec<Piece> = Vec::new();
    let mut position = 0;
    while position < text.chars.len() {
        let (end, class) = piece_at(text, position);
        match cut.last_mut() {
            Some(last) if class == Class::Topic && last.class == class => last.end = end,
            _ => cut.push(Piece { start: position, end, class }),
        }
        position = end;
    }
    for index in 0..cut.len() {
        let piece = cut[index];
        let before = index.checked_sub(1).map(|before| cut[before].class);
        if piece.class == Class::Topic
            && is_weak(text, &piece)
            && !is_noun_of_one(text, &piece, before)
        {
            cut[index].class = Class::Verb;
        }
    }
    cut
}

/// A topic piece without the light words at its edges: `开原有` is about `开原`.
pub fn trimmed(text: &Text, piece: &Piece) -> (usize, usize) {
    let (mut start, mut end) = (piece.start, piece.end);
    while end - start > 2 && LIGHT_ENDS.contains(text.folded[end - 1]) {
        end -= 1;
    }
    while end - start > 2 && LIGHT_STARTS.contains(text.folded[start]) {
        start += 1;
    }
    (start, end)
}

/// The class of a word that the lists know, in simplified script.
pub fn class_of(word: &str) -> Option<Class> {
    LEXICON.get(word).copied()
}

fn piece_at(text: &Text, position: usize) -> (usize, Class) {
    if let Some(range) = text.quoted.iter().find(|range| range.start == position) {
        return (range.end, Class::Quote);
    }
    if let Some(end) = time_end(text, position) {
        return (end, Class::Time);
    }
    let letter = text.folded[position];
    if is_latin(letter) || letter.is_ascii_digit() {
        return name_at(text, position);
    }
    if !is_han(letter) {
        return (position + 1, Class::Punctuation);
    }
    for length in (1..=LONGEST_WORD.min(text.chars.len() - position)).rev() {
        let word: String = text.folded[position..position + length].iter().collect();
        if let Some(class) = class_of(&word) {
            return (position + length, class);
        }
    }
    (position + 1, Class::Topic)
}

fn name_at(text: &Text, position: usize) -> (usize, Class) {
    let joins = |index: usize| {
        let after = text.folded.get(index + 1);
        matches!(text.folded[index], '.' | '-' | '_' | '/' | '+' | '#' | '\'' | '@' | ':')
            && after.is_some_and(|next| is_latin(*next) || next.is_ascii_digit())
    };
    let mut end = position;
    while end < text.chars.len()
        && (is_latin(text.folded[end]) || text.folded[end].is_ascii_digit() || joins(end))
    {
        end += 1;
    }
    while end < text.chars.len() && matches!(text.folded[end], '+' | '#') {
        end += 1;
    }
    let has_letters = text.folded[position..end].iter().any(|&letter| is_latin(letter));
    let word: String = text.folded[position..end].iter().collect();
    match (
        has_letters,
        matches!(word.as_str(), "ok" | "okay" | "hi" | "hello" | "hey" | "thanks" | "bye"),
    ) {
        (true, false) => (end, Class::Name),
        (true, true) => (end, Class::Function),
        (false, _) => (end, Class::Number),
    }
}

/// The end of an expression of time that starts here, relative or absolute.
pub fn time_end(text: &Text, position: usize) -> Option<usize> {
    let mut end = position;
    while let Some(next) = one_time_end(text, end) {
        end = next;
    }
    (end > position).then_some(end)
}

fn one_time_end(text: &Text, position: usize) -> Option<usize> {
    let letter = text.folded.get(position)?;
    let words = TIMES_BY_LETTER.get(letter).map_or(&[][..], Vec::as_slice);
    if let Some(word) = text.longest(position, words) {
        return Some(position + word.chars().count());
    }
    let is_numeral =
        |letter: &char| letter.is_ascii_digit() || "一二三四五六七八九十两几零〇".contains(*letter);
    let mut start = position;
    if text.longest(position, &["近", "过去", "最近", "前", "第", "上", "下", "这"]).is_some()
    {
        start += text
            .longest(position, &["近", "过去", "最近", "前", "第", "上", "下", "这"])?
            .chars()
            .count();
    }
    let digits = text.folded.iter().skip(start).take_while(|letter| is_numeral(letter)).count();
    if digits == 0 || digits > 8 {
        return None;
    }
    let after = start + digits;
    let units: &[&str] = if start > position {
        &["年", "个月", "天", "日", "周", "个季度", "季度", "个星期", "小时", "个小时", "年内"]
    } else {
        &["年", "年度", "月", "月份", "日", "号", "季度", "点", "点钟", "点半", "世纪"]
    };
    if let Some(unit) = text.longest(after, units) {
        // 三年级 and 一点都 are no dates.
        let next = after + unit.chars().count();
        let spoiled = text.longest(next, &["级", "都", "也", "儿"]).is_some();
        return (!spoiled).then_some(next);
    }
    iso_date_end(text, position)
}

fn iso_date_end(text: &Text, position: usize) -> Option<usize> {
    let letters: Vec<char> = text.folded.iter().skip(position).take(10).copied().collect();
    let year = letters.len() >= 7
        && letters[..4].iter().all(char::is_ascii_digit)
        && matches!(letters[4], '-' | '/')
        && letters[5].is_ascii_digit();
    let length =
        letters.iter().take_while(|l| l.is_ascii_digit() || matches!(l, '-' | '/')).count();
    (year && length >= 7).then_some(position + length)
}

/// Runs such as 看过 or 好吃 that are made of everyday one-character words only.
fn is_weak(text: &Text, piece: &Piece) -> bool {
    let letters = &text.folded[piece.start..piece.end];
    match letters {
        [single] => !NOUNS_OF_ONE.contains(*single),
        _ => letters.len() <= 3 && letters.iter().all(|letter| WEAK.contains(*letter)),
    }
}

/// 蓍的别名, 标准杆: one rare character that owns what follows or ends a compound.
fn is_noun_of_one(text: &Text, piece: &Piece, before: Option<Class>) -> bool {
    let owns = piece.start == 0 && text.folded.get(piece.end) == Some(&'的');
    let ends_compound = matches!(before, Some(Class::Relation | Class::Verb));
    piece.end - piece.start == 1
        && !WEAK.contains(text.folded[piece.start])
        && (owns || ends_compound)
}

const LONGEST_WORD: usize = 5;

static LEXICON: LazyLock<HashMap<&'static str, Class>> = LazyLock::new(|| {
    let groups = [
        (FUNCTIONS, Class::Function),
        (QUESTIONS, Class::Question),
        (VERBS, Class::Verb),
        (QUALITIES, Class::Quality),
        (RELATIONS, Class::Relation),
        (POINTERS, Class::Pointer),
        (WHOLE_WORDS, Class::Topic),
    ];
    let words = groups
        .into_iter()
        .flat_map(|(words, class)| words.split_whitespace().map(move |word| (word, class)));
    words.collect()
});

static TIMES_BY_LETTER: LazyLock<HashMap<char, Vec<&'static str>>> = LazyLock::new(|| {
    let mut by_letter: HashMap<char, Vec<&'static str>> = HashMap::new();
    for word in TIMES.split_whitespace() {
        by_letter.entry(word.chars().next().unwrap_or(' ')).or_default().push(word);
    }
    by_letter
});

const LIGHT_STARTS: &str = "爱说个位款部首只本家吃喝玩听买写找学有在和与跟会能要想给对从到为向用让再还去来才只将等叫问查看";
const LIGHT_ENDS: &str = "喝有在会能要和与对给过着得到里上下中好用去来做看吃玩听说可由被将还";
const WEAK: &str = "去来吃喝玩看听说买卖写读找学走放打开关用做弄搞拿给好坏大小多少高低贵快慢新旧难易\
对错行能会要想有在和与跟从到为以被把让将等叫过着得里上下中外前后内完成出起住懂见借还换退发收付交选试停\
修改删加减够真假美丑帅白黑红晚早久远近长短轻重冷热累困饿饱死活爱恨怕笑哭疼痛喂嗯哦噢唉哈嘿哎诶咦额恩嘻\
才只先再又更最挺超蛮太真还刚已曾请而且或并若则虽之者所于曰亦及让个们跑坐站睡醒穿戴带送接查问答信猜算比像当变回进传存装";
const NOUNS_OF_ONE: &str = "猫狗鱼鸟马牛羊猪鸡鸭虎龙蛇兔水火山海河湖天地人车船房米面茶酒书花树草云雨雪风星月\
日金银铜铁糖盐油肉菜饭汤药病心肝肺血骨";

const TIMES: &str = "
    今天 昨天 前天 明天 后天 今日 昨日 明日 当天 今晚 昨晚 明晚 今早 早上 上午 中午 下午 晚上
    凌晨 傍晚 本周 这周 上周 下周 上上周 这个星期 上个星期 下个星期 这星期 上星期 下星期 周末
    本月 这个月 上个月 下个月 上月 下月 当月 上上个月 本季度 这个季度 上个季度 上季度 下个季度
    下季度 一季度 二季度 三季度 四季度 今年 去年 前年 明年 后年 本年 本年度 上半年 下半年 年初
    年底 年末 月初 月底 月末 周一 周二 周三 周四 周五 周六 周日 星期一 星期二 星期三 星期四
    星期五 星期六 星期天 星期日 同期 去年同期 双十一 春节 国庆 q1 q2 q3 q4 这几天 这两天
    最近几天 前几天 过几天 近期 最近";
