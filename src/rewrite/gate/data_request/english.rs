//! Requests for figures in English.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{DataRequest, is_fact, value_range};
use crate::rewrite::facts::kinds::Kind;
use crate::rewrite::language::Text;
use crate::rewrite::language::english;

pub(super) fn find(text: &Text, facts: &BTreeMap<String, String>) -> Option<DataRequest> {
    let words = english::words(text);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.lower.as_str()));
    if has(&["why", "who", "explain", "describe"]) || asks_how_to(&words) {
        return None;
    }
    let noun = words.iter().rev().find(|word| DATA.contains(&word.lower.as_str()));
    let metric = words.iter().rev().find(|word| METRICS.contains(&word.lower.as_str()));
    let opens = words.iter().take(4).any(|word| FETCHES.contains(&word.lower.as_str()));
    let asks = words
        .first()
        .is_some_and(|word| matches!(word.lower.as_str(), "how" | "what" | "what's" | "how's"));
    if !(opens || asks) {
        return None;
    }
    let range = |word: &english::Word| word.start..word.end;
    let main = noun.or(metric)?;
    let region = region(text, &words, facts);
    let period = words
        .iter()
        .position(|word| english::is_time(&word.lower) || is_relative_time(&word.lower));
    let request = DataRequest {
        noun: range(main),
        takes_metric: noun.is_some() && metric.is_none(),
        period: period.map(|at| range(&words[at])),
        metric: metric.map(range).or_else(|| value_range(text, facts, Kind::Metric)),
        has_unit: value_range(text, facts, Kind::Unit).is_some() || has(&["unit", "units"]),
        region: region.clone(),
    };
    let known = |word: &english::Word| {
        let inside = |other: &Option<Range<usize>>| {
            other.as_ref().is_some_and(|r| word.start < r.end && r.start < word.end)
        };
        DATA.contains(&word.lower.as_str())
            || METRICS.contains(&word.lower.as_str())
            || inside(&region)
            || english::is_time(&word.lower)
            || is_relative_time(&word.lower)
            || inside(&request.metric)
            || FETCHES.contains(&word.lower.as_str())
    };
    let names_subject = words.iter().any(|word| {
        (word.is_topic()
            || (word.is_name
                && !word.opens_sentence
                && word.lower != "i"
                && !english::is_interjection(&word.lower)))
            && !known(word)
            && !is_fact(text, range(word), facts)
    });
    let restricted = words.iter().any(|word| {
        word.start >= main.end && matches!(word.lower.as_str(), "of" | "about" | "that")
    });
    (!names_subject && !restricted && words.len() <= 14).then_some(request)
}

fn asks_how_to(words: &[english::Word]) -> bool {
    words.windows(2).any(|pair| {
        pair[0].lower == "how"
            && english::is_one_of(&pair[1].lower, "to do can does should long often")
    }) || words.windows(3).any(|three| three[0].lower == "what" && three[1].lower == "does")
}

fn is_relative_time(word: &str) -> bool {
    english::is_one_of(
        word,
        "week month year quarter today daily monthly weekly quarterly yearly annual",
    )
}

pub(super) fn newest(text: &Text) -> Option<Range<usize>> {
    let words = english::words(text);
    let at = words
        .iter()
        .position(|word| matches!(word.lower.as_str(), "latest" | "newest" | "recent"))?;
    let dated = words.iter().any(|word| english::is_time(&word.lower));
    let next = words.get(at + 1)?.lower.as_str();
    let open = DATA.contains(&next) || NEWS.contains(&next);
    (open && !dated).then(|| words[at].start..words[at].end)
}

fn region(
    text: &Text,
    words: &[english::Word],
    facts: &BTreeMap<String, String>,
) -> Option<Range<usize>> {
    if let Some(range) = value_range(text, facts, Kind::Region) {
        return Some(range);
    }
    let names: Vec<usize> = (1..words.len())
        .filter(|&at| {
            words[at].is_name
                && !english::is_time(&words[at].lower)
                && matches!(words[at - 1].lower.as_str(), "in" | "for" | "from" | "across")
        })
        .collect();
    let first = *names.first()?;
    let last = (first..words.len())
        .take_while(|&at| words[at].is_name && !english::is_time(&words[at].lower))
        .last()?;
    Some(words[first].start..words[last].end)
}

const DATA: &[&str] = &[
    "data",
    "numbers",
    "figures",
    "report",
    "reports",
    "stats",
    "statistics",
    "metrics",
    "dashboard",
    "results",
    "performance",
    "kpis",
    "trend",
    "trends",
];

const METRICS: &[&str] = &[
    "revenue",
    "revenues",
    "sales",
    "profit",
    "profits",
    "margin",
    "margins",
    "orders",
    "gmv",
    "arr",
    "mrr",
    "churn",
    "retention",
    "conversion",
    "dau",
    "mau",
    "traffic",
    "signups",
    "bookings",
    "pipeline",
    "inventory",
    "expenses",
    "leads",
    "deals",
    "turnover",
];

const FETCHES: &[&str] = &[
    "show", "get", "pull", "send", "give", "see", "check", "fetch", "look", "need", "want", "view",
    "bring", "share", "provide",
];

const NEWS: &[&str] =
    &["news", "version", "update", "updates", "release", "changes", "price", "prices"];
