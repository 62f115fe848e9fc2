//! Takes the wrapping off a model's answer: deliberation, labels, quotation marks, remarks.

const THINK_OPEN: &str = "<think>";
const THINK_CLOSE: &str = "</think>";
/// What models announce a rewrite with, in small letters, before a colon.
const LABELS: &[&str] = &[
    "rewritten query",
    "rewritten question",
    "rewritten",
    "rewrite",
    "standalone question",
    "standalone query",
    "standalone",
    "the rewritten query is",
    "the rewritten question is",
    "the standalone question is",
    "here is the rewritten query",
    "here is the standalone question",
    "output",
    "answer",
    "query",
    "question",
    "result",
    "改写后的问题",
    "改写后的查询",
    "改写后",
    "改写结果",
    "改写问题",
    "改写为",
    "改写",
    "改寫後的問題",
    "改寫後",
    "改寫",
    "独立问题",
    "独立的问题",
    "獨立問題",
    "完整问题",
    "完整的问题",
    "完整問題",
    "重写后的问题",
    "重写后",
    "重写",
    "输出",
    "輸出",
    "结果",
    "結果",
    "查询",
    "查詢",
    "问题",
    "問題",
    "答案",
    "答",
];
const WRAPPERS: &[(char, char)] = &[
    ('"', '"'),
    ('\'', '\''),
    ('“', '”'),
    ('‘', '’'),
    ('「', '」'),
    ('『', '』'),
    ('`', '`'),
    ('《', '》'),
    ('【', '】'),
];

/// What `candidate` says once its wrapping is off: complete `<think>…</think>` blocks,
/// labels such as `Rewritten query:` or 改写后的问题：, quotation marks around the whole,
/// and every line after the first. What the query has itself stays on. The result may
/// still break any guarantee; [`super::check`] tells.
pub fn clean(candidate: &str, query: &str) -> String {
    let spoken = without_thinking(candidate);
    let mut text = spoken.trim();
    // A label may stand before a wrapped text, and within the wrapping once more.
    for _ in 0..3 {
        text = without_label(text, query);
        text = first_line(text, query);
        text = without_wrapper(text, query);
    }
    text.to_owned()
}

fn without_thinking(candidate: &str) -> String {
    let mut spoken = candidate.to_owned();
    while let Some(start) = spoken.find(THINK_OPEN) {
        let Some(length) = spoken[start..].find(THINK_CLOSE) else { break };
        spoken.replace_range(start..start + length + THINK_CLOSE.len(), "");
    }
    spoken
}

fn first_line<'a>(text: &'a str, query: &str) -> &'a str {
    if query.trim().contains('\n') {
        return text;
    }
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("")
}

fn without_label<'a>(text: &'a str, query: &str) -> &'a str {
    let Some((label, rest)) = text.split_once([':', '：']) else { return text };
    let bare = |text: &str| {
        let trimmed = text.trim_matches(|mark: char| mark.is_whitespace() || "*#_".contains(mark));
        trimmed.to_lowercase()
    };
    let announced = LABELS.contains(&bare(label).as_str());
    let asked = query.split_once([':', '：']).is_some_and(|(asked, _)| bare(asked) == bare(label));
    if !announced || asked {
        return text;
    }
    rest.trim_start_matches(|mark: char| mark.is_whitespace() || mark == '*')
}

fn without_wrapper<'a>(text: &'a str, query: &str) -> &'a str {
    let inner = WRAPPERS.iter().find_map(|&(open, close)| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        let whole = !inner.contains(open) && !inner.contains(close);
        (whole && !query.trim_start().starts_with(open)).then_some(inner)
    });
    inner.map_or(text, str::trim)
}
