//! Facts in English queries.

use super::kinds::Kind;
use super::{Fact, Query, edit};
use crate::rewrite::conversation::{Edit, Issue, IssueKind};
use crate::rewrite::gate::data_request::{self, DataRequest};
use crate::rewrite::language::english::is_one_of;
use crate::rewrite::language::{self, Language};

pub(super) fn fill(query: &Query) -> Vec<Edit> {
    let facts = &query.conversation.facts;
    if query.open_issues(IssueKind::Vague).next().is_some()
        && let Some(request) = data_request::find(&query.text, facts, Language::English)
    {
        return fill_request(query, &request);
    }
    query
        .open_issues(IssueKind::AmbiguousReference)
        .flat_map(|issue| fill_pointer(query, issue))
        .collect()
}

/// `show me the numbers` -> `show me the revenue numbers for East China in June 2024`.
fn fill_request(query: &Query, request: &DataRequest) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut insert = |position, text: String, fact| {
        edits.push(query.insertion(position, text, fact, IssueKind::Vague));
    };
    let metric = request.takes_metric.then(|| query.lacking(Kind::Metric)).flatten();
    if let Some(metric) = metric {
        insert(request.noun.start, format!("{} ", metric.value), metric);
    }
    let owner = query.lacking(Kind::Customer).or_else(|| query.lacking(Kind::Product));
    if let Some(owner) = owner {
        insert(request.noun.end, format!(" for {}", owner.value), owner);
    }
    if request.region.is_none()
        && let Some(region) = query.lacking(Kind::Region)
    {
        let preposition = if owner.is_some() { "in" } else { "for" };
        insert(request.noun.end, format!(" {preposition} {}", region.value), region);
    }
    if request.period.is_none()
        && let Some(period) = query.lacking(Kind::Period)
    {
        insert(
            request.noun.end,
            format!(" {}{}", time_preposition(period.value), period.value),
            period,
        );
    }
    let counts = metric.is_some() || request.metric.is_some();
    if counts
        && !request.has_unit
        && let Some(unit) = query.lacking(Kind::Unit)
    {
        insert(query.end_of_words(), format!(" (unit: {})", unit.value), unit);
    }
    edits
}

/// `in June 2024`, `on 2024-06-01`, but `last month` as it is.
fn time_preposition(period: &str) -> &'static str {
    let lower = period.to_lowercase();
    let first = lower.split_whitespace().next().unwrap_or("");
    match first {
        "last" | "this" | "next" | "today" | "yesterday" | "tomorrow" | "from" | "since" | "in"
        | "on" | "between" => "",
        _ if lower.matches(['-', '/']).count() == 2 && lower.len() <= 10 => "on ",
        _ => "in ",
    }
}

/// `how does this feature work` -> `how does the lead scoring feature of Yunfan CRM work`.
fn fill_pointer(query: &Query, issue: &Issue) -> Vec<Edit> {
    let lower = language::fold(&issue.span.text);
    let head = ["this ", "that ", "these ", "those "]
        .iter()
        .find_map(|word| lower.strip_prefix(word))
        .unwrap_or("");
    if head.is_empty() {
        return fill_bare_pointer(query, issue, &lower);
    }
    let mut edits = Vec::new();
    let found = query
        .fact_for_head(head)
        .filter(|(_, fact)| !query.history_prefers_another(head, fact.value));
    let kind = found.as_ref().map_or_else(|| super::kinds::of_key(head), |(kind, _)| *kind);
    if let Some((kind, fact)) = found {
        edits.push(edit(
            issue.span.clone(),
            with_head(fact.value, head, kind),
            fact,
            IssueKind::AmbiguousReference,
        ));
    }
    let is_part = matches!(kind, Kind::Feature | Kind::Module | Kind::Version | Kind::Plan);
    if is_part && let Some(product) = query.lacking(Kind::Product) {
        let text = format!(" of {}", product.value);
        edits.push(query.insertion(issue.span.end, text, product, IssueKind::MissingInformation));
    }
    edits
}

fn with_head(value: &str, head: &str, kind: Kind) -> String {
    let needs_head = matches!(kind, Kind::Feature | Kind::Module | Kind::Plan | Kind::Version);
    let says_head = language::fold(value).ends_with(head);
    match (needs_head, says_head) {
        (true, false) if kind == Kind::Version => format!("{head} {value}"),
        (true, false) => format!("the {value} {head}"),
        (true, true) if !language::fold(value).starts_with("the ") => format!("the {value}"),
        _ => value.to_owned(),
    }
}

/// `how do I set it up`: without earlier turns only what the session is about can be meant.
fn fill_bare_pointer(query: &Query, issue: &Issue, pointer: &str) -> Vec<Edit> {
    if query.has_history() {
        return Vec::new();
    }
    let region = || query.lacking(Kind::Region);
    match pointer {
        "it" | "this" | "that" => thing(query, issue, ""),
        "its" => thing(query, issue, "'s"),
        "there" => region().map(|fact| place(query, issue, fact)).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `what can I do there` -> `what can I do in Shanghai`; `from there` -> `from Shanghai`.
fn place(query: &Query, issue: &Issue, fact: Fact) -> Edit {
    let before: String = query.text.folded[..issue.span.start].iter().collect();
    let last = before.split_whitespace().next_back().unwrap_or("");
    let has_preposition = is_one_of(last, "from in near around over to");
    let text = if has_preposition { fact.value.to_owned() } else { format!("in {}", fact.value) };
    edit(issue.span.clone(), text, fact, IssueKind::AmbiguousReference)
}

fn thing(query: &Query, issue: &Issue, ending: &str) -> Vec<Edit> {
    let parts = [(Kind::Feature, "feature"), (Kind::Module, "module")];
    let part = parts
        .into_iter()
        .find_map(|(kind, head)| query.lacking(kind).map(|fact| (kind, head, fact)));
    let product = query.lacking(Kind::Product);
    let replace = |text: String, fact: Fact| {
        edit(issue.span.clone(), format!("{text}{ending}"), fact, IssueKind::AmbiguousReference)
    };
    match (part, product) {
        (Some((kind, head, part)), product) => {
            let mut edits = vec![replace(with_head(part.value, head, kind), part)];
            edits.extend(product.filter(|_| ending.is_empty()).map(|product| {
                query.insertion(
                    issue.span.end,
                    format!(" of {}", product.value),
                    product,
                    IssueKind::MissingInformation,
                )
            }));
            edits
        }
        (None, Some(product)) => vec![replace(product.value.to_owned(), product)],
        (None, None) => Vec::new(),
    }
}
