//! What a pronoun may stand for: the named things of the conversation, the likeliest first.

use std::collections::HashMap;
use std::ops::Range;

use crate::rewrite::conversation::{Conversation, Role, Source, Turn};
use crate::rewrite::glossary::Finder;
use crate::rewrite::language::chinese::{self, Class, Piece};
use crate::rewrite::language::english::{self, Word, is_one_of};
use crate::rewrite::language::{self, Text, is_han};

/// A thing that was spoken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The exact words of its source.
    pub text: String,
    pub source: Source,
    /// Salience, about 0 to 2; only differences mean something.
    pub score: f32,
    pub sort: Sort,
    /// Quoted, code or a glossary term: its words are a name for certain.
    pub is_name: bool,
}

/// What sort of thing a candidate seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Person,
    Place,
    Thing,
}

/// The candidates of the last turns and of the facts, best first.
pub fn antecedents(conversation: &Conversation) -> Vec<Candidate> {
    let mut pool = Pool::default();
    let terms = Finder::new(&conversation.glossary);
    let mut weight = 1.0;
    let recent =
        conversation.turns.iter().enumerate().rev().filter(|(_, turn)| turn.role != Role::System);
    for (index, turn) in recent.take(TURN_COUNT) {
        collect(&mut pool, &terms, index, turn, weight);
        // A question and its answer are of one age: what was asked about stays the topic.
        if turn.role == Role::User {
            weight *= RECENCY;
        }
    }
    for (key, value) in &conversation.facts {
        pool.add(value.trim(), Source::Fact(key.clone()), 0.3, false);
    }
    pool.ranked()
}

#[derive(Default)]
struct Pool {
    /// In the order of their first mention, newest turn first.
    found: Vec<Candidate>,
    by_name: HashMap<String, usize>,
}

impl Pool {
    fn add(&mut self, text: &str, source: Source, score: f32, is_name: bool) {
        let length = text.chars().count();
        let salient_letter = length == 1 && score > 1.0;
        if !((2..=LONGEST).contains(&length) || salient_letter) {
            return;
        }
        match self.by_name.get(&language::fold(text)) {
            Some(&index) => {
                let known = &mut self.found[index];
                known.score = known.score.max(score) + REPETITION * score.min(1.0);
                known.is_name |= is_name;
            }
            None => {
                self.by_name.insert(language::fold(text), self.found.len());
                let sort = sort_of(text);
                self.found.push(Candidate { text: text.to_owned(), source, score, sort, is_name });
            }
        }
    }

    /// Whole and part names are one thing: the short Chinese name is the one that both share
    /// (科比 in 科比柔韧性), the long Latin one is the full one (David Bowie, Bowie).
    fn ranked(mut self) -> Vec<Candidate> {
        self.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Candidate> = Vec::new();
        for candidate in self.found {
            let name = language::fold(&candidate.text);
            let twin = kept.iter_mut().find(|other| {
                let other = language::fold(&other.text);
                other.contains(&name) || name.contains(&other)
            });
            let Some(other) = twin else {
                kept.push(candidate);
                continue;
            };
            other.score += REPETITION * candidate.score.min(1.0);
            let is_shorter = name.len() < other.text.len();
            let reads_better = is_shorter == name.chars().all(is_han);
            let wins = match (candidate.is_name, other.is_name) {
                (true, true) => !is_shorter,
                (false, false) => reads_better,
                (is_name, _) => is_name,
            };
            if wins && name.chars().count() >= 2 {
                let score = other.score;
                *other = Candidate { score, ..candidate };
            }
        }
        kept.sort_by(|a, b| b.score.total_cmp(&a.score));
        kept
    }
}

fn collect(pool: &mut Pool, terms: &Finder, index: usize, turn: &Turn, weight: f32) {
    let head: String = turn.text.chars().take(TURN_LIMIT).collect();
    let text = Text::new(&head);
    let (own, topic) = if turn.role == Role::User { (1.0, 0.2) } else { (0.85, 0.1) };
    let mut add = |words: &str, bonus: f32, is_name: bool| {
        pool.add(words, Source::Message(index), weight * (own + bonus), is_name);
    };
    let mut taken: Vec<Range<usize>> = Vec::new();
    for mention in terms.mentions(&head) {
        add(&mention.span.text, 0.5, true);
        taken.push(mention.span.start..mention.span.end);
    }
    for range in &text.quoted {
        add(text.slice(range.start + 1, range.end - 1).trim(), 0.4, true);
        taken.push(range.clone());
    }
    let phrases = match language::of(&head) {
        language::Language::Chinese => chinese_phrases(&text),
        _ => english_phrases(&text),
    };
    let inside =
        |start: usize, end: usize| taken.iter().any(|range| range.start < end && start < range.end);
    for (position, (start, end, bonus)) in phrases.into_iter().enumerate() {
        // The first thing that a turn names is most often what it is about.
        let first = if position == 0 { topic } else { 0.0 };
        if !inside(start, end) {
            add(&text.slice(start, end), bonus + first, false);
        }
    }
}

/// Runs of names and unknown words, with the noun that closes them: 线索打分功能, CRM系统.
fn chinese_phrases(text: &Text) -> Vec<(usize, usize, f32)> {
    let pieces = chinese::pieces(text);
    let mut phrases = Vec::new();
    let mut index = 0;
    while index < pieces.len() {
        let first = &pieces[index];
        if !matches!(first.class, Class::Name | Class::Topic) {
            index += 1;
            continue;
        }
        let mut last = index;
        while last + 1 < pieces.len() && continues(text, &pieces, last + 1) {
            last += 1;
        }
        let start =
            if first.class == Class::Topic { chinese::trimmed(text, first).0 } else { first.start };
        let closing = &pieces[last];
        let end = if closing.class == Class::Topic {
            chinese::trimmed(text, closing).1
        } else {
            closing.end
        };
        if start < end {
            phrases.push((start, end, 0.0));
        }
        index = last + 1;
    }
    phrases
}

/// Names run on through digits and further names: iPhone 15 Pro, CRM系统, MySQL 8.0.
fn continues(text: &Text, pieces: &[Piece], index: usize) -> bool {
    let piece = &pieces[index];
    let before = &pieces[index - 1];
    let word: String = text.folded[piece.start..piece.end].iter().collect();
    let closes = HEADS.split_whitespace().any(|head| head == word);
    match piece.class {
        Class::Name => true,
        Class::Topic => before.class == Class::Name,
        Class::Number => {
            // 光环6 is a name, 多云20度 is not.
            let next = pieces.get(index + 1).map(|next| next.class);
            let counts = matches!(next, Some(Class::Topic | Class::Relation | Class::Verb));
            let spaced = index >= 2 && pieces[index - 2].class == Class::Name;
            before.class == Class::Name
                || spaced
                || (before.end == piece.start && before.class == Class::Topic && !counts)
        }
        Class::Relation | Class::Verb => closes,
        Class::Punctuation => {
            let next = pieces.get(index + 1);
            let after = pieces.get(index + 2).map(|after| after.class);
            let names_on = next.is_some_and(|next| {
                next.class == Class::Name
                    || (next.class == Class::Number && after != Some(Class::Relation))
            });
            word == " " && before.class == Class::Name && names_on
        }
        _ => false,
    }
}

/// Capitalised phrases, and what follows `about`, `what is`, `the … feature`.
fn english_phrases(text: &Text) -> Vec<(usize, usize, f32)> {
    let words = english::words(text);
    let mut phrases = Vec::new();
    let mut index = 0;
    while index < words.len() {
        if let Some(last) = named_phrase(&words, index) {
            let start = with_article(&words, index);
            phrases.push((start, without_possessive(&words[last]), 0.3));
            index = last + 1;
        } else if let Some((first, last)) = common_phrase(&words, index) {
            // `the west part` is rarely the topic; what was asked about is.
            let bonus = if words[index].lower == "the" { -0.3 } else { 0.1 };
            phrases.push((with_article(&words, first), words[last].end, bonus));
            index = last + 1;
        } else {
            index += 1;
        }
    }
    phrases
}

fn named_phrase(words: &[Word], index: usize) -> Option<usize> {
    let is_named = |word: &Word| {
        word.is_name
            && !english::is_time(&word.lower)
            && word.lower != "i"
            && !word.lower.starts_with("i'")
            && !english::is_interjection(&word.lower)
            && !(english::is_function(&word.lower)
                && (word.opens_sentence || word.lower.chars().count() < 3))
            && !(word.opens_sentence && english::is_generic(&word.lower))
            && !is_demonym(&word.lower)
    };
    if !is_named(&words[index])
        || english::is_function(&words[index].lower) && words[index].opens_sentence
    {
        return None;
    }
    let mut last = index;
    loop {
        let next = words.get(last + 1).filter(|next| !next.follows_comma && !next.opens_sentence);
        let Some(next) = next else { return Some(last) };
        let after =
            words.get(last + 2).filter(|after| !after.follows_comma && !after.opens_sentence);
        let joins = matches!(next.lower.as_str(), "of" | "the" | "&" | "de" | "von" | "van")
            && after.is_some_and(is_named);
        let numbered = next.lower.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
            && !english::is_year(&next.lower);
        let classed = is_one_of(&next.lower, CLASS_NOUNS);
        match (is_named(next) || numbered || classed, joins) {
            _ if words[last].lower.ends_with("'s") => return Some(last),
            (true, _) => last += 1,
            (false, true) => last += 2,
            (false, false) => return Some(last),
        }
    }
}

/// `solar energy` in `tell me about solar energy`; `lead scoring feature` in `the lead …`.
fn common_phrase(words: &[Word], index: usize) -> Option<(usize, usize)> {
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let mut first = match (lower(index), lower(index + 1)) {
        ("about" | "describe" | "using" | "called", _) => index + 1,
        ("what" | "who", "is" | "are" | "was" | "were") => index + 2,
        ("what's" | "who's", _) => index + 1,
        ("the", _) => index,
        _ => return None,
    };
    if matches!(lower(first), "the" | "a" | "an") {
        first += 1;
    }
    let fits = |at: usize| {
        words.get(at).is_some_and(|word| {
            !english::is_function(&word.lower)
                && (at == first || !(word.follows_comma || word.opens_sentence))
        })
    };
    let last = (first..first + 4).take_while(|&at| fits(at)).last()?;
    let has_topic = words[first..=last].iter().any(Word::is_topic);
    has_topic.then_some((first, last))
}

/// Japanese, Swiss: kinds of things, not things.
fn is_demonym(word: &str) -> bool {
    ["ese", "ish", "ian", "ean"].iter().any(|ending| word.ends_with(ending))
        || matches!(
            word,
            "swiss" | "french" | "german" | "thai" | "greek" | "african" | "american" | "mexican"
        )
}

/// `the Afra tanker scale`, `a virtual machine`: the article is part of what is copied.
fn with_article(words: &[Word], first: usize) -> usize {
    let before = first.checked_sub(1).map(|before| &words[before]);
    let article = before
        .filter(|word| matches!(word.lower.as_str(), "the" | "a" | "an") && !word.opens_sentence);
    article.map_or(words[first].start, |word| word.start)
}

fn without_possessive(word: &Word) -> usize {
    if word.lower.ends_with("'s") { word.end - 2 } else { word.end }
}

/// What sort of thing a name seems to be: by its ending, by a surname, by a place list.
pub(super) fn sort_of(name: &str) -> Sort {
    let folded: Vec<char> = language::fold(name).chars().collect();
    let all_han = !folded.is_empty() && folded.iter().all(|&letter| is_han(letter));
    let text: String = folded.iter().collect();
    let last = folded.last().copied().unwrap_or(' ');
    if PLACES
        .split_whitespace()
        .any(|place| text == place || (all_han && text.starts_with(place) && folded.len() <= 4))
        || all_han && folded.len() <= 5 && "市省县区国州岛镇村湖山".contains(last)
    {
        return Sort::Place;
    }
    let last_word = text.split(' ').next_back().unwrap_or("");
    if !all_han && PLACES.split_whitespace().any(|place| place == last_word) {
        return Sort::Place;
    }
    let surname = folded.first().is_some_and(|letter| SURNAMES.contains(*letter));
    if all_han && (2..=3).contains(&folded.len()) && surname {
        return Sort::Person;
    }
    let titled = PERSON_ENDINGS.split_whitespace().any(|ending| text.ends_with(ending));
    let two_names = !all_han
        && text.split(' ').count() == 2
        && name.split(' ').all(|part| {
            part.starts_with(char::is_uppercase) && part.chars().skip(1).all(char::is_lowercase)
        });
    if titled || two_names { Sort::Person } else { Sort::Thing }
}

/// Nouns that close a name without a capital of their own: the Team plan.
pub(super) const CLASS_NOUNS: &str = "plan plans feature features version edition tier token tokens module report \
system model mode option method dashboard";

const TURN_COUNT: usize = 6;
/// Longer turns are read up to here (chars).
const TURN_LIMIT: usize = 600;
/// Longer phrases are no names (chars).
const LONGEST: usize = 40;
const RECENCY: f32 = 0.8;
const REPETITION: f32 = 0.3;

pub(super) const HEADS: &str = "功能 系统 服务 模块 平台 软件 方案 计划 版本 版 引擎 数据库 插件 接口 组件 项目 公司 套餐 报表 景点 教程 文档 专辑 歌曲 作品";

const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤鹿易";

const PERSON_ENDINGS: &str = "先生 女士 小姐 老师 教授 医生 经理 总监 总 女友 男友 女朋友 男朋友 老婆 老公 妈妈 爸爸 姐姐 哥哥 妹妹 弟弟 同学 同事 女孩 男孩 女生 男生 室友 同桌";

const PLACES: &str = "北京 上海 天津 重庆 广州 深圳 杭州 南京 苏州 成都 武汉 长沙 厦门 青岛 济南 郑州 西安 沈阳 大连 长春 哈尔滨 合肥 南昌 昆明 贵阳 海口 三亚 兰州 西宁 银川 乌鲁木齐 拉萨 呼和浩特 香港 澳门 台湾 台北 洛阳 丽江 大理 桂林 泰安 温州 宁波 无锡 徐州 河南 河北 山东 山西 陕西 四川 云南 贵州 广东 广西 海南 湖南 湖北 江苏 浙江 安徽 福建 江西 辽宁 吉林 黑龙江 内蒙古 新疆 西藏 甘肃 青海 宁夏 日本 韩国 美国 英国 法国 德国 泰国 新加坡 加拿大 澳大利亚 东京 纽约 伦敦 巴黎 beijing shanghai shenzhen guangzhou hangzhou london paris tokyo berlin boston chicago seattle california france germany japan china india italy spain";
