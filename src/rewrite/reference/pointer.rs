//! What a pointer asks for: a person, a place, a thing with a certain noun, or a position
//! in a list.

use super::candidates::{Candidate, Sort};
use crate::rewrite::language;

/// What the words of a pointer say about the thing they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Person,
    Place,
    Thing,
    /// 这个功能, `this feature`: a thing that the noun names.
    Named(String),
    /// Counted from 0.
    Position(usize),
    Last,
    /// The one of two that was not spoken of last.
    Other,
    /// Several things at once: no single candidate can stand in for them.
    Several,
}

/// Reads a pointer in either language.
pub(super) fn wanted(pointer: &str) -> Wanted {
    let pointer = language::fold(pointer.trim());
    match pointer.as_str() {
        "他" | "她" | "he" | "him" | "his" | "she" | "her" | "hers" => Wanted::Person,
        "这里" | "那里" | "这儿" | "那儿" | "这边" | "那边" | "there" => Wanted::Place,
        "它们" | "他们" | "她们" | "这些" | "那些" | "两者" | "二者" | "这俩" | "他俩"
        | "这两个" | "they" | "them" | "their" | "theirs" | "these" | "those" => Wanted::Several,
        "前者" | "the former" | "former" => Wanted::Position(0),
        "后者" | "the latter" | "latter" => Wanted::Last,
        _ => by_parts(&pointer),
    }
}

impl Wanted {
    /// Whether a candidate may be meant.
    pub(super) fn fits(&self, candidate: &Candidate) -> bool {
        match self {
            Self::Person => candidate.sort == Sort::Person,
            Self::Place => candidate.sort == Sort::Place,
            Self::Thing => candidate.sort == Sort::Thing,
            Self::Named(noun) => {
                let fits = fits_noun(&language::fold(&candidate.text), noun, candidate.sort);
                fits || (candidate.is_name && names_features(noun))
            }
            _ => false,
        }
    }
}

fn by_parts(pointer: &str) -> Wanted {
    let begins = |words: &[&str]| words.iter().any(|word| pointer.starts_with(word));
    let ordinals = [
        ("第一", 0),
        ("第二", 1),
        ("第三", 2),
        ("第四", 3),
        ("第五", 4),
        ("the first", 0),
        ("the second", 1),
        ("the third", 2),
        ("前一", 0),
    ];
    if let Some((_, position)) = ordinals.iter().find(|(word, _)| pointer.starts_with(word)) {
        return Wanted::Position(*position);
    }
    if begins(&["另一", "另外一", "另外那", "the other", "another"]) {
        return Wanted::Other;
    }
    if begins(&["最后一", "后一", "the last"]) {
        return Wanted::Last;
    }
    let several = ["这些", "那些", "这几", "那几", "这两", "那两", "these ", "those "];
    if begins(&several) {
        return Wanted::Several;
    }
    if let Some(noun) =
        ["this ", "that ", "the "].iter().find_map(|word| pointer.strip_prefix(word))
    {
        return Wanted::Named(noun.to_owned());
    }
    let rest = pointer.trim_start_matches(['这', '那', '该', '此']);
    let classifiers = [
        "个", "部", "首", "本", "款", "家", "位", "种", "条", "项", "只", "座", "场", "张", "台",
        "套", "篇", "件", "道", "一个", "一种",
    ];
    let noun = classifiers.iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest);
    if noun.is_empty() || rest.len() == pointer.len() {
        Wanted::Thing
    } else {
        Wanted::Named(noun.to_owned())
    }
}

fn fits_noun(name: &str, noun: &str, sort: Sort) -> bool {
    let people = [
        "人", "女孩", "男孩", "女生", "男生", "演员", "歌手", "导演", "明星", "作者", "球员",
        "person", "man", "woman", "singer", "actor",
    ];
    let places = [
        "地方", "城市", "地区", "区域", "国家", "省", "市", "县", "景点", "city", "place",
        "country", "region",
    ];
    if people.contains(&noun) {
        return sort == Sort::Person;
    }
    if places.contains(&noun) {
        return sort == Sort::Place;
    }
    sort == Sort::Thing && (name.ends_with(noun) || !(noun.is_ascii() || demands_own_noun(noun)))
}

/// A glossary term or a quoted name may well be a feature without saying so.
fn names_features(noun: &str) -> bool {
    ["功能", "模块", "feature", "module"].contains(&noun)
}

/// Nouns whose things carry them in their names: 线索打分功能, `lead scoring feature`.
fn demands_own_noun(noun: &str) -> bool {
    let nouns = [
        "功能",
        "模块",
        "接口",
        "参数",
        "字段",
        "报表",
        "指标",
        "按钮",
        "页面",
        "feature",
        "module",
        "report",
        "button",
        "page",
        "parameter",
        "field",
        "plan",
        "套餐",
    ];
    nouns.contains(&noun)
}
