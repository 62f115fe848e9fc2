//! Facts in Chinese queries.

use super::kinds::Kind;
use super::{Fact, Query, edit};
use crate::rewrite::conversation::{Edit, Issue, IssueKind};
use crate::rewrite::gate::data_request::{self, DataRequest};
use crate::rewrite::language::{self, Language};

pub(super) fn fill(query: &Query) -> Vec<Edit> {
    let facts = &query.conversation.facts;
    if query.open_issues(IssueKind::Vague).next().is_some()
        && let Some(request) = data_request::find(&query.text, facts, Language::Chinese)
    {
        return fill_request(query, &request);
    }
    let mut edits = Vec::new();
    for issue in query.open_issues(IssueKind::AmbiguousReference) {
        edits.extend(fill_pointer(query, issue));
    }
    if let Some(issue) = query.open_issues(IssueKind::MissingInformation).next() {
        edits.extend(fill_ellipsis(query, issue));
    }
    edits
}

/// 帮我查下数据 -> 帮我查下2024年6月华东区的销售额数据（单位：万元）.
fn fill_request(query: &Query, request: &DataRequest) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut insert = |position, text: String, fact| {
        edits.push(query.insertion(position, text, fact, IssueKind::Vague));
    };
    let metric = request.takes_metric.then(|| query.lacking(Kind::Metric)).flatten();
    let owners = owners(query);
    let first = request.metric.as_ref().filter(|metric| metric.start <= request.noun.start);
    let noun_start = first.map_or(request.noun.start, |metric| metric.start);
    // 上个月的数据: what modifies goes before its 的, the metric after it.
    let has_particle = noun_start > 0 && query.text.folded[noun_start - 1] == '的';
    let place = if has_particle { noun_start - 1 } else { noun_start };
    let start = request.region.as_ref().map_or(place, |region| region.start.min(place));
    if request.period.is_none()
        && let Some(period) = query.lacking(Kind::Period)
    {
        let is_last =
            request.region.is_none() && query.lacking(Kind::Region).is_none() && owners.is_empty();
        let glue = if is_last && !has_particle { "的" } else { "" };
        insert(start, format!("{}{glue}", period.value), period);
    }
    let mut scope: Vec<Fact> = Vec::new();
    if request.region.is_none() {
        scope.extend(query.lacking(Kind::Region));
    }
    scope.extend(owners);
    for (index, fact) in scope.iter().enumerate() {
        let glue = if index + 1 == scope.len() && !has_particle { "的" } else { "" };
        insert(place, format!("{}{glue}", fact.value), *fact);
    }
    if let Some(metric) = metric {
        insert(noun_start, metric.value.to_owned(), metric);
    }
    let is_amount = metric.is_some()
        || (request.metric.is_some() && !request.takes_metric && is_figure(query, request));
    if is_amount
        && !request.has_unit
        && let Some(unit) = query.lacking(Kind::Unit)
    {
        insert(query.end_of_words(), format!("（单位：{}）", unit.value), unit);
    }
    edits
}

/// Customers and products narrow a request down; the query may name them itself.
fn owners<'a>(query: &Query<'a>) -> Vec<Fact<'a>> {
    [Kind::Customer, Kind::Product].into_iter().filter_map(|kind| query.lacking(kind)).collect()
}

fn is_figure(query: &Query, request: &DataRequest) -> bool {
    let noun = query.text.slice(request.noun.start, request.noun.end);
    !matches!(language::fold(&noun).as_str(), "情况" | "趋势" | "走势" | "表现")
}

/// 这个功能怎么用 -> CRM系统的线索打分功能怎么用.
fn fill_pointer(query: &Query, issue: &Issue) -> Vec<Edit> {
    let folded = language::fold(&issue.span.text);
    let head = if PLACES.contains(&folded.as_str()) { "" } else { head_of(&folded) };
    if head.is_empty() {
        return fill_bare_pointer(query, issue, &folded);
    }
    let mut edits = Vec::new();
    let found = query
        .fact_for_head(head)
        .filter(|(_, fact)| !query.history_prefers_another(head, fact.value));
    let kind = found.as_ref().map_or_else(|| super::kinds::of_key(head), |(kind, _)| *kind);
    let is_part = matches!(kind, Kind::Feature | Kind::Module | Kind::Version | Kind::Plan);
    let names_owner = issue.span.start > 0 && query.lacking(Kind::Product).is_none();
    if is_part
        && !names_owner
        && let Some(product) = query.lacking(Kind::Product)
    {
        let text = format!("{}的", product.value);
        edits.push(query.insertion(issue.span.start, text, product, IssueKind::MissingInformation));
    }
    if let Some((kind, fact)) = found {
        let replacement = with_head(fact.value, head, kind);
        edits.push(edit(issue.span.clone(), replacement, fact, IssueKind::AmbiguousReference));
    }
    edits
}

/// 线索打分 + 功能; a product or a place needs no noun after its name.
fn with_head(value: &str, head: &str, kind: Kind) -> String {
    let needs_head = matches!(kind, Kind::Feature | Kind::Module | Kind::Plan | Kind::Version);
    let says_head = language::fold(value).ends_with(head);
    if needs_head && !says_head { format!("{value}{head}") } else { value.to_owned() }
}

/// The noun of 这个功能; empty for 这个 and 它.
fn head_of(pointer: &str) -> &str {
    let rest = pointer.trim_start_matches(['这', '那', '该', '此', '本']);
    let rest = rest.strip_prefix(['些', '几']).unwrap_or(rest);
    if rest.len() == pointer.len() {
        return "";
    }
    let classifier = ["个", "种", "款", "项", "家", "套", "位", "台", "条", "类", "份"];
    classifier.iter().find_map(|word| rest.strip_prefix(word)).unwrap_or(rest)
}

/// 它怎么收费: without earlier turns only the thing that the session is about can be meant.
fn fill_bare_pointer(query: &Query, issue: &Issue, pointer: &str) -> Vec<Edit> {
    if query.has_history() {
        return Vec::new();
    }
    match pointer {
        "它" | "这" | "那" | "此" | "其" | "这个" | "那个" | "这款" | "这种" => thing(
            query,
            |text, fact| edit(issue.span.clone(), text, fact, IssueKind::AmbiguousReference),
            |text, fact| {
                query.insertion(issue.span.start, text, fact, IssueKind::AmbiguousReference)
            },
        ),
        _ if PLACES.contains(&pointer) => {
            let region = query.lacking(Kind::Region);
            region
                .map(|fact| {
                    edit(
                        issue.span.clone(),
                        fact.value.to_owned(),
                        fact,
                        IssueKind::AmbiguousReference,
                    )
                })
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// 怎么收费 -> CRM系统怎么收费; 会下雨吗 -> 上海会下雨吗.
fn fill_ellipsis(query: &Query, issue: &Issue) -> Vec<Edit> {
    let follows_up = query.text.folded.contains(&'呢') && query.text.folded.len() > 6;
    if query.has_history() || follows_up {
        return Vec::new();
    }
    let position = issue.span.end;
    let insert = |text: String, fact: Fact| {
        query.insertion(position, text, fact, IssueKind::MissingInformation)
    };
    if query.text.mentions_any(PLACE_BOUND) {
        return query
            .lacking(Kind::Region)
            .map(|fact| insert(fact.value.to_owned(), fact))
            .into_iter()
            .collect();
    }
    let asks = query.text.mentions_any(ABOUT_THINGS);
    if asks { thing(query, insert, insert) } else { Vec::new() }
}

/// The most specific thing of the facts, after the product that it belongs to.
fn thing(
    query: &Query,
    last: impl Fn(String, Fact) -> Edit,
    owner: impl Fn(String, Fact) -> Edit,
) -> Vec<Edit> {
    let parts = [(Kind::Feature, "功能"), (Kind::Module, "模块")];
    let part = parts
        .into_iter()
        .find_map(|(kind, head)| query.lacking(kind).map(|fact| (kind, head, fact)));
    let product = query.lacking(Kind::Product);
    match (part, product) {
        (Some((kind, head, part)), Some(product)) => vec![
            owner(format!("{}的", product.value), product),
            last(with_head(part.value, head, kind), part),
        ],
        (Some((kind, head, part)), None) => vec![last(with_head(part.value, head, kind), part)],
        (None, Some(product)) => vec![last(product.value.to_owned(), product)],
        (None, None) => Vec::new(),
    }
}

const PLACES: &[&str] = &["这里", "那里", "这儿", "那儿", "这边", "那边"];

const PLACE_BOUND: &str = "
    天气 气温 温度 下雨 有雨 下雪 空气 风景 景点 美食 特产 小吃 好玩 好吃的";

const ABOUT_THINGS: &str = "
    怎么用 如何用 如何使用 怎么使用 怎么收费 如何收费 多少钱 价格 费用 怎么开通 如何开通
    怎么配置 如何配置 怎么设置 如何设置 怎么安装 如何安装 怎么升级 如何升级 怎么购买 如何购买
    怎么卸载 怎么登录 如何登录 怎么注册 怎么下载 如何下载 功能 用法 优势 特点 怎么卖 怎么买
    版本 教程 文档 怎么部署 如何部署 怎么启用 怎么关闭 怎么导出 如何导出 怎么导入 如何导入 支持";
